"""Arguments that several commands share, and their types."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

T = TypeVar("T", int, float)

Subparsers = argparse._SubParsersAction  # argparse has no public name for the result of add_subparsers


def _number(convert: type[T], fits: Callable[[T], bool], expected: str) -> Callable[[str], T]:
    """The type of a number that `fits`. Raises ArgumentTypeError for another number and for other text."""

    def check(text: str) -> T:
        try:
            value = convert(text)
        except ValueError:
            value = None
        if value is None or not fits(value):
            raise argparse.ArgumentTypeError(f"expected {expected}, got {text!r}")
        return value

    return check


positive = _number(int, lambda value: value >= 1, "a whole number of at least 1")
not_negative = _number(int, lambda value: value >= 0, "a whole number of at least 0")
above_zero = _number(float, lambda value: 0 < value < float("inf"), "a number above 0")
probability = _number(float, lambda value: 0 <= value <= 1, "a probability, 0 to 1")


def size(text: str) -> tuple[int, int]:
    """HEIGHTxWIDTH in pixels, as (height, width).

    Example:
        >>> size("128x192")
        (128, 192)
    """
    parts = text.lower().split("x")
    if len(parts) != 2 or not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise argparse.ArgumentTypeError(f"expected HEIGHTxWIDTH such as 128x192, got {text!r}")
    return int(parts[0]), int(parts[1])


def override(text: str) -> str:
    """KEY.PATH=VALUE. Only the form is checked here; loading the recipe checks key and value."""
    key, equals, _ = text.partition("=")
    if not equals or not key.strip():
        raise argparse.ArgumentTypeError(f"expected key.path=value such as prior_stage.steps=500, got {text!r}")
    return text


def output_folder(text: str) -> Path:
    """A folder that exists or can be made. It is not made yet, because the command may still fail."""
    folder = Path(text)
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not existing.is_dir():
        raise argparse.ArgumentTypeError(f"expected a folder to write to, but {existing} is a file")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise argparse.ArgumentTypeError(f"expected a folder to write to, but {existing} is read-only")
    return folder


def output_file(text: str) -> str:
    """A file that can be written, or "-" for standard output.

    The check before the work starts keeps a typing mistake from costing hours.
    """
    if text != "-":
        if Path(text).is_dir():
            raise argparse.ArgumentTypeError(f"expected a file to write, but {text} is a folder")
        output_folder(str(Path(text).parent))
    return text


def output_file_named(*suffixes: str) -> Callable[[str], str]:
    """The type of an `output_file` with one of these suffixes, such as ".png"."""

    def check(text: str) -> str:
        if Path(text).suffix.lower() not in suffixes:
            names = " or ".join(f"NAME{suffix}" for suffix in suffixes)
            raise argparse.ArgumentTypeError(f"expected a file {names}, got {text!r}")
        return output_file(text)

    return check


def run_source(text: str) -> Path | str:
    """A folder, or hf://owner/name as text: a path would lose one of the slashes."""
    return text if text.startswith("hf://") else Path(text)


def add_run(parser: argparse.ArgumentParser, *, nargs: str | None = None) -> None:
    """The positional RUN; optional with `nargs` "?"."""
    help_text = "folder of a finished run, or a hub repository written hf://owner/name"
    parser.add_argument("model", metavar="RUN", type=run_source, nargs=nargs, help=help_text)


def add_data(parser: argparse.ArgumentParser, *, split: str | None = None) -> None:
    """--data DIR with --layout and --lists, and --split for commands that work on one split."""
    help_text = "folder with images/SPLIT/NAME.jpg (or .png) and annotations/SPLIT/NAME.png, or a published data set"
    parser.add_argument("--data", metavar="DIR", type=Path, required=True, help=help_text)
    add_layout(parser)
    if split is not None:
        parser.add_argument("--split", default=split, help=f"the split to use (default: {split})")


def add_layout(parser: argparse.ArgumentParser) -> None:
    """--layout NAME and --lists PATH: the folders of a data set, and the images to use."""
    help_text = "folder, labels, cityscapes, ade20k, mseg or one of its test sets: voc2012, pascal-context-60, "
    help_text += "camvid-11, wilddash-19, kitti-19, scannet-20 (default: found by the folders in DIR)"
    parser.add_argument("--layout", metavar="NAME", help=help_text)
    help_text = "text file with the images to use, for MSeg a folder of such files (default: all of the split)"
    parser.add_argument("--lists", metavar="PATH", type=Path, help=help_text)


def add_device(parser: argparse.ArgumentParser) -> None:
    """--device NAME."""
    parser.add_argument("--device", metavar="NAME", help="cpu, cuda, cuda:1, ... (default: cuda if there is one)")


def add_json(parser: argparse.ArgumentParser) -> None:
    """--json FILE."""
    help_text = "also write the results as JSON; with - only JSON is printed"
    parser.add_argument("--json", metavar="FILE", type=output_file, help=help_text)
