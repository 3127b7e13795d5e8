"""How commands talk: tables on stdout, progress on stderr, JSON where it was asked for."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table


def emit(json_target: str | None, values: Any, *text: RenderableType) -> None:
    """Shows the text and writes the values to the JSON file; with "-" as the file, only JSON goes to stdout."""
    from gss.io.files import to_json, write_json

    if json_target == "-":
        print(to_json(values))
        return
    show(*text)
    if json_target is not None:
        write_json(json_target, values)


def show(*text: RenderableType) -> None:
    """Prints lines and tables, without markup, and without colour codes where stdout is not a terminal."""
    from rich.console import Console

    # A pipe has no width; rich would assume 80 columns and break lines that a script wants whole.
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
    from rich.table import Table

    from gss.evaluation.metrics import percent

    table = Table(box=None, pad_edge=False)
    table.add_column("class")
    for name in ("IoU", "accuracy", "pixels"):
        table.add_column(name, justify="right")
    for name, values in metrics["per_class"].items():
        pixels = f"{values['pixels']:,}" if "pixels" in values else ""
        table.add_row(name, percent(values.get("IoU")), percent(values.get("Acc")), pixels)
    table.add_section()
    table.add_row("mean", percent(metrics["mIoU"]), percent(metrics["mAcc"]) if "mAcc" in metrics else "", "")
    if "aAcc" in metrics:
        table.add_row("all pixels", "", percent(metrics["aAcc"]), "")
    return table
