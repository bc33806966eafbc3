"""One comparison: the same data and λ as each contestant is handed them, and what each makes of them."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import bart, sigpy_tv
from benchmarks.problem import Complex, Problem, Quality, judge, magnitude_psnr, mirrored
from benchmarks.process import ROOT, Run, measure
from mri_recon.data.scan import Scan
from mri_recon.data.storage import read_reconstruction, read_scan, write_scan
from mri_recon.methods.base import Report
from mri_recon.methods.tv import TotalVariation
from mri_recon.physics.masks import Columns, center_run
from mri_recon.reconstruct import kspace_scale, reconstruct

_Images = tuple[NDArray[np.float32], list[tuple[Complex, Complex | None, Complex]]]


@dataclass
class Comparison:
    """A case at one acceleration and λ.

    Parameters
    ----------
    scan
        Undersampled, without a target, so that no scoring is timed.
    smaps
        Maps given to all, `(coil, height, width)`; None where there is one coil or each estimates its own.
    reference
        Magnitudes `(slice, h, w)` of the slices in `sample`.
    sample
        Slices that BART is timed on and images are judged by; its time is that of all slices in proportion.
    """

    case: str
    acceleration: float
    weight: float
    scan: Scan
    columns: Columns
    smaps: Complex | None
    reference: NDArray[np.floating]
    sample: list[int]
    folder: Path
    optimum_iterations: int
    name: str = ""
    problems: list[Problem] = field(default_factory=list)
    scales: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.name = f"{self.case} R{self.acceleration:g} λ{self.weight:g}"
        self.home = self.folder / self.name.replace(" ", "_")
        self.home.mkdir(parents=True, exist_ok=True)
        self.file = self.home / f"{Path(self.scan.name).stem}.h5"
        write_scan(self.file, self.scan, overwrite=True)
        self.estimate = self.smaps is None and self.scan.n_coils > 1
        for index in self.sample:
            kspace = self.scan.kspace[index : index + 1]
            scale = kspace_scale(kspace, self.columns)
            kspace = (kspace / scale).astype(np.complex64)[0]
            self.scales.append(float(scale[0, 0, 0, 0]))
            self.problems.append(Problem(kspace, self.columns, self.smaps, self.weight))
            bart.write_cfl(self._cfl("kspace", index), kspace)
        maps = np.ones_like(self.problems[0].kspace) if self.smaps is None else self.smaps
        if not self.estimate:
            bart.write_cfl(self._cfl("maps", self.sample[0]), maps)
            np.save(self.home / "kspace.npy", mirrored(self.problems[0].kspace))
            np.save(self.home / "maps.npy", mirrored(maps))
        if self.smaps is not None:
            np.save(self.home / "smaps.npy", self.smaps[None])
        self._optima: dict[str, tuple[list[float], list[Complex]]] = {}
        self._made: dict[str, _Images] = {}

    def _cfl(self, what: str, index: int) -> Path:
        return self.home / f"{what}{index}"

    def optima(self, problems: list[Problem], whose: str) -> tuple[list[float], list[Complex]]:
        if whose not in self._optima:
            folder = self.folder / "optima"
            found = [p.optimum(folder, self.optimum_iterations) for p in problems]
            self._optima[whose] = [f for f, _ in found], [x for _, x in found]
        return self._optima[whose]

    def judged(self, images: list[Complex], problems: list[Problem], whose: str) -> Quality:
        """`whose` objective: "given" where all share it, else that of one's own maps."""
        values, _ = self.optima(problems, whose)
        return judge(problems, images, self.scales, self.reference, values)

    def best_psnr(self, problems: list[Problem], whose: str) -> float:
        """PSNR of the optimum itself."""
        return magnitude_psnr(self.optima(problems, whose)[1], self.scales, self.reference)

    # mri-recon

    def our_command(self, settings: dict[str, Any]) -> list[str]:
        command = [sys.executable, "-m", "mri_recon", "reconstruct", str(self.file), "--method", "cs"]
        for key, value in {"tv_weight": self.weight, **settings}.items():
            command += ["--set", f"{key}={value}"]
        if self.smaps is not None:
            command += ["--smaps", str(self.home / "smaps.npy")]
        for option in ("--no-preview",):
            command += [option] if option in command_help() else []
        return [*command, "--device", "cpu", "--quiet", "--overwrite", "-o", str(self.home / "ours")]

    def our_run(self, settings: dict[str, Any]) -> Run:
        return measure(self.our_command(settings))

    def our_quality(self, settings: dict[str, Any]) -> Quality:
        """Of the images that the same pipeline makes in process: complex for the gap, final for the PSNR."""
        made, seen = self._our_images(json.dumps(settings))
        images = [image for _, _, image in seen]
        problems, whose = self.problems, "given"
        if self.estimate:
            problems, whose = [Problem(y, self.columns, s, self.weight) for y, s, _ in seen], "ours"
        gap = self.judged(images, problems, whose).gap
        return Quality(gap, magnitude_psnr(list(made), [1.0] * len(made), self.reference))

    def check_command_line(self, settings: dict[str, Any]) -> float:
        """Largest difference, relative to the peak, of the file that the timed process wrote from what is judged."""
        written = read_reconstruction(self.home / "ours" / self.file.name)[self.sample]
        made, _ = self._our_images(json.dumps(settings))
        worst = float(np.abs(written - made).max() / made.max())
        if worst > 1e-5:
            raise RuntimeError(
                f"{self.name}: `mri-recon` and the Python API differ by {worst:.1e} of the peak."
            )
        return worst

    def _our_images(self, settings: str) -> _Images:
        """Final magnitudes of the sampled slices; k-space and maps as the method got them, and its image."""
        if settings in self._made:
            return self._made[settings]
        seen: list[tuple[Complex, Complex | None, Complex]] = []

        class Seen(TotalVariation):
            def __call__(self, kspace: Any, mask: Any, smaps: Any, report: Report | None = None) -> Any:
                given = kspace[0].copy(), None if smaps is None else smaps[0].copy()
                image = super().__call__(kspace, mask, smaps, report)
                seen.append((*given, image[0]))
                return image

        maps: dict[str, Any] = {} if self.smaps is None else {"smaps": self.smaps[None]}
        scan, method = read_scan(self.file), Seen(tv_weight=self.weight, **json.loads(settings))
        made = [reconstruct(scan, method, slices=(i, i + 1), device="cpu", **maps).image for i in self.sample]
        self._made[settings] = np.concatenate(made), seen
        return self._made[settings]

    # BART

    def bart_maps(self) -> float:
        """Estimate maps; seconds."""
        start, stop = center_run(self.columns)
        kspace, maps = (self._cfl(what, self.sample[0]) for what in ("kspace", "maps"))
        return bart.ecalib(kspace, maps, stop - start)

    def bart_run(self, rho: float, iterations: int) -> Run:
        """All processes from k-space to images, scaled up from the sample to all slices."""
        seconds = self.bart_maps() if self.estimate else 0.0
        return Run((seconds + self.bart_pics(rho, iterations)) * self.scan.n_slices / len(self.sample))

    def bart_pics(self, rho: float, iterations: int) -> float:
        maps = self._cfl("maps", self.sample[0])
        return sum(
            bart.pics(self._cfl("kspace", i), maps, self._cfl("image", i), self.weight, rho, iterations)
            for i in self.sample
        )

    def bart_problems(self) -> tuple[list[Problem], str]:
        if not self.estimate:
            return self.problems, "given"
        maps = bart.read_cfl(self._cfl("maps", self.sample[0]))
        return [Problem(p.kspace, self.columns, maps, self.weight) for p in self.problems], "BART"

    def bart_quality(self) -> Quality:
        """Of the images that BART made last."""
        images = [bart.read_cfl(self._cfl("image", i))[0] for i in self.sample]
        return self.judged(images, *self.bart_problems())

    # SigPy, where all slices are one and maps are given

    def sigpy_run(self, sigma: float, iterations: int, *, isotropic: bool) -> Run:
        program = Path(sigpy_tv.__file__)
        options = ["--weight", str(self.weight), "--iterations", str(iterations), "--sigma", str(sigma)]
        kind = ["--isotropic"] if isotropic else []
        return measure([sys.executable, str(program), str(self.home), *options, *kind])

    def sigpy_curve(
        self, sigma: float, counts: list[int], *, isotropic: bool
    ) -> list[tuple[int, float, Quality]]:
        """After each count of iterations: the count, seconds in the solver, quality."""
        kspace, maps = (np.load(self.home / f"{name}.npy") for name in ("kspace", "maps"))
        run = sigpy_tv.checkpoints(kspace, maps, self.weight, counts, sigma, isotropic=isotropic)
        return [(n, s, self.judged([mirrored(x)], self.problems, "given")) for n, s, x in run]


@lru_cache(maxsize=1)
def command_help() -> str:
    """Help of `mri-recon reconstruct`, which says what options this version has."""
    command = [sys.executable, "-m", "mri_recon", "reconstruct", "--help"]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True).stdout
