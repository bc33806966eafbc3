"""The cases: what data each is made of, and what is measured on them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.comparison import Comparison, command_help
from benchmarks.output import Results, Row
from benchmarks.problem import Complex, Quality
from benchmarks.process import Run, measure
from benchmarks.tuning import Tuned, choose_ours, retried, tune_bart, tune_sigpy
from mri_recon.data.phantom import sample_scan
from mri_recon.data.sampling import Sampling, choose_mask
from mri_recon.data.scan import Scan
from mri_recon.data.storage import find_scans, read_scan, write_scan

GENERATED = ("one-coil", "volume", "many-coils", "estimated-maps")
NOISE = 0.01
LIKE = {"volume": "one-coil", "estimated-maps": "many-coils"}
"""Cases that take over what BART was tuned to on the same head, where that is known."""


@dataclass(frozen=True)
class Plan:
    """What was asked for."""

    folder: Path
    bart: bool
    sigpy: bool
    accelerations: tuple[tuple[float, float], ...] = ((4, 0.08), (8, 0.04))
    weights: tuple[float, ...] = (0.01, 0.002)
    shape: tuple[int, int] = (640, 368)
    n_coils: int = 15
    n_slices: int = 36  # of the volumes
    n_sample: int = 6
    repeats: int = 5
    optimum_iterations: int = 3000
    quick: bool = False
    scans: Path | None = None


@dataclass(frozen=True)
class _Contestant:
    """A row of the table and the process it times; `settings` are those of ours."""

    row: Row
    run: Callable[[], Run]
    settings: dict[str, Any] | None = None


@dataclass
class Bench:
    """Runs cases one after another and gathers their results; `keep` is called after each comparison."""

    plan: Plan
    results: Results
    keep: Callable[[], None]

    def comparisons(self, case: str) -> Iterator[Comparison]:
        """Each acceleration and λ of a case."""
        for acceleration, center_fraction in self.plan.accelerations:
            for weight in self.plan.weights:
                for name, scan, reference, smaps in self._scans(case):
                    sampling = Sampling.of(acceleration=acceleration, center_fraction=center_fraction)
                    columns = choose_mask(scan, sampling)[0].columns
                    bare = replace(scan, target=None, smaps=None, truth=None)
                    masked = replace(bare, kspace=scan.kspace[:] * columns, mask=columns)
                    n_sample = self.plan.n_sample if scan.n_slices > 1 else 1
                    sample = np.unique(
                        np.linspace(0, scan.n_slices - 1, n_sample + 2).round().astype(int)[1:-1]
                    )
                    picked = [int(i) for i in sample]
                    yield Comparison(
                        name,
                        acceleration,
                        weight,
                        masked,
                        columns,
                        smaps,
                        reference[picked],
                        picked,
                        self.plan.folder,
                        self.plan.optimum_iterations,
                    )

    def _scans(self, case: str) -> Iterable[tuple[str, Scan, Any, Complex | None]]:
        if case == "real":
            for path in find_scans([self.plan.scans or Path()]):
                scan = read_scan(path)
                if scan.target is None:
                    self.note(f"{path.name} has no target and was left out.")
                    continue
                one = replace(scan, kspace=scan.kspace[0:1])
                kind = "real" if scan.n_coils > 1 else "real-one-coil"
                yield f"{kind}:{path.stem}", one, scan.target[0:1], None
            return
        n_coils = 1 if case in ("one-coil", "volume") else self.plan.n_coils
        scan = generated(*self.plan.shape, self.plan.n_slices if case == "volume" else 1, n_coils)
        smaps, target, truth = (np.asarray(a) for a in (scan.smaps, scan.target, scan.truth))
        # Estimated maps have unit norm, so their image is the RSS image; given maps show the object itself.
        reference = target if case == "estimated-maps" else np.abs(truth)
        yield case, scan, reference, smaps[0] if case == "many-coils" else None

    def note(self, text: str) -> None:
        self.results.notes.append(text)
        print(text, file=sys.stderr, flush=True)

    def tuned(self, key: str, tune: Callable[[], Tuned]) -> Tuned:
        """A tuning made once, or by an earlier run whose results were handed in."""
        if key not in self.results.tuning:
            self.results.tuning[key] = tune().as_dict()
            self.keep()
        return Tuned.of(self.results.tuning[key])

    def bart(self, comparison: Comparison) -> Tuned | None:
        if not self.plan.bart:
            return None
        try:
            if comparison.estimate:
                comparison.bart_maps()
            like = f"{comparison.name} BART".replace(comparison.case, LIKE.get(comparison.case, "none"))
            if like in self.results.tuning:
                return retried(comparison, Tuned.of(self.results.tuning[like]))
            tune = lambda: tune_bart(comparison, quick=self.plan.quick)  # noqa: E731
            return self.tuned(f"{comparison.name} BART", tune)
        except RuntimeError as error:
            self.note(f"{comparison.name}: BART could not: {error}")
            return None

    def sigpy(self, comparison: Comparison, *, isotropic: bool) -> Tuned:
        kind = "isotropic" if isotropic else "own"
        tune = lambda: tune_sigpy(comparison, isotropic=isotropic, quick=self.plan.quick)  # noqa: E731
        return self.tuned(f"{comparison.name} SigPy {kind}", tune)

    def whole_processes(self, case: str) -> None:
        """Time whole processes, interleaved, each with its best settings."""
        if case == "many-coils" and "--smaps" not in command_help():
            self.note("many-coils left out: this `mri-recon reconstruct` has no option --smaps.")
            return
        for comparison in self.comparisons(case):
            print(comparison.name, file=sys.stderr, flush=True)
            contestants = self._contestants(comparison, sigpy=case == "one-coil")
            # Ours once untimed, for compiled code to be in its cache; what the peers read, tuning has read.
            for one in contestants:
                if one.settings is not None:
                    one.run()
                    comparison.check_command_line(one.settings)
            for _ in range(self.plan.repeats):
                for one in contestants:
                    one.row.seconds.append(one.run().seconds)
            self.results.rows += [one.row for one in contestants]
            self._cross_check(comparison, self.results.rows[-len(contestants) :])
            self.keep()

    def _contestants(self, comparison: Comparison, *, sigpy: bool) -> list[_Contestant]:
        found = []
        about = comparison.case, comparison.acceleration, comparison.weight
        theirs = self.bart(comparison)
        rival = None if theirs is None else Quality(theirs.best.gap, theirs.best.psnr)
        cap = np.inf if theirs is None else comparison.best_psnr(*comparison.bart_problems())
        for name, settings, quality, equal in choose_ours(comparison, rival, cap):
            told = " ".join(f"{k}={v:g}" for k, v in settings.items()) or "defaults"
            row = Row(*about, name, told, [], quality.gap, quality.psnr, None if rival is None else equal)
            found.append(_Contestant(row, partial(comparison.our_run, settings), settings))
        choices = {} if theirs is None else {"BART, any gap": theirs.by_psnr, "BART": theirs.best}
        for best, name in {best: name for name, best in choices.items()}.items():
            told = f"-u {best.parameter:g} -i {best.iterations}"
            row = Row(*about, name, told, [], best.gap, best.psnr)
            found.append(_Contestant(row, partial(comparison.bart_run, best.parameter, best.iterations)))
        for isotropic in (True, False) if sigpy and self.plan.sigpy else ():
            best = self.sigpy(comparison, isotropic=isotropic).best
            told = f"σ {best.parameter:g}, {best.iterations} iterations"
            name = "SigPy, isotropic" if isotropic else "SigPy, own"
            row = Row(*about, name, told, [], best.gap if isotropic else None, best.psnr)
            run = partial(comparison.sigpy_run, best.parameter, best.iterations, isotropic=isotropic)
            found.append(_Contestant(row, run))
        return found

    def _cross_check(self, comparison: Comparison, rows: list[Row]) -> None:
        for row in rows:
            if row.gap is not None and row.gap < -1e-6:
                self.note(
                    f"{comparison.name}: {row.program} got below f*, gap {row.gap:.1e}: f* is not the optimum."
                )

    def time_to_gap(self) -> None:
        """Solvers alone, from a cold start: gap and PSNR against time, and the time to two gaps."""
        for case in ("one-coil", "many-coils"):
            for comparison in self.comparisons(case):
                print(f"time to gap, {comparison.name}", file=sys.stderr, flush=True)
                curves: dict[str, list[tuple[float, float, float]]] = {}
                curves["mri-recon"] = self._our_curve(comparison)
                theirs = self.bart(comparison)
                if theirs is not None:
                    best = theirs.curve()
                    start = float(np.median([comparison.bart_pics(best[0].parameter, 1) for _ in range(3)]))
                    points = [(max(p.seconds - start, 1e-3), p.gap, p.psnr) for p in best]
                    curves[f"BART -u {best[0].parameter:g}"] = points
                for kind in (True, False) if self.plan.sigpy else ():
                    tuned = self.sigpy(comparison, isotropic=kind).curve()
                    label = f"SigPy, isotropic, σ {tuned[0].parameter:g}" if kind else "SigPy, own"
                    curves[label] = [(p.seconds, p.gap, p.psnr) for p in tuned]
                self.results.curves[comparison.name] = curves
                for program, points in curves.items():
                    self.results.gap_rows.append(self._time_to(comparison, program, points))
                self.keep()

    def _our_curve(self, comparison: Comparison) -> list[tuple[float, float, float]]:
        """Runs of more and more iterations, each from a cold start: median seconds, gap, PSNR."""
        from time import perf_counter

        problem = comparison.problems[0]
        problem.solve(iterations=2)  # compiles
        points: list[tuple[float, float, float]] = []
        iterations, gap = 4, np.inf
        while gap > 3e-5 and iterations <= 2000:
            seconds = []
            # The two that count most are the first below each level; all are short, so all are repeated.
            for _ in range(self.plan.repeats):
                started = perf_counter()
                image = problem.solve(iterations=iterations, tolerance=1e-30)
                seconds.append(perf_counter() - started)
            quality = comparison.judged([image], [problem], "given")
            gap = quality.gap
            points.append((float(np.median(seconds)), gap, quality.psnr))
            iterations = max(iterations + 1, round(1.2 * iterations))
        return points

    @staticmethod
    def _time_to(comparison: Comparison, program: str, points: list[Any]) -> dict[str, Any]:
        row = {
            "case": comparison.case,
            "R": comparison.acceleration,
            "λ": comparison.weight,
            "program": program,
        }
        own = "own" in program
        last, gap, psnr = points[-1]
        never = f"minimises another objective; {psnr:.2f} dB in {last:.3g} s"
        row["end"] = never if own else f"not in {last:.3g} s: {gap:.1e}"
        for name, level in (("1e-3", 1e-3), ("1e-4", 1e-4)):
            times = [] if own else [seconds for seconds, gap, _ in points if gap <= level]
            row[name] = min(times, default=None)
        return row

    def memory(self) -> None:
        """Peak resident size of reconstructing a multi-coil volume whose maps are estimated."""
        plan = self.plan
        scan = generated(*plan.shape, 1, plan.n_coils)
        acceleration, center_fraction = plan.accelerations[0]
        sampling = Sampling.of(acceleration=acceleration, center_fraction=center_fraction)
        columns = choose_mask(scan, sampling)[0].columns
        volume = FreshNoise(np.asarray(scan.kspace[0:1]), columns, plan.n_slices)
        file, out = plan.folder / "volume.h5", plan.folder / "volume"
        bare = replace(scan, kspace=volume, mask=columns, target=None, smaps=None, truth=None)
        file.parent.mkdir(parents=True, exist_ok=True)
        write_scan(file, bare, overwrite=True)
        try:
            command = [sys.executable, "-m", "mri_recon", "reconstruct", str(file), "--method", "cs"]
            options = ["--set", "tv_weight=0.01", "--device", "cpu", "--quiet", "--overwrite", "-o", str(out)]
            run = measure([*command, *options])
            size = f"{'×'.join(map(str, volume.shape))} ({file.stat().st_size / 2**30:.2f} GiB)"
        finally:
            file.unlink(missing_ok=True)
        told = {
            "volume": size,
            "seconds": f"{run.seconds:.1f}",
            "peak (MiB)": f"{run.peak_bytes / 2**20:.0f}",
        }
        self.results.memory.append(told)
        self.keep()


@dataclass(frozen=True)
class FreshNoise:
    """Slices of one k-space, each with noise of its own, made when they are asked for."""

    kspace: Complex
    columns: Any
    n_slices: int

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.n_slices, *self.kspace.shape[1:])

    def __getitem__(self, index: slice, /) -> Complex:
        slices = []
        for i in range(self.n_slices)[index]:
            drawn = np.random.default_rng(i).standard_normal((*self.kspace.shape[1:], 2), dtype=np.float32)
            slices.append(
                (self.kspace[0] + np.float32(NOISE) * drawn.view(np.complex64)[..., 0]) * self.columns
            )
        return np.stack(slices)


@cache
def generated(height: int, width: int, n_slices: int, n_coils: int) -> Scan:
    return sample_scan(
        "head", height=height, width=width, n_slices=n_slices, n_coils=n_coils, noise=NOISE, seed=0
    )
