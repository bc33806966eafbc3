"""What every reconstruction method is: frozen settings that can be called on k-space.

Settings are a plain dataclass's, checked here: pydantic, which checks everything else that comes from outside, takes
longer to load than a slice takes to reconstruct.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import Field, dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar

from mri_recon.errors import SettingsError
from mri_recon.physics.coils import expand
from mri_recon.physics.fourier import Array, fftc
from mri_recon.solvers.arrays import array_namespace


@dataclass(frozen=True)
class Convergence:
    """How a method ended, for a batch of slices.

    `iterations` and `converged` are None for methods that do not iterate; `weight` is the strength of the
    regularisation, where the method chose it itself.
    """

    iterations: int | None
    residual: float
    converged: bool | None
    weight: float | None = None


Report = Callable[[Convergence], None]


def setting(
    default: Any,
    description: str,
    kind: type = float,
    *,
    above: float = -math.inf,
    least: float = -math.inf,
    words: tuple[str, ...] = (),
) -> Any:
    """Declare a method's setting.

    Parameters
    ----------
    kind
        float, int, Path or str; a Path may be None, and a str is one of `words`.
    above, least
        What a number must exceed, and what it must reach.
    words
        Words that may stand in place of a number, or that there are to choose from.
    """
    rule = {"description": description, "kind": kind, "above": above, "least": least, "words": words}
    return field(default=default, metadata=rule)


@dataclass(frozen=True, kw_only=True)
class Method(ABC):
    """A reconstruction method: its settings, and a call from k-space to image.

    Subclasses are dataclasses too; their fields, declared by `setting`, become ``--set key=value`` and rows of the
    report.

    Raises
    ------
    SettingsError
        A setting of the wrong type or out of its range.
    """

    needs_smaps: ClassVar[bool] = False
    crops_first: ClassVar[bool] = False
    """Whether it expects k-space of the image cropped to its final size, all of it taken for acquired."""
    crops_readout: ClassVar[bool] = False
    """Whether it expects k-space without the rows of the image beyond its final height."""
    learned: ClassVar[bool] = False
    recalibrate = 0
    """Centre columns that coil maps are estimated from again (`mri_recon.methods.recalibration`); 0 for not.
    Not annotated: where it is a setting it would come before all others."""

    def __post_init__(self) -> None:
        for one in fields(self):
            object.__setattr__(self, one.name, _checked(one, getattr(self, one.name)))

    @classmethod
    def settings(cls) -> dict[str, Field[Any]]:
        """The settings there are, by name; `metadata` holds what `setting` was told."""
        return {one.name: one for one in fields(cls)}

    def as_dict(self) -> dict[str, Any]:
        """The settings, ready for JSON."""
        values = {name: getattr(self, name) for name in self.settings()}
        return {name: str(v) if isinstance(v, Path) else v for name, v in values.items()}

    @abstractmethod
    def __call__(
        self, kspace: Array, mask: Array, smaps: Array | None, report: Report | None = None
    ) -> Array:
        """Reconstruct a batch of slices.

        Parameters
        ----------
        kspace
            `(slice, coil, height, width)` complex64, zero where `mask` is False, on the scale of
            `mri_recon.reconstruct.kspace_scale`.
        mask
            `(1, 1, 1, width)` bool, True where acquired.
        smaps
            Coil maps shaped as `kspace`, for methods with `needs_smaps`; else None.
        report
            Called with a `Convergence` by methods that iterate.

        Returns
        -------
        Array
            Image `(slice, height, width)`, complex or magnitude, uncropped.
        """

    def completed(self, kspace: Array, mask: Array, smaps: Array) -> Array:
        """K-space of all coils, `(slice, coil, height, width)`: as acquired, and elsewhere as the image has it.

        Of methods that take maps and give a complex image. Parameters as of a call.
        """
        predicted = fftc(expand(self(kspace, mask, smaps), smaps))
        return array_namespace(predicted).where(mask, kspace, predicted)


def recalibration(default: int) -> Any:
    """Declare `Method.recalibrate` a setting."""
    description = (
        "estimate coil maps again from that many columns of an image, where few were acquired; 0: not"
    )
    return setting(default, description, int, least=0)


def _checked(one: Field[Any], value: Any) -> Any:
    rule = one.metadata
    if rule["kind"] is Path:
        if value is None or isinstance(value, str | Path):
            return None if value is None else Path(value)
        raise SettingsError(f"{one.name}: expected a path, got {value!r}.")
    if isinstance(value, str) and value in rule["words"]:
        return value
    if rule["kind"] is str:
        raise SettingsError(f"{one.name}: expected {' or '.join(rule['words'])}, got {value!r}.")
    numbers = int if rule["kind"] is int else int | float
    if isinstance(value, numbers) and not isinstance(value, bool) and math.isfinite(value):
        number = rule["kind"](value)
        if number > rule["above"] and number >= rule["least"]:
            return number
    expected = "a whole number" if rule["kind"] is int else "a number"
    if rule["above"] > -math.inf:
        expected += f" greater than {rule['above']:g}"
    if rule["least"] > -math.inf:
        expected += f" of at least {rule['least']:g}"
    raise SettingsError(f"{one.name}: expected {', or '.join((expected, *rule['words']))}, got {value!r}.")
