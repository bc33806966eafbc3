"""Tables on a terminal too narrow for them: nothing is cut, neither a file's name nor a digit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from textwrap import wrap

_GAP = 2
"""Spaces between two columns."""


def numeric(cells: Sequence[str]) -> bool:
    """Whether a column is numbers, which stand flush right; a dash is a number that is not there."""
    return all(cell == "–" or cell.lstrip("+-−")[:1].isdigit() for cell in cells)


def natural_widths(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[int]:
    """Columns of a terminal that each column of the table needs, were nothing broken over lines."""
    from rich.cells import cell_len

    return [max(map(cell_len, column)) for column in zip(header, *rows, strict=True)]


def narrow(
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    width: int,
    *,
    strong: Callable[[str], str] = str,
) -> list[str]:
    """Lines of a table without frames, within a width where that can be done without cutting a word.

    Where columns side by side are too wide, the widest are broken before a bracket, so that an interval gets a line
    of its own; then the first one becomes headings above its rows, and last columns are broken at any space. What is
    wider even so is left to the terminal, which breaks lines and loses nothing.

    Parameters
    ----------
    strong
        What makes a heading stand out; called with the text of a line.
    """
    from rich.cells import cell_len

    natural = natural_widths(header, rows)
    everything = list(zip(header, *rows, strict=True))
    phrases, words = (
        [max(cell_len(part) for cell in column for part in split(cell)) for column in everything]
        for split in (_phrases, lambda cell: cell.split() or [""])
    )
    lifted = _total(phrases) > width and len(header) > 1
    first = 1 if lifted else 0
    indent = " " * _GAP * first
    columns, room = everything[first:], width - len(indent)
    least = phrases[first:] if _total(phrases[first:]) <= room else words[first:]
    widths = _shrunk(natural[first:], least, room)
    right = [numeric(column[1:]) for column in columns]

    lines = [strong(line) for line in _row(header[first:], widths, right, indent)]
    if lifted:
        lines.insert(0, strong(header[0]))
    lines.append("─" * min(width, len(indent) + _total(widths)))
    above = None
    for row in rows:
        if lifted and row[0] != above:
            above = row[0]
            lines.append(strong(above))
        lines += _row(row[first:], widths, right, indent)
    return lines


def _phrases(cell: str) -> list[str]:
    """A cell, parted before an interval in brackets."""
    value, bracket, interval = cell.partition(" [")
    return [value, f"[{interval}"] if bracket else [value]


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + _GAP * (len(widths) - 1)


def _shrunk(widths: Sequence[int], least: Sequence[int], width: int) -> list[int]:
    """Take from the widest columns, a space at a time, until the table fits or no word may be narrower."""
    widths = list(widths)
    while _total(widths) > width:
        able = [i for i, least_width in enumerate(least) if widths[i] > least_width]
        if not able:
            break
        widths[max(able, key=lambda i: widths[i])] -= 1
    return widths


def _row(cells: Sequence[str], widths: Sequence[int], right: Sequence[bool], indent: str) -> list[str]:
    """The lines of one row."""
    from rich.cells import cell_len

    broken = [
        [cell]
        if cell_len(cell) <= width
        else [
            line
            for phrase in _phrases(cell)
            for line in wrap(phrase, max(width, 1), break_long_words=False, break_on_hyphens=False)
        ]
        for cell, width in zip(cells, widths, strict=True)
    ]
    lines = []
    for at in range(max(map(len, broken))):
        parts = []
        for texts, width, flush_right in zip(broken, widths, right, strict=True):
            text = texts[at] if at < len(texts) else ""
            space = " " * (width - cell_len(text))
            parts.append(space + text if flush_right else text + space)
        lines.append((indent + (" " * _GAP).join(parts)).rstrip())
    return lines
