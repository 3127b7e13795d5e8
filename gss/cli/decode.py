"""gss decode: labels and confidence from any colour-coded picture."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gss.cli.arguments import Subparsers, add_json, output_file

if TYPE_CHECKING:
    from gss.palette import Palette
    from gss.prediction.painted.files import FileSummary

LISTED = 10  # unknown colours shown; --json has more


def add_parser(subparsers: Subparsers) -> None:
    parser = subparsers.add_parser(
        "decode",
        help="turn a colour-coded picture into labels",
        description="Gives every pixel of a colour-coded picture (index or colour PNG, TIFF, JPEG, ...) the class of "
        "the nearest palette colour and writes an index image. Lists colours that are near none. With `pip install "
        "gss[large]`, PNG and TIFF files of any size are read and written in bands of rows, in little memory.",
    )
    parser.add_argument("image", metavar="IMAGE", type=Path, help="the picture")
    parser.add_argument("--palette", metavar="NAME|FILE", required=True, help="a shipped palette, or its JSON file")
    parser.add_argument(
        "--out",
        metavar="FILE",
        type=_file(".png", ".tif", ".tiff"),
        required=True,
        help="index image, NAME.png or NAME.tif: its values are class ids, 255 is ignore",
    )
    parser.add_argument(
        "--margin",
        metavar="FILE",
        type=_file(".png", ".tif", ".tiff", ".npy"),
        nargs="?",
        const=True,
        help="also write the margin of each pixel, the distance from its colour to the wall between two classes: "
        "NAME.png or NAME.tif (whole levels) or NAME.npy (float32); without FILE: beside --out, as NAME_margin",
    )
    parser.add_argument(
        "--grey",
        choices=("ids", "colors"),
        default="ids",
        help="meaning of the values of a grey picture: class ids (default) or colours. A grey JPEG holds colours",
    )
    parser.add_argument(
        "--no-ignore-color",
        action="store_true",
        help="classes only: without this, pixels nearest to the palette's ignore colour become 255",
    )
    parser.add_argument(
        "--unknown-tolerance",
        metavar="LEVELS",
        type=_levels,
        help="colours farther than this from every palette colour are listed as unknown (default: 16, or half the "
        "distance of the closest two colours)",
    )
    parser.add_argument("--strict", action="store_true", help="unknown colours are an error; nothing is written")
    add_json(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Decode; --margin is None, a file, or True for one beside --out."""
    from gss.cli.output import emit
    from gss.io.progress import progress_bar
    from gss.palette import get_palette
    from gss.prediction.painted.files import decode_file

    palette = get_palette(arguments.palette)
    out = Path(arguments.out)
    margin = out.with_stem(f"{out.stem}_margin") if arguments.margin is True else arguments.margin
    with progress_bar("decoding rows") as show_progress:
        summary = decode_file(
            arguments.image,
            palette,
            out,
            margin=margin,
            grey=arguments.grey,
            ignore_color=not arguments.no_ignore_color,
            unknown_tolerance=arguments.unknown_tolerance,
            strict=arguments.strict,
            progress=show_progress,
        )
    files = {"labels": str(out)} if margin is None else {"labels": str(out), "margin": str(margin)}
    emit(arguments.json, {**files, **_values(summary, palette)}, *_lines(summary, palette), *files.values())
    return 0


def _values(summary: FileSummary, palette: Palette) -> dict[str, Any]:
    """The summary for --json."""
    values = asdict(summary) | {"pixels": dict(zip(palette.class_names, summary.pixels, strict=True))}
    values["unknown"]["colors"] = [{"color": list(color), "pixels": n} for color, n in summary.unknown.colors]
    return values


def _lines(summary: FileSummary, palette: Palette) -> list[Any]:
    """The summary as text and a table."""
    from rich.table import Table

    total = summary.height * summary.width
    classes = Table(box=None, pad_edge=False)
    classes.add_column("class")
    classes.add_column("pixels", justify="right")
    classes.add_column("share", justify="right")
    counts = [*zip(palette.class_names, summary.pixels, strict=True), ("ignored (255)", summary.ignored)]
    for name, count in counts:
        if count:
            classes.add_row(name, f"{count:,}", f"{count / total:.2%}")
    lines: list[Any] = [f"{summary.width} x {summary.height} pixels, palette {palette.name}", classes]
    unknown = summary.unknown
    if unknown.pixels:
        lines.append(
            f"unknown: {unknown.pixels:,} pixels ({unknown.pixels / total:.2%}) in {unknown.distinct:,} colours are "
            f"farther than {unknown.tolerance:g} levels from every colour; they got the nearest class"
        )
        lines += [f"  #{r:02x}{g:02x}{b:02x}  {count:,}" for (r, g, b), count in unknown.colors[:LISTED]]
        if unknown.distinct > LISTED:
            lines.append(f"  and {unknown.distinct - LISTED:,} more")
    return lines


def _file(*suffixes: str) -> Callable[[str], str]:
    """The type of an argument that names a file to write, of one of these suffixes."""

    def check(text: str) -> str:
        if Path(text).suffix.lower() not in suffixes:
            raise argparse.ArgumentTypeError(f"expected a file of suffix {', '.join(suffixes)}, got {text!r}")
        return output_file(text)

    return check


def _levels(text: str) -> float:
    try:
        levels = float(text)
    except ValueError:
        levels = -1.0
    if not 0 <= levels < float("inf"):
        raise argparse.ArgumentTypeError(f"expected a number of levels of at least 0, got {text!r}")
    return levels
