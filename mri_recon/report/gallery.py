"""The pictures of a report: collected while an evaluation runs, few enough for a page.

A volume is kept whole only while its methods are still coming in; then the slices to show are chosen and
compressed, so that a folder of hundreds of scans fits into memory. Which of those a page can carry is settled
last, when it is known how many there are.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from PIL import Image, features

from mri_recon.evaluation.elsewhere import METHOD, Made
from mri_recon.metrics import Metrics, Volume, evaluation_crop
from mri_recon.physics.masks import SamplingMask
from mri_recon.reconstruct import Reconstruction
from mri_recon.report.figures import window
from mri_recon.report.slice_scores import SliceScores, score_slices

Levels = NDArray[np.uint8]

MOST_SLICES = 6
"""Slices of a volume that a page shows at most."""

OPEN_VOLUMES = 4
"""Volumes kept whole at a time: methods may come in out of order, from several processes."""

PICTURE_CHARACTERS = 6_400_000
"""What pictures may take in a page, encoded; with all else it stays below 8 MB."""

IMAGE_QUALITY, ERROR_QUALITY = 82, 66


@dataclass(frozen=True)
class Kept:
    """What a report needs of one reconstruction: 8-bit pictures of what is scored, and the scores of its slices.

    Levels are 255 √(value / peak) with the target volume's maximum as peak, which spends them where the eye does
    and leaves room for brighter windows and for error maps at any factor.

    Parameters
    ----------
    mask
        None for images made elsewhere.
    white
        The value shown as white at first, as a fraction of the peak.
    error
        The error volume's own such value, likewise.
    """

    name: str
    method: str
    mask: SamplingMask | None
    first_slice: int
    target: Levels
    image: Levels
    errors: Levels
    white: float
    error: float
    scores: SliceScores
    ssim: float


def keep(result: Reconstruction) -> Kept | None:
    """Take from a reconstruction what a report shows of it; nothing, where it has no scores.

    The result is small and can be sent between processes.
    """
    if result.target is None or result.metrics is None:
        return None
    return _kept(
        result.name,
        result.method,
        result.mask,
        result.slices[0],
        result.target,
        result.image,
        result.metrics,
    )


def keep_made(made: Made) -> Kept:
    """Take from a volume made elsewhere what a report shows of it."""
    return _kept(made.name, METHOD, None, made.first_slice, made.target, made.image, made.metrics)


def _kept(
    name: str,
    method: str,
    mask: SamplingMask | None,
    first_slice: int,
    target: Volume,
    image: Volume,
    metrics: Metrics,
) -> Kept:
    target, image = evaluation_crop(target, image)
    peak = float(target.max())
    errors = np.abs(image - target)
    return Kept(
        name=name,
        method=method,
        mask=mask,
        first_slice=first_slice,
        target=to_levels(target, peak),
        image=to_levels(image, peak),
        errors=to_levels(errors, peak),
        white=min(window(target) / peak, 1.0),
        error=window(errors) / peak,
        scores=score_slices(target, image),
        ssim=metrics.ssim,
    )


def to_levels(values: NDArray[np.floating], peak: float) -> Levels:
    """255 √(value / peak), rounded; what lies above the peak is cut."""
    return np.asarray(np.rint(255 * np.sqrt(np.clip(values / peak, 0, 1))), dtype=np.uint8)


@dataclass(frozen=True)
class SlicePicture:
    """One slice of a volume: its target, and image and error map by method, as data URLs."""

    index: int
    reason: str
    target: str
    images: dict[str, str]
    errors: dict[str, str]

    @property
    def characters(self) -> int:
        """What it takes in a page."""
        return sum(map(len, (self.target, *self.images.values(), *self.errors.values())))


@dataclass
class Entry:
    """One scan under one mask, by each method."""

    name: str
    mask: SamplingMask | None
    first_slice: int
    n_slices: int
    shape: tuple[int, int]
    white: float
    error: dict[str, float] = field(default_factory=dict)
    ssim: dict[str, float] = field(default_factory=dict)
    scores: dict[str, SliceScores] = field(default_factory=dict)
    pictures: list[SlicePicture] = field(default_factory=list)
    open: list[Kept] | None = field(default_factory=list)
    """What has come in so far; None once the slices are chosen."""

    @property
    def mask_sha256(self) -> str:
        """As in the volume's scores: nothing, where the mask is not known."""
        return "" if self.mask is None else self.mask.sha256

    def add(self, kept: Kept) -> None:
        """Take one more method."""
        self.error[kept.method] = kept.error
        self.ssim[kept.method] = kept.ssim
        self.scores[kept.method] = kept.scores
        if self.open is not None:
            self.open.append(kept)
            return
        for picture in self.pictures:
            _add_method(picture, kept, picture.index - self.first_slice)

    def close(self) -> None:
        """Choose the slices to show, compress them and let go of the others."""
        if not self.open:
            return
        for place, reason in choose_slices(self.n_slices, self.ssim, self.scores):
            picture = SlicePicture(
                self.first_slice + place, reason, data_url(self.open[0].target[place], IMAGE_QUALITY), {}, {}
            )
            for kept in self.open:
                _add_method(picture, kept, place)
            self.pictures.append(picture)
        self.open = None


