"""Options that several commands share: the same name and meaning everywhere."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mri_recon.catalog import FORMATS, MASKS, METHODS
from mri_recon.cli.console import VERBOSITY
from mri_recon.errors import SettingsError, suggestion

if TYPE_CHECKING:
    from mri_recon.data.formats.base import ReadOptions

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def _chained(*decorators: Decorator) -> Decorator:
    def apply(function: Callable[..., Any]) -> Callable[..., Any]:
        for decorator in reversed(decorators):
            function = decorator(function)
        return function

    return apply


def _set_verbosity(context: click.Context, parameter: click.Parameter, value: bool) -> None:
    if value and parameter.name:
        setattr(VERBOSITY, parameter.name, True)


common = _chained(
    click.option(
        "-q",
        "--quiet",
        is_flag=True,
        expose_value=False,
        callback=_set_verbosity,
        help="Say only what went wrong.",
    ),
    click.option(
        "-v", "--verbose", is_flag=True, expose_value=False, callback=_set_verbosity, help="Say more."
    ),
    click.option(
        "--debug",
        is_flag=True,
        expose_value=False,
        callback=_set_verbosity,
        help="Show the traceback of an error.",
    ),
)
"""-q, -v and --debug."""

sampling = _chained(
    click.option(
        "--mask",
        type=click.Choice(list(MASKS)),
        help="Kind of mask for fully sampled scans.  [default: random]",
    ),
    click.option(
        "--acceleration",
        type=float,
        multiple=True,
        metavar="R",
        help="Nominal acceleration; 1 uses every line; repeatable.  [default: 4]",
    ),
    click.option(
        "--center-fraction",
        type=float,
        multiple=True,
        metavar="F",
        help="Fully sampled centre, as a fraction of the lines; repeatable, pairs with --acceleration.  "
        "[default: 0.08 up to 4×, 0.32 / R above]",
    ),
    click.option(
        "--seed", type=click.IntRange(min=0), metavar="N", help="Seed of the mask.  [default: the file name]"
    ),
    click.option(
        "--mask-file",
        type=click.Path(path_type=Path),
        metavar="F.npy",
        help="A mask of your own in place of --mask, (width,), nonzero where acquired.",
    ),
)
"""--mask, --acceleration, --center-fraction, --seed and --mask-file."""

settings = click.option(
    "--set",
    "assignments",
    multiple=True,
    metavar="KEY=VALUE",
    help="Set a setting of the method, such as tv_weight=0.005; repeatable.",
)
weights = click.option(
    "--weights",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Weights of a learned method, or shipped for those that come with mri-recon.  [default: shipped]",
)
device = click.option(
    "--device", default="auto", metavar="NAME", help="auto, cpu, cuda, cuda:1 … or mps.", show_default=True
)
smaps = click.option(
    "--smaps",
    type=click.Path(path_type=Path),
    metavar="F.npy",
    help="Coil maps of your own, .npy or .cfl, (slice or 1, coil, height, width).  [default: estimated]",
)


def _limit_threads(context: click.Context, parameter: click.Parameter, value: int | None) -> None:
    """Tell every library before it starts its threads: all of them look here."""
    if value is not None:
        os.environ["OMP_NUM_THREADS"] = str(value)


threads = click.option(
    "--threads",
    type=click.IntRange(min=1),
    metavar="N",
    expose_value=False,
    callback=_limit_threads,
    help="Threads to compute with.  [default: OMP_NUM_THREADS, else all processors]",
)
workers = click.option(
    "--workers",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    metavar="N",
    help="Processes among which the scans are shared; the results do not depend on it.",
)


class Size(click.ParamType):  # type: ignore[type-arg]  # generic only in newer releases of click
    """An amount of memory such as ``4G``, in bytes."""

    name = "SIZE"

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> int:
        from mri_recon.sharing.memory import parse_size

        if isinstance(value, int):
            return value
        try:
            return parse_size(value)
        except SettingsError as error:
            self.fail(str(error), parameter, context)


max_memory = click.option(
    "--max-memory",
    type=Size(),
    help="Memory that all processes may take together, such as 4G; fewer slices and workers at once keep within it.  "
    "[default: no limit]",
)
log_file = click.option(
    "--log-file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Add a line of JSON for each file begun and ended: time, seconds, memory, result or error.",
)
overwrite = click.option("--overwrite", is_flag=True, help="Replace outputs that exist.")
as_json = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON on standard output.")
axes = _chained(
    click.option(
        "--axes",
        metavar="AXES",
        help="What the axes of an array in .npy, .npz or .mat are, such as coil,height,width.",
    ),
    click.option("--variable", metavar="NAME", help="Name of the array in an .npz or .mat of several."),
)
"""--axes and --variable."""

keep_identity = click.option(
    "--keep-identity", is_flag=True, help="Keep the patient's name and number in DICOM files."
)


def refuse_idle_identity(keep_identity: bool, format: str) -> None:
    """Refuse --keep-identity for a format that names no patient: it would do nothing."""
    if keep_identity and format != "dicom":
        raise SettingsError(
            f"--keep-identity is for DICOM, and {format} is written. Leave it out, or say -f dicom."
        )


def file_format(names: tuple[str, ...], default: str) -> Decorator:
    """-f: the format to write, one of `names`."""
    listed = "; ".join(f"{name}: {FORMATS[name].summary}" for name in names)
    return click.option(
        "-f",
        "--format",
        "file_format",
        type=click.Choice(names),
        metavar="FORMAT",
        help=f"Format to write. {listed}.  [default: {default}]",
    )


def read_options(
    axes: str | None, variable: str | None, *, remove_oversampling: bool = True, prewhiten: bool = True
) -> ReadOptions:
    """How to read files that leave a choice.

    Raises
    ------
    SettingsError
        Axes that are none.
    """
    from mri_recon.data.formats.base import ReadOptions

    named = None if axes is None else tuple(axis.strip() for axis in axes.split(","))
    return ReadOptions(named, variable, remove_oversampling, prewhiten)


def method(*, multiple: bool, default: Any) -> Decorator:
    """--method: one, or repeatable."""
    listed = "; ".join(f"{name}: {entry.summary}" for name, entry in METHODS.items())
    return click.option(
        "--method",
        "methods" if multiple else "method",
        multiple=multiple,
        default=default,
        show_default=True,
        callback=_check_method,
        metavar="|".join(METHODS),
        help=f"Reconstruction method{', repeatable' if multiple else ''}. {listed}.",
    )


def _check_method(context: click.Context, parameter: click.Parameter, value: Any) -> Any:
    for name in value if isinstance(value, tuple) else (value,):
        if name not in METHODS:
            raise SettingsError(f"There is no method '{name}'. {suggestion(name, METHODS)}")
    return value


class SliceRange(click.ParamType):  # type: ignore[type-arg]  # generic only in newer releases of click
    """A range of slices such as ``3:8`` (five of them) or a single one such as ``5``."""

    name = "A:B"

    def convert(
        self, value: Any, parameter: click.Parameter | None, context: click.Context | None
    ) -> tuple[int, int]:
        if isinstance(value, tuple):
            return value
        first, colon, stop = str(value).partition(":")
        if not first.isdecimal() or (colon and not stop.isdecimal()):
            self.fail(f"expected A:B such as 3:8, or one slice such as 5, got '{value}'.", parameter, context)
        return int(first), int(stop) if colon else int(first) + 1


slices = click.option(
    "--slices", type=SliceRange(), help="Only slices A up to, not including, B; or one.  [default: all]"
)


def mask_choice(mask: str | None, mask_file: Path | None) -> str | Path | None:
    """The one of --mask and --mask-file that was given.

    Raises
    ------
    SettingsError
        Both were.
    """
    if mask is not None and mask_file is not None:
        raise SettingsError("--mask and --mask-file say two different things; give one of them.")
    return mask_file or mask


def pairs(
    accelerations: tuple[float, ...], center_fractions: tuple[float, ...]
) -> list[tuple[float, float | None]] | None:
    """Accelerations with their center fractions; None where neither was given.

    Raises
    ------
    SettingsError
        Neither none, nor one, nor as many of one as of the other.
    """
    if not accelerations and not center_fractions:
        return None
    accelerations = accelerations or (4.0,)
    if not center_fractions:
        return [(a, None) for a in accelerations]
    if len(center_fractions) == 1:
        return [(a, center_fractions[0]) for a in accelerations]
    if len(center_fractions) != len(accelerations):
        raise SettingsError(
            f"{len(accelerations)} --acceleration came with {len(center_fractions)} --center-fraction; they are "
            "used as pairs, so give as many of one as of the other."
        )
    return list(zip(accelerations, center_fractions, strict=True))
