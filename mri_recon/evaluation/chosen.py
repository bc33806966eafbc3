"""The methods of an evaluation, each with those settings that it knows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mri_recon.catalog import METHODS, known_setting, look_up
from mri_recon.errors import SettingsError
from mri_recon.methods.base import Method
from mri_recon.reconstruct import make_method, method_name_of


def refuse_unknown(settings: Mapping[str, Any], methods: Sequence[str | Method]) -> None:
    """Refuse a setting that none of the methods knows."""
    named = [method for method in methods if isinstance(method, str)]
    known = {key for name in named for key in look_up("method", METHODS, name).settings()}
    for key in settings:
        if key not in known:
            raise SettingsError(
                f"None of the methods {', '.join(named)} has a setting '{key}'. {known_setting(key, known)}"
            )


def made(method: str | Method, settings: Mapping[str, Any], weights: str | Path | None) -> Method:
    """A method with those of the settings that it knows."""
    if isinstance(method, Method):
        return method
    cls: type[Method] = look_up("method", METHODS, method)
    own = {key: value for key, value in settings.items() if key in cls.settings()}
    return make_method(method, own, weights if cls.learned else None)


def described(methods: Sequence[Method]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Names and settings."""
    for method in methods:
        yield method_name_of(method), method.as_dict()
