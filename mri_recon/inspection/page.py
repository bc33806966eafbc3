"""A report on a scan, as a line and as a page of text."""

from __future__ import annotations

from mri_recon.inspection.soundness import ScanReport


def summary_line(report: ScanReport) -> str:
    """The report in a line: status, file, what it is, and in a few words what is wrong with it."""
    head = f"{report.status:<8}  {report.name}"
    if report.scan is None or report.lines is None:
        # Most reasons begin with the path of the file that the line has named.
        path, _, reason = report.reason.partition(": ")
        return f"{head}  {reason if path.endswith(report.name) and reason else report.reason}"
    scan, lines = report.scan, report.lines
    parts = [
        head,
        "×".join(map(str, scan.kspace.shape)),
        scan.acquisition,
        lines.kind if lines.kind == "fully sampled" else f"{lines.kind}, {lines.effective_acceleration:.1f}×",
        "no target" if scan.target is None else "target",
        "no noise" if report.snr_combined is None else f"SNR {report.snr_combined:.0f}",
    ]
    wrong = [finding.crime for finding in report.crimes]
    wrong += [f"{len(report.contradictions)} contradictions"] if len(report.contradictions) > 1 else []
    wrong += list(report.contradictions) if len(report.contradictions) == 1 else []
    return "  ".join([*parts, *(["; ".join(wrong)] if wrong else [])])


def page(report: ScanReport) -> str:
    """The report in full, a label and a value a line, warnings last."""
    rows = [("status", report.status)]
    if report.reason:
        rows.append(("reason", report.reason))
    rows += [("format", report.format)] if report.format else []
    rows += _about(report)
    rows += [
        ("note", note)
        for note in (report.scan.notes if report.scan else ())
        if note not in report.contradictions
    ]
    rows += [("warning", text) for text in report.contradictions]
    rows += [
        (f"warning: {f.crime}", f"{f.text} [{f.measure}: {f.value:.3g}; limit {f.limit:g}]")
        for f in report.crimes
    ]
    clear = [finding.crime for finding in report.findings if not finding.found]
    rows += [("no sign of", ", ".join(clear))] if clear else []
    wide = max(len(label) for label, _ in rows if not label.startswith("warning:"))
    return "\n".join([report.name, *(f"  {label:<{wide}}  {text}" for label, text in rows), ""])


def _about(report: ScanReport) -> list[tuple[str, str]]:
    scan, lines = report.scan, report.lines
    if scan is None:
        return []
    height, width = scan.shape
    slices, coils = scan.n_slices, scan.n_coils
    rows = [
        (
            "k-space",
            f"{_n(slices, 'slice')}, {_n(coils, 'coil')}, {height} × {width} (readout × phase encode)",
        ),
        ("acquisition", scan.acquisition),
        ("target", "none" if scan.target is None else f"{scan.target.shape[-2]} × {scan.target.shape[-1]}"),
    ]
    if lines is not None:
        before, after = lines.empty
        rows += [
            (
                "sampling",
                f"{lines.kind}: {lines.n_lines} of {width} columns, {lines.effective_acceleration:.2f}×",
            ),
            ("centre", _n(lines.n_center_lines, "line") + " without a gap"),
            (
                "empty columns",
                f"{before} before the data, {after} after" if before or after else "none at the ends",
            ),
        ]
    if report.noise:
        rows += [
            (
                "noise",
                f"{_values(report.noise)} (standard deviation of each coil's real part, k-space's units)",
            ),
            ("SNR", f"{_values(report.snr)} (brightest hundredth over noise, each coil)"),
        ]
        if report.snr_combined is not None:
            rows.append(("SNR combined", f"{report.snr_combined:.0f} (root-sum-of-squares image)"))
    if report.cost is not None:
        rows.append(("reconstruction", report.cost.text()))
    rows.append(
        ("looked at", f"slice{'s' if len(report.slices) > 1 else ''} {_ranges(report.slices)} of {slices}")
    )
    return rows


def _n(count: int, word: str) -> str:
    return f"{count} {word}{'' if count == 1 else 's'}"


def _values(values: tuple[float, ...]) -> str:
    return " ".join(f"{v:.3g}" for v in values)


def _ranges(indices: tuple[int, ...]) -> str:
    if len(indices) > 3:
        return f"{indices[0]} to {indices[-1]}"
    return ", ".join(map(str, indices))
