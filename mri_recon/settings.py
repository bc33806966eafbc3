"""Settings from outside (TOML, ``--set``, weights files): checked, with errors that name the key."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from functools import cache
from typing import Any, Literal, TypeVar, get_type_hints

from pydantic import BaseModel, ConfigDict, ValidationError, create_model, model_validator

from mri_recon.catalog import NETWORKS, look_up
from mri_recon.errors import SettingsError, suggestion

_KINDS = {"int_": "a whole number", "float_": "a number", "bool_": "true or false"}

Model = TypeVar("Model", bound=BaseModel)


class Settings(BaseModel):
    """A frozen group of settings that refuses keys it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _no_booleans_for_numbers(cls, values: Any) -> Any:
        # Python counts with them, so pydantic would too: `epochs = true` is one epoch.
        for key, value in values.items() if isinstance(values, Mapping) else ():
            field = cls.model_fields.get(key)
            if isinstance(value, bool) and field is not None and field.annotation in (int, float):
                raise ValueError(f"a number for {key}, not {str(value).lower()}")
        return values


class NetworkSettings(Settings):
    """The name of a network and, in the class that `network_settings` makes, its constructor's arguments."""

    name: str

    def build(self) -> Any:
        """Make the network."""
        return look_up("network", NETWORKS, self.name)(**self.model_dump(exclude={"name"}))


@cache
def network_settings(name: str) -> type[NetworkSettings]:
    """Settings class of the network of that name: its constructor's arguments, types and defaults.

    Raises
    ------
    SettingsError
        There is no network of that name.
    """
    constructor = look_up("network", NETWORKS, name).__init__
    hints = get_type_hints(constructor, include_extras=True)
    fields: dict[str, Any] = {
        parameter.name: (hints[parameter.name], parameter.default)
        for parameter in inspect.signature(constructor).parameters.values()
        if parameter.name != "self"
    }
    fields["name"] = (Literal[name], name)
    return create_model(f"{name}Settings", __base__=NetworkSettings, **fields)


def validated(model: type[Model], values: Mapping[str, Any], where: str) -> Model:
    """Make `model` of `values`.

    Parameters
    ----------
    where
        What the values came from, the start of the error message.

    Raises
    ------
    SettingsError
        Naming the first key that is unknown, missing or of the wrong type or range, and what it was.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise SettingsError(f"{where}: {explain(error, model)}") from error
    except SettingsError as error:  # from a validator that looks something up
        raise SettingsError(f"{where}: {error}") from error


def explain(error: ValidationError, model: type[BaseModel]) -> str:
    """Say on one line which key is wrong, what was expected and what came."""
    # An unknown key first: it is the likeliest cause of whatever else is missing.
    first = min(error.errors(), key=lambda e: e["type"] != "extra_forbidden")
    *groups, key = [str(part) for part in first["loc"] if not str(part).isdigit()] or [""]
    if first["type"] == "extra_forbidden":
        section = f" in [{'.'.join(groups)}]" if groups else ""
        known = known_keys(model, tuple(groups))
        tables = [] if groups else [table for table in known if key in known_keys(model, (table,))]
        meant = f"Did you mean '{tables[0]}.{key}'?" if tables else suggestion(key, known)
        return f"There is no key '{key}'{section}. {meant}"
    table = isinstance(first["input"], Mapping) and key in model.model_fields
    name = f"[{'.'.join([*groups, key])}]" if table else f"[{'.'.join(groups)}] {key}" if groups else key
    if first["type"] == "missing":
        return f"{name} is missing."
    message = first["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    # pydantic's words say how it tried to read what came; what it wanted is said here.
    message = next((words for kind, words in _KINDS.items() if first["type"].startswith(kind)), message)
    got = first["input"]
    return f"{name}: expected {message}" + ("." if table else f", got {got!r}.")


def known_keys(model: type[BaseModel], groups: tuple[str, ...] = ()) -> list[str]:
    """Keys that a group of settings knows, groups being tables within tables."""
    for group in groups:
        annotation = model.model_fields[group].annotation if group in model.model_fields else None
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            return []
        # Which network it is, is known only from its values; the suggestion names the default one's keys.
        default = model.model_fields[group].default
        model = type(default) if isinstance(default, annotation) else annotation
    return list(model.model_fields)
