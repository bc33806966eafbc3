"""Training and test sets of simulated scans: the same bytes for the same settings, whoever makes them, in any order.

Each scan is drawn from a stream of its own, seeded with (seed, split, number), so that scans can be made side by side
and a run that was interrupted goes on where it stopped.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mri_recon import __version__
from mri_recon.data.magnitudes import Volume, find_volumes
from mri_recon.data.noise import add_complex_normal
from mri_recon.data.phantom import KINDS as PHANTOMS
from mri_recon.data.phantom import clean_slices
from mri_recon.data.scan import Header, Scan
from mri_recon.data.storage import reconstruction_attributes, write_scan
from mri_recon.data.synthetic import FINER, Coils, drawing, grid, resolved, smooth_phase
from mri_recon.errors import MriReconError, OutputError, ScanError, SettingsError, suggestion
from mri_recon.files import make_folder, one_line, release
from mri_recon.physics.fourier import ifftc, rss_images
from mri_recon.physics.geometry import center_crop
from mri_recon.solvers.threads import in_order, n_threads

KINDS = (*PHANTOMS, "synthetic", "mixed")
SPLITS = ("train", "val", "test")

GENERATOR = 4
"""Raised when the same settings make other bytes than before: a set is not taken up with scans of another kind."""

_OBJECT = 0.1
"""Fraction of the brightest above which a pixel counts as the object's, for the signal-to-noise ratio."""

_PROVENANCE = {
    "head": "simulated: k-space in closed form of a random head made of ellipses, under smooth phase and coil maps",
    "shepp-logan": "simulated: k-space in closed form of the Shepp-Logan phantom, under smooth phase and coil maps",
    "synthetic": "simulated: random shapes and textures drawn twice as fine as k-space resolves, smooth phase, coils",
    "image": "simulated: the magnitude image '{}' under smooth phase and coil maps, Fourier transformed",
}

_NOTICE = "Simulated k-space: scores on it do not carry over to measured scans."
_CRIME = (
    "Data crime: this k-space was made of magnitude images that had been reconstructed and processed before. Methods "
    "score higher on it than on measured k-space (Shimron et al. 2022, PNAS 119:e2117203119); do not report such "
    "scores as performance on MRI."
)


class CleanSlice(NamedTuple):
    """Noise-free k-space `(coil, height, width)`, the object without coils, and coil maps where they are asked for."""

    kspace: NDArray[np.complex64]
    truth: NDArray[np.complex64]
    smaps: NDArray[np.complex64] | None


@dataclass(frozen=True)
class Simulation:
    """What is simulated.

    Parameters
    ----------
    kind
        'head', 'shepp-logan', 'synthetic', or 'mixed': heads and synthetic images by turns of chance.
    source
        Magnitude volumes to use in place of a kind: a NIfTI file, a folder of PNG slices, or a folder of either.
    n_slices
        Slices a scan; of a volume from `source` the middle ones, None for all.
    size
        (height, width) of the images; None for 320×320, or that of the volume from `source`, which can be reduced
        (its k-space is cropped) but not enlarged.
    n_coils
        One coil is stored without a coil axis.
    snr
        Lowest and highest signal-to-noise ratio, drawn for each scan: mean of the noise-free root-sum-of-squares
        image over the object, over the standard deviation of the noise in the real part of one coil's image. inf
        for none.
    partial_fourier
        Part of the phase-encoding lines that is measured, above 0.5; those missing are zero, at one end.
    oversampling
        Of the readout, 1 or 2: k-space is that many times as high as the images.
    maps
        Store coil maps, as large as k-space, too.
    seed
        Of everything.

    Raises
    ------
    SettingsError
        A value is out of range.
    """

    kind: str = "head"
    source: Path | None = None
    n_slices: int | None = 4
    size: tuple[int, int] | None = None
    n_coils: int = 8
    snr: tuple[float, float] = (40.0, 40.0)
    partial_fourier: float = 1.0
    oversampling: int = 1
    maps: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise SettingsError(
                f"There is no kind '{self.kind}' of simulation. {suggestion(self.kind, KINDS)}"
            )
        if self.size is not None and min(self.size) < 16:
            raise SettingsError(
                f"size {self.size[0]}×{self.size[1]} is too small; use 16 pixels or more a side."
            )
        if self.n_slices is not None and self.n_slices < 1:
            raise SettingsError(f"n_slices {self.n_slices} is below 1; ask for at least one slice.")
        if self.n_coils < 1:
            raise SettingsError(f"n_coils {self.n_coils} is below 1; ask for at least one coil.")
        if not 0 < self.snr[0] <= self.snr[1]:
            raise SettingsError(
                f"snr {self.snr[0]:g} to {self.snr[1]:g} is no range; give one above 0, low end first."
            )
        if not 0.5 < self.partial_fourier <= 1:
            raise SettingsError(
                f"partial_fourier {self.partial_fourier:g} is out of range; use above 0.5, up to 1."
            )
        if self.oversampling not in (1, 2):
            raise SettingsError(f"oversampling {self.oversampling} is not to be had; use 1 or 2.")
        if self.seed < 0:
            raise SettingsError(f"seed {self.seed} is negative; give 0 or more.")


