"""The comparisons of a lecture on optimisation that ends in MRI, measured again on generated data.

    scripts/lecture_study                            # everything, into runs/lecture: under an hour on two cores
    scripts/lecture_study --scan brain.h5            # the closing picture of a scan of yours
    scripts/lecture_study --only norms --seeds 0     # a first look
    scripts/lecture_study --configs my-studies       # other grids

Optimisers × learning rates, and normalisation layers × batch sizes, with several seeds and the same number of slices
seen by every run; then a closing picture. Runs that are finished are kept in the output folder and not done again, so
that it can be stopped at any time. It writes a table and curves a study, `closing.png` and `results.json`;
docs/lecture.md tells what came out.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PARTS = ("optimizers", "norms", "closing")


def main(arguments: list[str] | None = None) -> int:
    asked = _arguments(arguments)
    if __name__ == "__main__":
        # Before numpy and torch are imported, which look once: a run has one thread, and each core a run.
        os.environ.update({"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"})
        os.environ["PYTHONPATH"] = os.pathsep.join(
            [str(ROOT), str(ROOT / "scripts")]
        )  # of the runs' processes
        sys.path.insert(0, str(ROOT))
    from lecture.plan import STUDIES

    from mri_recon.files import make_folder

    make_folder(asked.output)
    from lecture.document import put

    results = {name: study(asked, name) for name in STUDIES if name in asked.only}
    if results:
        (asked.output / "results.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    if "closing" in asked.only:
        from lecture.closing import trained, write_closing

        text = write_closing(trained(asked.configs, asked.output, _say), asked.scan, asked.output)
        (asked.output / "closing.md").write_text(text + "\n", encoding="utf-8")
        print(f"\n{text}")
    if asked.docs:
        for name in asked.only:
            put(asked.docs, name, asked.output)
    return 0


def study(asked: argparse.Namespace, name: str) -> list[dict[str, Any]]:
    """Do one study, write its table and curves, and return its figures by cell."""
    from lecture.figures import write_figure
    from lecture.plan import load_study, runs
    from lecture.running import carry_out, finished
    from lecture.summary import at_the_edge, best_table, cells, grid_table

    described = load_study(asked.configs, name)
    plan = list(runs(asked.configs, name, asked.seeds))
    carry_out(plan, asked.output, asked.jobs, _say)
    found = cells((run, outcome) for run in plan if (outcome := finished(asked.output, run)) is not None)
    edges = "".join(f"\n{line}" for line in at_the_edge(described, found))
    text = f"{best_table(described, found)}\n{edges}\n\nEvery rate:\n\n{grid_table(found)}\n"
    (asked.output / f"{name}.md").write_text(text, encoding="utf-8")
    write_figure(asked.output / f"{name}.png", described, found)
    print(f"\n{described.title}\n\n{text}", flush=True)
    return [
        {
            "panel": cell.panel,
            "arm": cell.arm,
            "rate": cell.rate,
            "seeds": cell.seeds,
            "histories": [outcome.history for outcome in cell.outcomes],
            "stopped": [outcome.stopped for outcome in cell.outcomes],
            "processor_seconds": [round(outcome.seconds, 1) for outcome in cell.outcomes],
        }
        for cell in found
    ]


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="lecture_study", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add(
        "-o",
        "--output",
        type=Path,
        default=Path("runs/lecture"),
        metavar="FOLDER",
        help="default runs/lecture",
    )
    add("--scan", type=Path, metavar="FILE", help="scan of the closing picture; a generated head by default")
    add("--only", nargs="+", choices=PARTS, default=PARTS, help="parts to do; all by default")
    add("--seeds", nargs="+", type=int, metavar="N", help="in place of the studies' own")
    add(
        "--jobs",
        type=int,
        default=os.cpu_count() or 1,
        metavar="N",
        help="runs at a time; default: one a core",
    )
    add("--docs", type=Path, metavar="FILE", help="put tables and pictures into this page, docs/lecture.md")
    add("--configs", type=Path, default=ROOT / "configs" / "lecture", metavar="FOLDER", help="other studies")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    from mri_recon.errors import MriReconError

    try:
        sys.exit(main())
    except MriReconError as error:
        sys.exit(f"Error: {error}")
    except KeyboardInterrupt:
        sys.exit("Stopped; the runs that were finished are kept, the same command goes on.")
