"""Tables as text: Markdown, LaTeX, CSV and JSON."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

_LATEX = {
    "\\": r"\textbackslash{}", "_": r"\_", "%": r"\%", "&": r"\&", "#": r"\#", "$": r"\$", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$", "–": "--", "−": "$-$", "×": r"$\times$",
}  # fmt: skip


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table, without an end of line."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def latex_table(caption: str, header: Sequence[str], rows: Sequence[Sequence[str]], n_names: int) -> str:
    r"""A LaTeX table, without an end of line; it needs ``\usepackage{booktabs}``.

    Parameters
    ----------
    n_names
        Columns at the left that are words; the others are numbers, set to the right.
    """

    def line(cells: Sequence[str]) -> str:
        return "    " + " & ".join(map(_latex, cells)) + r" \\"

    columns = "l" * n_names + "r" * (len(header) - n_names)
    return "\n".join(
        [
            r"\begin{table}",
            r"  \centering",
            rf"  \caption{{{_latex(caption)}}}",
            rf"  \begin{{tabular}}{{{columns}}}",
            r"    \toprule",
            line(header),
            r"    \midrule",
            *map(line, rows),
            r"    \bottomrule",
            r"  \end{tabular}",
            r"\end{table}",
        ]
    )


def _latex(text: str) -> str:
    # What stands before a number is a minus sign, not a hyphen.
    text = re.sub(r"(?<![\w.])-(?=\d)", "−", text)
    return "".join(_LATEX.get(character, character) for character in text)


def csv_text(rows: Iterable[Mapping[str, Any]]) -> str:
    """A line of names, then a line a row."""
    rows = list(rows)
    text = io.StringIO()
    names = list(dict.fromkeys(name for row in rows for name in row))
    writer = csv.DictWriter(text, fieldnames=names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def json_text(value: Any) -> str:
    """Standard JSON: numbers that are not finite become null."""
    return json.dumps(_finite(value), indent=2, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {k: _finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value
