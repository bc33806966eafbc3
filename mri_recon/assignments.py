"""Values given one by one, ``--set key=value``, and values put over others."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from typing import Any

from mri_recon.errors import SettingsError


def parse_assignments(assignments: tuple[str, ...]) -> dict[str, Any]:
    """Nested values of assignments such as ``optimizer.lr=1e-3``, each value written as in TOML.

    What is not a TOML value is taken as a string, so that ``norm=group`` needs no quotes.

    Raises
    ------
    SettingsError
        An assignment without a key or an equals sign.
    """
    values: dict[str, Any] = {}
    for assignment in assignments:
        key, equals, text = (part.strip() for part in assignment.partition("="))
        if not equals or not all(key.split(".")):
            raise SettingsError(
                f"Expected key=value, got '{assignment}'. Write the key, an equals sign and the value."
            )
        try:
            value = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            value = text
        *groups, last = key.split(".")
        table = values
        for group in groups:
            table = table.setdefault(group, {})
            if not isinstance(table, dict):
                raise SettingsError(f"'{assignment}' makes a table of a key that was given a value before.")
        table[last] = value
    return values


def merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with `changes` in its place, table by table."""
    result = dict(base)
    for key, value in changes.items():
        old = result.get(key)
        result[key] = merged(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return result