@dataclass(frozen=True)
class Planned:
    """A scan to be made: its file, and what it is drawn from."""

    path: Path
    split: str
    index: int
    volume: Volume | None


def simulated_scan(
    settings: Simulation, split: str, index: int, name: str, volume: Volume | None = None
) -> Scan:
    """One scan of a set.

    Returns
    -------
    Scan
        With `truth`, and `target`: the root sum of squares of the noise-free coil images of all lines, so that an error
        against it is error, not noise of the reference.

    Raises
    ------
    ScanError
        `volume` cannot be read.
    SettingsError
        `volume` is smaller than what is asked for.
    """
    rng = np.random.default_rng((settings.seed, SPLITS.index(split), index))
    for_choices, for_noise, *streams = rng.spawn(5)
    kind = settings.kind if volume is None else "image"
    if kind == "mixed":
        kind = ("head", "synthetic")[int(for_choices.integers(2))]
    slices = _clean_slices(settings, kind, streams, volume)
    kspace, target, truth, maps = [], [], [], []
    for clean in slices:
        shape = clean.kspace.shape[1] // settings.oversampling, clean.kspace.shape[2]
        kspace.append(clean.kspace)
        target.append(center_crop(rss_images(clean.kspace), shape))
        truth.append(clean.truth)
        maps.append(clean.smaps)
    low, high = settings.snr
    snr = low if low == high else float(np.exp(for_choices.uniform(np.log(low), np.log(high))))
    images = np.stack(target)
    signal = float(images[images > _OBJECT * images.max()].mean())
    height, width = kspace[0].shape[-2:]
    first = width - round(settings.partial_fourier * width)
    noisy = np.empty((len(kspace), *kspace[0].shape), np.complex64)
    for one, out in zip(kspace, noisy, strict=True):
        add_complex_normal(one, signal / snr, for_noise, out)
        out[..., :first] = 0
    return Scan(
        name=name,
        kspace=noisy,
        target=images,
        header=Header(
            encoded=(height, width, 1),
            recon=(*images.shape[1:], 1),
            padding=(first, width) if first else None,
        ),
        acquisition=f"SIMULATED_{kind.upper().replace('-', '_')}",
        smaps=np.stack([m for m in maps if m is not None]) if settings.maps else None,
        truth=np.stack(truth),
        n_coils_stored=0 if settings.n_coils == 1 else settings.n_coils,
        attributes={
            "provenance": _PROVENANCE[kind].format("" if volume is None else one_line(volume.name)),
            "data_crime": _NOTICE if volume is None else _CRIME,
            "simulation": _stamp(settings, split, index, volume),
            "snr": snr,
            "noise": signal / snr,
            "mri_recon_version": __version__,
        },
    )


def plan(settings: Simulation, output: str | Path, counts: dict[str, int]) -> list[Planned]:
    """The scans of a set, in order.

    Parameters
    ----------
    counts
        Scans of each split. 'train' alone lies in `output` itself, several splits in folders of their names.

    Raises
    ------
    SettingsError
        More scans than there are volumes, or none at all.
    ScanError
        There are no volumes.
    """
    counts = {split: counts.get(split, 0) for split in SPLITS}
    volumes = None if settings.source is None else find_volumes(settings.source)
    total = sum(counts.values())
    if total < 1 or min(counts.values()) < 0:
        raise SettingsError("No scan was asked for; ask for at least one.")
    if volumes is not None and total > len(volumes):
        raise SettingsError(
            f"{total} scans were asked for, {one_line(settings.source)} has {len(volumes)} volume(s), and no volume is "
            "used twice. Ask for fewer."
        )
    alone = total == counts["train"]
    planned: list[Planned] = []
    for split in SPLITS:
        folder = Path(output) if alone else Path(output) / split
        for index in range(counts[split]):
            volume = None if volumes is None else volumes[len(planned)]
            stem = f"{settings.kind}_{index:05d}" if volume is None else volume.name
            # The name seeds the mask, so it is another one in each split.
            name = f"{stem}.h5" if alone else f"{split}_{stem}.h5"
            planned.append(Planned(folder / name, split, index, volume))
    return planned


class SimulatedSet(NamedTuple):
    """Files of a set in order; those of them made now; volumes that could not be used, with the reason."""

    files: list[Path]
    made: list[Path]
    failures: list[tuple[str, str]]