def _add_method(picture: SlicePicture, kept: Kept, place: int) -> None:
    picture.images[kept.method] = data_url(kept.image[place], IMAGE_QUALITY)
    picture.errors[kept.method] = data_url(kept.errors[place], ERROR_QUALITY)


def choose_slices(
    n_slices: int, ssim: dict[str, float], scores: dict[str, SliceScores]
) -> list[tuple[int, str]]:
    """Slices to show, most wanted first, each with the reason.

    The middle; where each method does worst, the best method first, as its failures are the news; then others at
    equal distances.
    """
    wanted = [(n_slices // 2, "middle")]
    for method in sorted(ssim, key=lambda name: -ssim[name]):
        values = np.nan_to_num(np.asarray(scores[method].ssim), nan=np.inf)
        wanted.append((int(values.argmin()), f"lowest SSIM of {method}"))
    if n_slices <= MOST_SLICES:
        spread = np.arange(n_slices)
    else:
        spread = np.linspace(0, n_slices - 1, MOST_SLICES + 2)[1:-1].round().astype(int)
    # From the middle outwards, so that the ends, often air, come last.
    wanted += [(int(i), "at equal distances") for i in sorted(spread, key=lambda i: abs(i - n_slices // 2))]
    chosen: dict[int, str] = {}
    for place, reason in wanted:
        chosen.setdefault(place, reason)
    return list(chosen.items())[:MOST_SLICES]


@dataclass
class Gallery:
    """Pictures collected while an evaluation runs."""

    entries: list[Entry] = field(default_factory=list)

    def add(self, result: Reconstruction | Kept | Made) -> None:
        """Keep what a report shows of a reconstruction, beside other methods under the same mask."""
        kept: Kept | None
        if isinstance(result, Reconstruction):
            kept = keep(result)
        else:
            kept = keep_made(result) if isinstance(result, Made) else result
        if kept is None:
            return
        sha256 = "" if kept.mask is None else kept.mask.sha256
        key = (kept.name, sha256, kept.first_slice, len(kept.image))
        for entry in self.entries:
            same = (entry.name, entry.mask_sha256, entry.first_slice, entry.n_slices) == key
            if same and kept.method not in entry.ssim:
                entry.add(kept)
                return
        height, width = kept.target.shape[1:]
        entry = Entry(
            kept.name, kept.mask, kept.first_slice, len(kept.image), (height, width), white=kept.white
        )
        entry.add(kept)
        self.entries.append(entry)
        still_open = [one for one in self.entries if one.open is not None]
        for one in still_open[:-OPEN_VOLUMES]:
            one.close()


def fit(entries: Sequence[Entry], characters: int = PICTURE_CHARACTERS) -> list[list[SlicePicture]]:
    """The pictures of each entry that a page can carry: one slice of each before a second of any.

    Parameters
    ----------
    entries
        Most wanted first.

    Returns
    -------
    list
        For each entry its pictures in the order of slices; none where there was no room.
    """
    for entry in entries:
        entry.close()
    fitted: list[list[SlicePicture]] = [[] for _ in entries]
    for turn in range(MOST_SLICES):
        for entry, chosen in zip(entries, fitted, strict=True):
            if turn < len(entry.pictures) and entry.pictures[turn].characters <= characters:
                chosen.append(entry.pictures[turn])
                characters -= entry.pictures[turn].characters
    return [sorted(chosen, key=lambda picture: picture.index) for chosen in fitted]


def data_url(levels: Levels, quality: int) -> str:
    """An 8-bit picture, compressed with loss, that a page can hold in itself."""
    # Every wheel of Pillow has WebP, a build from source may not.
    kind = "WEBP" if features.check("webp") else "JPEG"
    data = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(levels)).save(data, format=kind, quality=quality)
    return f"data:image/{kind.lower()};base64," + base64.b64encode(data.getvalue()).decode()
