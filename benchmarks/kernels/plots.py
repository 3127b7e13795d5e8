"""Log-log plots of time and of extra peak memory against size, one panel a sweep."""

from __future__ import annotations

from pathlib import Path
from typing import Any

Row = dict[str, Any]
PANELS = [
    ("maskige_encode", "pixels"),
    ("maskige_decode", "pixels"),
    ("maskige_decode", "classes"),
    ("nearest_code", "rows"),
    ("nearest_code", "codes"),
    ("nearest_code", "features"),
    ("linear_cross_entropy", "rows"),
]
OURS = "gsskernels native"


def draw(results: dict[str, Any], folder: Path) -> list[Path]:
    """Writes performance-time.png and performance-memory.png."""
    import matplotlib

    matplotlib.use("Agg")
    folder.mkdir(parents=True, exist_ok=True)
    return [
        _figure(results["rows"], "median_s", "seconds", folder / "performance-time.png"),
        _figure(results["rows"], "extra_peak_bytes", "extra peak memory, bytes", folder / "performance-memory.png"),
    ]


def _figure(rows: list[Row], field: str, label: str, path: Path) -> Path:
    from matplotlib import pyplot

    sweeps = [(op, study) for op, study in PANELS if any(r["op"] == op and r["study"] == study for r in rows)]
    columns = min(4, max(1, len(sweeps)))
    lines = -(-len(sweeps) // columns)
    figure, axes = pyplot.subplots(lines, columns, figsize=(4.4 * columns, 3.9 * lines), squeeze=False)
    for axis, (op, study) in zip(axes.flat, sweeps, strict=False):
        _panel(axis, [r for r in rows if r["op"] == op and r["study"] == study], field)
        axis.set(title=op, xlabel=study, ylabel=label, xscale="log", yscale="log")
        axis.grid(alpha=0.3)
        axis.legend(fontsize=6)
    for axis in list(axes.flat)[len(sweeps) :]:
        axis.set_visible(False)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
    return path


def _panel(axis: Any, rows: list[Row], field: str) -> None:
    for provider in dict.fromkeys(r["provider"] for r in rows):
        points = sorted((r["at"], r[field]) for r in rows if r["provider"] == provider and r[field] is not None)
        if not points:
            continue
        # A page is the least that can be measured; zero has no place on a logarithmic axis.
        xs, ys = [x for x, _ in points], [max(y, 4096) if field == "extra_peak_bytes" else y for _, y in points]
        ours = provider == OURS
        axis.plot(
            xs, ys, marker="o", markersize=3, linewidth=2.5 if ours else 1, label=provider, zorder=3 if ours else 2
        )