def simulate(
    settings: Simulation,
    output: str | Path,
    counts: dict[str, int],
    *,
    overwrite: bool = False,
    on_scan: Callable[[int, int, Path, bool], None] | None = None,
) -> SimulatedSet:
    """Write a set of simulated scans, several at a time, on as many threads as may be used.

    Files that are there already, made with the same settings, are kept: a run that was stopped is taken up. A volume
    that cannot be used among several is left out, and named.

    Parameters
    ----------
    counts
        Scans of each split, as for `plan`.
    on_scan
        Called after each scan with how many are done, how many there are, its file, and whether it was made now.

    Raises
    ------
    OutputError
        A file cannot be written, or is there and was made otherwise.
    SettingsError, ScanError
        As for `plan`, and as for `simulated_scan` if no scan could be made.
    """
    planned = plan(settings, output, counts)
    for folder in dict.fromkeys(one.path.parent for one in planned):
        make_folder(folder)
    kept = set() if overwrite else {one.path for one in planned if _is_there(settings, one)}

    def make(one: Planned) -> Scan | MriReconError | None:
        if one.path in kept:
            return None
        try:
            return simulated_scan(settings, one.split, one.index, one.path.name, one.volume)
        except (ScanError, SettingsError) as error:
            if len(planned) == 1:
                raise
            return error

    found = SimulatedSet([], [], [])
    # Written here while the next ones are made: until a file is safely on the disk there is nothing to compute.
    for done, (one, made) in enumerate(
        zip(planned, in_order(make, planned, n_threads()), strict=True), start=1
    ):
        written = False
        if isinstance(made, MriReconError):
            found.failures.append((one.path.name, str(made)))
            if len(found.failures) == len(planned):
                raise made
        else:
            found.files.append(one.path)
            written = made is not None and _written(settings, one, made, overwrite)
            found.made.extend([one.path] if written else [])
        if on_scan is not None:
            on_scan(done, len(planned), one.path, written)
    return found


def _stamp(settings: Simulation, split: str, index: int, volume: Volume | None) -> str:
    """What a scan was made of, as JSON: the same settings, the same text."""
    values = asdict(settings) | {
        "source": None if volume is None else volume.name,
        "source_sha256": None if volume is None else volume.sha256(),
        "split": split,
        "index": index,
        "generator": GENERATOR,
    }
    values["snr"] = [str(value) for value in settings.snr]  # infinity is no JSON
    return json.dumps(values, sort_keys=True)


def _is_there(settings: Simulation, one: Planned) -> bool:
    if not one.path.exists():
        return False
    advice = "Use another folder, or --overwrite to replace it."
    try:
        stamp = reconstruction_attributes(one.path).get("simulation")
    except MriReconError as error:
        raise OutputError(f"{one_line(one.path)} exists and is no scan of this set. {advice}") from error
    if stamp != _stamp(settings, one.split, one.index, one.volume):
        raise OutputError(f"{one_line(one.path)} exists and was made with other settings. {advice}")
    return True


def _clean_slices(
    settings: Simulation, kind: str, streams: Sequence[np.random.Generator], volume: Volume | None
) -> Iterator[CleanSlice]:
    """Noise-free slices of one scan."""
    shape = settings.size or (320, 320)
    n_slices = settings.n_slices or 1
    if kind in PHANTOMS:
        for one in clean_slices(kind, streams, shape, n_slices, settings.n_coils, settings.oversampling):
            smaps = one.smaps().astype(np.complex64) if settings.maps else None
            yield CleanSlice(one.kspace, one.truth(), smaps)
        return
    for_images, for_phase, for_coils = streams
    if volume is None:
        fine = FINER * shape[0], FINER * shape[1]
        images: Any = (drawing(for_images, fine) for _ in range(n_slices))
    else:
        images = volume.read()
        fine = images.shape[1:]
        shape = settings.size or fine
        if shape[0] > fine[0] or shape[1] > fine[1] or min(fine) < 16:
            raise SettingsError(
                f"{one_line(volume.name)} is {fine[0]}×{fine[1]}, {shape[0]}×{shape[1]} pixels of at least 16 were "
                "asked for: images are reduced, never enlarged. Give a smaller --size, or a larger image."
            )
        wanted = min(settings.n_slices or len(images), len(images))
        start = (len(images) - wanted) // 2
        images = images[start : start + wanted]
    coils = Coils.draw(for_coils, settings.n_coils)
    on_object = coils.at(*grid(fine))
    phase = smooth_phase(for_phase, fine)
    out = settings.oversampling * shape[0], shape[1]
    smaps = coils.at(*_positions(shape, settings.oversampling)) if settings.maps else None
    for image in images:
        thing = (image * phase)[None]
        both = np.concatenate([thing, thing * on_object])
        kspace = resolved(both, out, settings.oversampling)
        yield CleanSlice(kspace[1:], ifftc(kspace[0]), smaps)


def _positions(shape: tuple[int, int], oversampling: int) -> Any:
    """Positions of the pixels in fields of view, over as many of them along height."""
    rows = oversampling * shape[0]
    y, x = (np.arange(rows) - rows // 2) / shape[0], (np.arange(shape[1]) - shape[1] // 2) / shape[1]
    return y.astype(np.float32)[:, None], x.astype(np.float32)[None, :]


def _written(settings: Simulation, one: Planned, scan: Scan, overwrite: bool) -> bool:
    """Write a scan, unless another process that makes the same set was quicker."""
    try:
        write_scan(one.path, scan, overwrite=overwrite)
    except OutputError:
        if overwrite or not _is_there(settings, one):
            raise
        return False
    release(one.path)
    return True
