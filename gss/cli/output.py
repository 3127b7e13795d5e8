"""The output of the commands: tables and lines on stdout, and JSON."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table


def emit(json_target: str | None, values: Any, *text: RenderableType) -> None:
    """Show the text and write the values to the JSON file. With "-" as the file only JSON is printed."""
    from gss.io.files import to_json, write_json

    if json_target == "-":
        print(to_json(values))
        return
    show(*text)
    if json_target is not None:
        write_json(json_target, values)


def show(*text: RenderableType) -> None:
    """Print lines and tables, without markup, and without colour codes if stdout is no terminal."""
    from rich.console import Console

    # A pipe has no width. Rich would assume 80 columns and break lines that a script reads.
    console = Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else 200)
    for item in text:
        console.print(item, soft_wrap=isinstance(item, str))


def key_values(values: Mapping[str, str]) -> Table:
    """Names and values in two columns."""
    from rich.table import Table

    table = Table.grid(padding=(0, 2))
    for key, value in values.items():
        table.add_row(key, value)
    return table


def class_table(metrics: Mapping[str, Any]) -> Table:
    """IoU, accuracy and pixels of every class, and the means below them."""
    from gss.evaluation.metrics import percent

    table = _table("class", "IoU", "accuracy", "pixels")
    for name, values in metrics["per_class"].items():
        pixels = f"{values['pixels']:,}" if "pixels" in values else ""
        table.add_row(name, percent(values.get("IoU")), percent(values.get("Acc")), pixels)
    table.add_section()
    table.add_row("mean", percent(metrics["mIoU"]), percent(metrics["mAcc"]) if "mAcc" in metrics else "", "")
    if "aAcc" in metrics:
        table.add_row("all pixels", "", percent(metrics["aAcc"]), "")
    return table


def confidence_lines(report: Mapping[str, Any]) -> list[RenderableType]:
    """The confidence report of a split: a row for each score, and the pixels that `predict --abstain P` would keep."""
    from gss.evaluation.metrics import percent

    table = _table("score", "AUROC of errors", "AURC", "above the best AURC", "ECE before", "ECE after")
    for name, values in report["scores"].items():
        order = ["-" if values[key] is None else f"{values[key]:.4f}" for key in ("auroc", "aurc", "excess_aurc")]
        errors = [percent(values["ece"][when]["width"]) if "ece" in values else "-" for when in ("before", "after")]
        table.add_row(name.replace("_", " "), *order, *errors)
    kept = [
        f"confidence of at least {threshold}: {percent(values['coverage'])} of the pixels, "
        f"{percent(values['accuracy'])} of them right"
        for threshold, values in report.get("abstain", {}).items()
    ]
    return [table, f"confidence by the {report['score']}:", *kept]


def _table(first: str, *others: str) -> Table:
    """An empty table: the first column is text, the others are numbers."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    table.add_column(first)
    for name in others:
        table.add_column(name, justify="right")
    return table
