"""gss data: check a data folder, or make one of procedural street scenes."""

from __future__ import annotations

import argparse
from pathlib import Path

from gss.cli.arguments import Subparsers, add_json, positive, size


def add_parser(subparsers: Subparsers) -> None:
    parser = subparsers.add_parser("data", help="check a data folder, or generate street scenes")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    check = commands.add_parser(
        "check",
        help="find every problem of a data folder",
        description="Reads every image and annotation: class ids outside the palette, sizes that differ, damaged or "
        "missing files, colour masks. The exit code is 1 where something is wrong.",
    )
    check.add_argument("directory", metavar="DIR", type=Path, help="folder with images/SPLIT and annotations/SPLIT")
    check.add_argument("--palette", metavar="NAME|FILE", help="default: palette.json in DIR")
    check.add_argument("--splits", nargs="+", default=["train", "val"], metavar="SPLIT", help="default: train val")
    add_json(check)
    check.set_defaults(run=run_check)

    scenes = commands.add_parser(
        "scenes",
        help="generate street scenes with annotations",
        description="Draws street scenes and their annotations from a seed, with a palette.json beside them.",
    )
    scenes.add_argument("directory", metavar="DIR", type=Path, help="folder to write")
    scenes.add_argument("--train", type=positive, default=200, metavar="N", help="training scenes (default: 200)")
    scenes.add_argument("--val", type=positive, default=40, metavar="N", help="validation scenes (default: 40)")
    scenes.add_argument("--size", type=size, default=(128, 192), metavar="HxW", help="pixels (default: 128x192)")
    scenes.add_argument("--seed", type=int, default=0, metavar="N", help="default: 0")
    scenes.set_defaults(run=run_scenes)


def run_check(arguments: argparse.Namespace) -> int:
    from gss.cli.output import emit
    from gss.data.check import check_folder
    from gss.palette import get_palette

    beside = arguments.directory / "palette.json"
    if arguments.palette is None and not beside.is_file():
        raise ValueError(f"{beside}: no such file; name the palette with --palette")
    report = check_folder(arguments.directory, get_palette(arguments.palette or beside), splits=tuple(arguments.splits))
    emit(arguments.json, report.to_dict(), report.summary())
    return 0 if report.ok else 1


def run_scenes(arguments: argparse.Namespace) -> int:
    from gss.data.scenes import generate_scenes

    generate_scenes(
        arguments.directory, train=arguments.train, val=arguments.val, size=arguments.size, seed=arguments.seed
    )
    print(f"{arguments.train} + {arguments.val} scenes: {arguments.directory}")
    return 0
