"""gss palette: show, fit and convert the colours of the classes."""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gss.cli.arguments import Subparsers, add_json, not_negative, output_file, output_file_named, positive

if TYPE_CHECKING:
    from gss.palette import Palette

CLOSEST = 5  # pairs listed


def add_parser(subparsers: Subparsers) -> None:
    parser = subparsers.add_parser("palette", help="show, fit and convert the colours of the classes")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_show(commands)
    _add_fit(commands)
    _add_convert(commands)


def _add_show(commands: Subparsers) -> None:
    show = commands.add_parser("show", help="classes, colours, and how far apart they are")
    show.add_argument("palette", metavar="NAME|FILE", nargs="?", help="without it: the names of the shipped palettes")
    help_text = "also draw it: swatches, the colours in the RGB cube, margins, the closest pairs"
    show.add_argument("--out", metavar="FILE.png", type=output_file_named(".png"), help=help_text)
    add_json(show)
    show.set_defaults(run=run_show)


def _add_fit(commands: Subparsers) -> None:
    fit = commands.add_parser(
        "fit",
        help="find colours that are as far apart as possible",
        description="Finds K colours whose smallest distance is as large as a search finds it.",
    )
    classes = fit.add_mutually_exclusive_group(required=True)
    classes.add_argument("--classes", metavar="K|FILE", help="how many, 2 to 255, or a text file with a name a line")
    classes.add_argument("--like", metavar="NAME|FILE", help="the classes of a shipped palette or a palette file")
    help_text = "the palette to write"
    fit.add_argument("--out", metavar="FILE.json", type=output_file_named(".json"), required=True, help=help_text)
    fit.add_argument("--seed", type=not_negative, default=0, metavar="N", help="default: 0")
    fit.add_argument(
        "--space",
        choices=("rgb", "oklab"),
        default="rgb",
        help="the measure of distance: levels, which decide what survives a tokenizer (default), or the difference "
        "that people perceive",
    )
    fit.add_argument(
        "--away-from-ignore",
        action="store_true",
        help="keep the colours away from the ignore colour too: black, or that of --like. Without this the ignore "
        "colour is the one farthest from all classes",
    )
    add_json(fit)
    fit.set_defaults(run=run_fit)


def _add_convert(commands: Subparsers) -> None:
    convert = commands.add_parser(
        "convert",
        help="to and from colour tables, lists and text",
        description="Reads and writes .json (our own; a list of colours is read too), .png (the colour table of an "
        'index PNG, entry k is class k, the last one the ignore colour) and .txt (lines "r g b name").',
    )
    convert.add_argument("source", metavar="NAME|FILE", help="a shipped palette, or a .json, .png or .txt file")
    convert.add_argument("target", metavar="FILE", type=output_file, help="a .json, .png or .txt file to write")
    help_text = "use the first K entries, or name them by a text file with a name a line"
    convert.add_argument("--classes", metavar="K|FILE", help=help_text)
    convert.set_defaults(run=run_convert)


def run_show(arguments: argparse.Namespace) -> int:
    from rich.table import Table
    from rich.text import Text

    from gss.cli.output import emit
    from gss.palette import get_palette, palette_names

    if arguments.palette is None:
        emit(arguments.json, list(palette_names()), *palette_names())
        return 0
    palette = get_palette(arguments.palette)
    margins = palette.margins()
    table = Table(box=None, pad_edge=False)
    table.add_column("", justify="right")
    for title in ("", "class", "colour"):
        table.add_column(title)
    table.add_column("margin", justify="right")
    for k, (name, (red, green, blue)) in enumerate(zip(palette.class_names, palette.colors, strict=True)):
        swatch = Text("    ", style=f"on rgb({red},{green},{blue})")
        margin = f"{margins[k]:.1f}" if math.isfinite(margins[k]) else ""
        table.add_row(str(k), swatch, name, f"#{red:02x}{green:02x}{blue:02x}", margin)
    distance, closest = palette.min_distance()
    values = {**palette.to_dict(), "min_distance": distance, "closest": list(closest), "margins": margins}
    lines: list[Any] = [f"{palette.name}: {palette.num_classes} classes", table, *_closest_lines(palette)]
    if arguments.out is not None:
        from gss.io.files import replace_file
        from gss.palettes.picture import palette_picture

        with replace_file(arguments.out) as temporary:
            palette_picture(palette).save(temporary)
        lines.append(arguments.out)
    emit(arguments.json, values, *lines)
    return 0


def run_fit(arguments: argparse.Namespace) -> int:
    from gss.cli.output import emit
    from gss.palette import BLACK, get_palette
    from gss.palettes.files import write_palette
    from gss.palettes.fit import fit_palette
    from gss.palettes.starts import distance_bound

    like = None if arguments.like is None else get_palette(arguments.like)
    classes = like.class_names if like is not None else _classes(arguments.classes)
    ignore_color = None
    if arguments.away_from_ignore:
        ignore_color = BLACK if like is None else like.ignore_color
    name = Path(arguments.out).stem
    start = time.perf_counter()
    palette = fit_palette(classes, name=name, seed=arguments.seed, space=arguments.space, ignore_color=ignore_color)
    seconds = time.perf_counter() - start
    write_palette(arguments.out, palette)

    distance, closest = palette.min_distance()
    bound = distance_bound(palette.num_classes)
    values: dict[str, Any] = {"palette": arguments.out, "classes": palette.num_classes, "seconds": round(seconds, 3)}
    values |= {"min_distance": distance, "closest": list(closest), "bound": bound}
    lines = [
        f"{palette.num_classes} colours, at least {distance:.1f} levels apart, in {seconds:.1f} s; "
        f"no {palette.num_classes} colours can all be more than {bound:.1f} apart"
    ]
    if like is not None:
        values["like_min_distance"] = like.min_distance()[0]
        lines.append(f"{like.name}: {values['like_min_distance']:.1f} levels")
    emit(arguments.json, values, *lines, arguments.out)
    return 0


def run_convert(arguments: argparse.Namespace) -> int:
    from gss.palettes.files import read_palette, write_palette

    classes = None if arguments.classes is None else _classes(arguments.classes)
    names, count = (None, classes) if classes is None or isinstance(classes, int) else (classes, len(classes))
    palette = read_palette(arguments.source, names, count)
    write_palette(arguments.target, palette)
    print(f"{palette.num_classes} classes: {arguments.target}")
    return 0


def _closest_lines(palette: Palette) -> list[str]:
    pairs = [
        f"{palette.class_names[i]} and {palette.class_names[j]}, {distance:.1f} levels apart"
        for distance, (i, j) in palette.closest_pairs(CLOSEST)
    ]
    return [f"closest: {pair}" if k == 0 else f"         {pair}" for k, pair in enumerate(pairs)]


def _classes(text: str) -> int | tuple[str, ...]:
    """The value of --classes: a number, or the names in a file, one a line."""
    if text.isdecimal():
        return positive(text)
    if not Path(text).is_file():
        raise ValueError(f"classes: expected a number, or a text file with a class name a line, got {text!r}")
    names = tuple(line.strip() for line in Path(text).read_text(encoding="utf-8").splitlines() if line.strip())
    if not names:
        raise ValueError(f"{text}: expected a class name a line, got an empty file")
    return names
