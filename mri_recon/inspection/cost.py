"""What a reconstruction will take, estimated from what others took."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from mri_recon.data.scan import Scan
from mri_recon.reconstruct import WORKING_BYTES, slices_at_once

_ZERO_FILLED = 1e-7
_CS = (2e-6, 12e-6)
"""Processor seconds a coil's pixel: nine scans at 4×, one core, tenth and ninetieth percentile."""

_PROGRAM_BYTES = 150 << 20
"""The program itself with the libraries that it loads."""


@dataclass(frozen=True)
class Estimate:
    """Processor seconds, which more threads share, and memory.

    `cs` has a low and a high figure: how long it takes to converge depends on what is in the image.
    """

    zero_filled_seconds: float
    cs_seconds: tuple[float, float]
    memory_mib: int

    def as_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {**asdict(self), "cs_seconds": list(self.cs_seconds)}

    def text(self) -> str:
        """One line, in round figures."""
        low, high = (_round(seconds) for seconds in self.cs_seconds)
        return (
            f"about {_round(self.zero_filled_seconds)} s of processor time by zero-filled, {low} to {high} s by cs; "
            f"{self.memory_mib} MiB of memory (estimates)"
        )


def estimate(scan: Scan) -> Estimate:
    """Estimate what `mri-recon reconstruct` will take for all slices of a scan on a CPU."""
    height, width = scan.shape
    pixels = scan.n_coils * height * width
    at_once = min(slices_at_once(scan, scan.n_slices) * 80 * pixels, max(WORKING_BYTES, 80 * pixels))
    h, w = scan.crop_shape
    images = 3 * 4 * scan.n_slices * h * w
    return Estimate(
        zero_filled_seconds=_ZERO_FILLED * pixels * scan.n_slices,
        cs_seconds=(_CS[0] * pixels * scan.n_slices, _CS[1] * pixels * scan.n_slices),
        memory_mib=round((_PROGRAM_BYTES + at_once + images) / 2**20),
    )


def _round(seconds: float) -> str:
    return f"{seconds:.1g}" if seconds < 10 else f"{float(f'{seconds:.2g}'):.0f}"
