"""gss data: check a data set, or make one of procedural street scenes."""

from __future__ import annotations

import argparse
from pathlib import Path

from gss.cli.arguments import Subparsers, add_json, add_layout, not_negative, output_folder, positive, size


def add_parser(subparsers: Subparsers) -> None:
    parser = subparsers.add_parser("data", help="check a data set, or generate street scenes")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    check = commands.add_parser(
        "check",
        help="find every problem of a data set",
        description="Reads every image and annotation: class ids outside the palette, sizes that differ, damaged or "
        "missing files, colour masks. The exit code is 1 if there is a problem.",
    )
    help_text = "images/SPLIT and annotations/SPLIT, or a data set's official folders"
    check.add_argument("directory", metavar="DIR", type=Path, help=help_text)
    add_layout(check)
    help_text = "default: DIR/palette.json, if there is one, or the layout's palette"
    check.add_argument("--palette", metavar="NAME|FILE", help=help_text)
    check.add_argument("--splits", nargs="+", metavar="SPLIT", help="default: those of the layout, of train and val")
    add_json(check)
    check.set_defaults(run=run_check)

    scenes = commands.add_parser(
        "scenes",
        help="generate street scenes with annotations",
        description="Draws street scenes and their annotations from a seed, with a palette.json beside them.",
    )
    scenes.add_argument("directory", metavar="DIR", type=output_folder, help="folder to write")
    scenes.add_argument("--train", type=positive, default=200, metavar="N", help="training scenes (default: 200)")
    scenes.add_argument("--val", type=positive, default=40, metavar="N", help="validation scenes (default: 40)")
    scenes.add_argument("--size", type=size, default=(128, 192), metavar="HxW", help="pixels (default: 128x192)")
    scenes.add_argument("--seed", type=not_negative, default=0, metavar="N", help="default: 0")
    scenes.set_defaults(run=run_scenes)


def run_check(arguments: argparse.Namespace) -> int:
    from gss.cli.output import emit
    from gss.data.check import check_listings
    from gss.data.sources.layouts import detect_layout, layout_palette, layout_splits, list_split
    from gss.palette import get_palette

    directory = arguments.directory
    if not directory.is_dir():
        raise NotADirectoryError(f"{directory}: expected a folder, but there is no such folder")
    layout = arguments.layout or detect_layout(directory)
    splits = tuple(arguments.splits or layout_splits(layout))
    listings = {split: list_split(directory, split, layout=layout, lists=arguments.lists) for split in splits}
    if arguments.palette is not None:
        palette = get_palette(arguments.palette)
    elif layout == "folder" and not (directory / "palette.json").is_file():
        raise ValueError(f"{directory}: no palette.json; {palette_advice(directory, splits)}")
    else:
        palette = layout_palette(directory, layout)
    report = check_listings(listings, palette)
    emit(arguments.json, report.to_dict(), report.summary())
    return 0 if report.ok else 1


def palette_advice(directory: Path, splits: tuple[str, ...]) -> str:
    """Names the shipped palettes that have every class id in the annotations."""
    from gss.data.check import largest_class_id
    from gss.palette import Palette, palette_names

    largest = largest_class_id(directory, splits)
    sizes = {name: Palette.named(name).num_classes for name in palette_names()}
    fitting = [f"{name} ({count} classes)" for name, count in sizes.items() if largest is None or largest < count]
    ids = "" if largest is None else f" for class ids up to {largest}"
    shipped = f"shipped{ids}: {', '.join(fitting)}" if fitting else f"none of the shipped ones has class id {largest}"
    return f"choose one with --palette NAME or --palette FILE ({shipped})"


def run_scenes(arguments: argparse.Namespace) -> int:
    from gss.scenes import generate_scenes

    generate_scenes(
        arguments.directory, train=arguments.train, val=arguments.val, size=arguments.size, seed=arguments.seed
    )
    print(f"{arguments.train} + {arguments.val} scenes: {arguments.directory}")
    return 0
