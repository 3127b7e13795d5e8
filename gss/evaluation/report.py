"""A run's outcome as one self-contained HTML page, and the same numbers as JSON."""

from __future__ import annotations

import base64
import math
import os
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from gss.evaluation.metrics import percent
from gss.io.files import write_json, write_text

STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 1200px; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.15rem; margin-top: 2rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .9rem .25rem 0; text-align: left; border-bottom: 1px solid #8884; }
td.number, th.number { text-align: right; }
meter { width: 9rem; }
figure { margin: 1rem 0; } figure img { width: 100%; height: auto; background: #fff; }
figcaption { opacity: .7; font-size: .9rem; }
.totals { display: flex; gap: 2.5rem; } .totals b { display: block; font-size: 1.8rem; }
"""

TOTALS = (("mIoU", "mean IoU"), ("mAcc", "mean class accuracy"), ("aAcc", "pixel accuracy"))


def write_report(
    directory: str | os.PathLike[str],
    metrics: Mapping[str, Any],
    strips: Sequence[str | os.PathLike[str]] = (),
    extra: Mapping[str, Any] | None = None,
) -> dict[str, Path]:
    """Writes report.html and report.json into a directory, which is made where it is missing.

    metrics: what `SegmentationMetrics.compute` returns: mIoU, mAcc, aAcc as fractions and per_class
        {name: {"IoU", "Acc", "pixels"}}, with None or NaN for classes that do not occur.
    strips: PNG pictures; the page contains them, so that it can be sent on alone.
    extra: settings and other facts; a mapping in it becomes a table of its own. The key "title" names the page.

    Returns {"html", "json"}: the paths. Raises FileNotFoundError for a missing picture.
    """
    folder = Path(directory)
    pictures = [Path(strip) for strip in strips]
    facts = dict(extra or {})
    title = str(facts.pop("title", "Segmentation report"))
    sections = [_totals(metrics), _per_class(metrics.get("per_class", {}))]
    sections += [_picture(path) for path in pictures]
    sections += _settings(facts)
    page = (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{escape(title)}</title>\n'
        f'<meta name="viewport" content="width=device-width">\n<style>{STYLE}</style>\n</head>\n<body>\n'
        f"<h1>{escape(title)}</h1>\n" + "\n".join(sections) + "\n</body>\n</html>\n"
    )
    paths = {"html": folder / "report.html", "json": folder / "report.json"}
    write_text(paths["html"], page)
    write_json(paths["json"], {"metrics": metrics, "extra": extra or {}, "pictures": [path.name for path in pictures]})
    return paths


def _totals(metrics: Mapping[str, Any]) -> str:
    boxes = [f"<div><b>{percent(metrics[key])}</b>{label}</div>" for key, label in TOTALS if key in metrics]
    return f'<div class="totals">{"".join(boxes)}</div>'


def _per_class(per_class: Mapping[str, Mapping[str, Any]]) -> str:
    rows = []
    for name, values in per_class.items():
        iou = values.get("IoU")
        shown = 0.0 if iou is None or math.isnan(iou) else iou
        bar, accuracy, pixels = (
            f'<meter value="{shown:.4f}"></meter>',
            percent(values.get("Acc")),
            values.get("pixels", 0),
        )
        rows.append(
            f'<tr><td>{escape(name)}</td><td class="number">{percent(iou)}</td><td>{bar}</td>'
            f'<td class="number">{accuracy}</td><td class="number">{pixels:,}</td></tr>'
        )
    head = (
        '<tr><th>class</th><th class="number">IoU</th><th></th><th class="number">accuracy</th>'
        '<th class="number">pixels</th></tr>'
    )
    return f"<h2>Classes</h2>\n<table>\n{head}\n" + "\n".join(rows) + "\n</table>"


def _picture(path: Path) -> str:
    data = base64.b64encode(path.read_bytes()).decode("ascii")
    name = escape(path.name)
    return f'<figure><img src="data:image/png;base64,{data}" alt="{name}"><figcaption>{name}</figcaption></figure>'


def _settings(facts: Mapping[str, Any]) -> list[str]:
    """One table for the single values, then one for each mapping; nested mappings get dotted names."""
    single = {key: value for key, value in facts.items() if not isinstance(value, Mapping)}
    tables = {"Run": single} if single else {}
    tables |= {key: dict(_flatten(value)) for key, value in facts.items() if isinstance(value, Mapping)}
    sections = []
    for name, table in tables.items():
        cells = ((escape(str(key)), escape(str(value))) for key, value in table.items())
        rows = "\n".join(f"<tr><td>{key}</td><td>{value}</td></tr>" for key, value in cells)
        sections.append(f"<h2>{escape(str(name))}</h2>\n<table>\n{rows}\n</table>")
    return sections


def _flatten(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    rows: list[tuple[str, Any]] = []
    for key, value in values.items():
        if isinstance(value, Mapping):
            rows += _flatten(value, f"{prefix}{key}.")
        else:
            rows.append((f"{prefix}{key}", value))
    return rows
