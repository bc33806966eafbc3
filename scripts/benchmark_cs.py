#!/usr/bin/env python
"""Measure compressed sensing with total variation against BART and SigPy, at the same objective.

    scripts/benchmark_cs -o out/benchmark_cs/results.md [--case one-coil …] [--scans DIR] [--quick]

One command; it installs nothing, and leaves out the peers it does not find (the program `bart`, the package sigpy),
saying so. Writes a Markdown table, all raw times beside it as JSON, and pictures of gap and PSNR against time.

Everybody minimises ½‖MFSx − y‖² + λ Σ √(|∂_h x|² + |∂_w x|²): k-space is divided by our scale before BART, told
``-w 1``, gets it, and mirrored, because BART and SigPy difference backward where we difference forward. The gap is
f / f* − 1, with f* from a very long run of our own solver (in double precision for one coil); a contestant that
gets below it is reported. PSNR is of magnitudes, against the noise-free truth or a measured scan's target; the range
is its maximum.

Best-tuned BART: every ρ (-u) of 0.01, 0.03, 0.1, 0.3, 1 at 100 iterations, then 30 to 400 at the ρ of the smallest
gap and 30 to 200 at that of the best PSNR. Of all these the quickest is taken whose gap is at most 1e-2 (1.1 times
the smallest reached, where that is more) and whose PSNR is within 0.02 dB of the best of these, a PSNR above the
optimum's own counting as the optimum's. "BART, any gap" is the quickest with that PSNR whatever its gap: an
unfinished image on its way past it. The cases volume and estimated-maps take over what was found for one-coil and
many-coils where these were run before (or --reuse-tuning has them), judged anew. SigPy likewise, over its dual step
σ; its own TotalVariationRecon is anisotropic: it is chosen by PSNR and has no gap. Ours runs at its defaults; where
these have a larger gap or a lower PSNR than best-tuned BART, `tolerance` is tightened until they do not, and the
table says so. A second row of ours, where there is one, has the loosest tolerance that is still as good as BART.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import replace
from pathlib import Path

CASES = ("one-coil", "volume", "many-coils", "estimated-maps", "real", "memory", "time-to-gap")
PEERS = ("bart", "sigpy")


def main() -> int:
    asked = _arguments()
    from benchmarks.process import ROOT, THREAD_VARIABLES

    # Before numpy and its like are imported: they look once.
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, str(asked.threads)))
    sys.path.insert(0, str(ROOT))
    from benchmarks import bart, output, sigpy_tv
    from benchmarks.cases import GENERATED, Bench, Plan
    from benchmarks.floor import measured_floor

    peers = {"bart": bart.version(), "sigpy": sigpy_tv.version()}
    peers = {name: None if name in asked.without else version for name, version in peers.items()}
    command = " ".join(["scripts/benchmark_cs", *sys.argv[1:]])
    results = output.Results(output.about(asked.threads, peers, command))
    print("\n".join(f"{key}: {value}" for key, value in results.about.items()), file=sys.stderr)
    if asked.reuse_tuning is not None:
        results.tuning = json.loads(asked.reuse_tuning.read_text())["tuning"]

    asked.output.parent.mkdir(parents=True, exist_ok=True)
    work = asked.output.parent / "work"
    centers = {4: 0.08, 8: 0.04}
    plan = Plan(
        work,
        bart=peers["bart"] is not None,
        sigpy=peers["sigpy"] is not None,
        accelerations=tuple((r, centers[r]) for r in asked.acceleration or centers),
        weights=tuple(asked.weight or (0.01, 0.002)),
        repeats=asked.repeats,
        scans=asked.scans,
    )
    if asked.quick:
        plan = replace(
            plan,
            accelerations=plan.accelerations[:1],
            weights=plan.weights[:1],
            shape=(96, 80),
            n_coils=4,
            n_slices=4,
            n_sample=2,
            repeats=1,
            optimum_iterations=500,
            quick=True,
        )
    if asked.full:
        plan = replace(plan, n_sample=plan.n_slices)

    def keep() -> None:
        asked.output.with_suffix(".json").write_text(
            json.dumps(results.as_dict(), indent=1, ensure_ascii=False)
        )

    bench = Bench(plan, results, keep)
    for case in asked.case or ([] if asked.floor else CASES):
        if case == "real" and asked.scans is None:
            bench.note("real left out: name a folder of scans with --scans.")
        elif case in (*GENERATED, "real"):
            bench.whole_processes(case)
        elif case == "memory":
            bench.memory()
        else:
            bench.time_to_gap()
    if asked.floor or not asked.case:
        results.floor = measured_floor(plan.shape, plan.n_coils, asked.threads)
    keep()
    text = output.markdown(results)
    asked.output.write_text(text)
    print(text)
    if results.curves:
        for picture in output.plot(results, asked.plots or asked.output.parent):
            print(picture, file=sys.stderr)
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="benchmark_cs", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--case", action="append", choices=CASES, help="only this; repeatable (default: all)")
    add("--acceleration", action="append", type=float, choices=(4, 8), help="only this; repeatable")
    add("--weight", action="append", type=float, metavar="λ", help="this λ, not 0.01 and 0.002; repeatable")
    add("--quick", action="store_true", help="tiny sizes, one λ and acceleration, n = 1")
    add("--scans", type=Path, help="folder of measured scans with targets, for the case real")
    add(
        "-o",
        "--output",
        type=Path,
        default=Path("out/benchmark_cs/results.md"),
        help="table; .json beside it",
    )
    add("--plots", type=Path, help="folder of the pictures (default: beside the table)")
    add("--reuse-tuning", type=Path, metavar="FILE", help="settings found by an earlier run, from its .json")
    add("--without", action="append", default=[], choices=PEERS, help="leave out a peer; repeatable")
    add("--repeats", type=int, default=5, metavar="N", help="interleaved runs of each (default 5)")
    add("--threads", type=int, default=2, metavar="N", help="threads of each contestant (default 2)")
    add("--full", action="store_true", help="case volume: BART on every slice, not on six times six")
    add("--floor", action="store_true", help="measure the machine's floor; alone unless cases are named")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
