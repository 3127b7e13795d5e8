"""The outcome of a run as one self-contained HTML page, and the same numbers as JSON."""

from __future__ import annotations

import base64
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from gss.evaluation.metrics import percent
from gss.io.files import write_json, write_text

TOTALS = (("mIoU", "mean IoU"), ("mAcc", "mean class accuracy"), ("aAcc", "pixel accuracy"))


def write_report(
    directory: str | os.PathLike[str],
    metrics: Mapping[str, Any],
    strips: Sequence[str | os.PathLike[str]] = (),
    extra: Mapping[str, Any] | None = None,
) -> dict[str, Path]:
    """Write report.html and report.json into a directory, which is made if it is missing.

    Args:
        metrics: the result of `SegmentationMetrics.compute`: mIoU, mAcc, aAcc as fractions and per_class
            {name: {"IoU", "Acc", "pixels"}}, with None or NaN for classes that do not occur.
        strips: PNG pictures. The page contains them, so that one file can be sent.
        extra: settings and other facts. A mapping in it becomes a table of its own. The key "title" is the title.

    Returns {"html", "json"}: the paths. Raises FileNotFoundError for a missing picture.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     paths = write_report(folder, {"mIoU": 0.776}, extra={"title": "Demo"})
        ...     "77.6 %" in paths["html"].read_text()
        True
    """
    from jinja2 import Environment, PackageLoader

    facts = dict(extra or {})
    title = str(facts.pop("title", "Segmentation report"))
    single = {key: value for key, value in facts.items() if not isinstance(value, Mapping)}
    tables = {"Run": single} if single else {}
    tables |= {key: dict(_flatten(value)) for key, value in facts.items() if isinstance(value, Mapping)}
    pictures = [Path(strip) for strip in strips]
    environment = Environment(loader=PackageLoader("gss.evaluation", "."), autoescape=True, trim_blocks=True)
    environment.filters["percent"] = percent
    page = environment.get_template("report.html.jinja").render(
        title=title,
        totals=[(metrics[key], label) for key, label in TOTALS if key in metrics],
        classes=[{"name": name, **values} for name, values in metrics.get("per_class", {}).items()],
        isnan=math.isnan,
        pictures=[(path.name, base64.b64encode(path.read_bytes()).decode("ascii")) for path in pictures],
        tables=tables,
    )
    paths = {kind: Path(directory, f"report.{kind}") for kind in ("html", "json")}
    write_text(paths["html"], page)
    write_json(paths["json"], {"metrics": metrics, "extra": extra or {}, "pictures": [path.name for path in pictures]})
    return paths


def _flatten(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Nested mappings get dotted names."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
