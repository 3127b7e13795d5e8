"""gss palette: the colours of the classes."""

from __future__ import annotations

import argparse

from gss.cli.arguments import Subparsers, add_json


def add_parser(subparsers: Subparsers) -> None:
    parser = subparsers.add_parser("palette", help="show a palette and how far apart its colours are")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    show = commands.add_parser("show", help="classes, colours, and the closest two of them")
    show.add_argument("palette", metavar="NAME|FILE", nargs="?", help="without it: the names of the shipped palettes")
    add_json(show)
    show.set_defaults(run=run_show)


def run_show(arguments: argparse.Namespace) -> int:
    from rich.table import Table
    from rich.text import Text

    from gss.cli.output import emit
    from gss.palette import get_palette, palette_names

    if arguments.palette is None:
        emit(arguments.json, list(palette_names()), *palette_names())
        return 0
    palette = get_palette(arguments.palette)
    table = Table(box=None, pad_edge=False)
    table.add_column("", justify="right")
    for title in ("", "class", "colour"):
        table.add_column(title)
    for k, (name, (red, green, blue)) in enumerate(zip(palette.class_names, palette.colors, strict=True)):
        swatch = Text("    ", style=f"on rgb({red},{green},{blue})")
        table.add_row(str(k), swatch, name, f"#{red:02x}{green:02x}{blue:02x}")
    distance, (i, j) = palette.min_distance()
    closest = f"closest: {palette.class_names[i]} and {palette.class_names[j]}, {distance:.1f} levels apart"
    emit(
        arguments.json,
        {**palette.to_dict(), "min_distance": distance, "closest": [i, j]},
        f"{palette.name}: {palette.num_classes} classes",
        table,
        *([closest] if palette.num_classes > 1 else []),
    )
    return 0
