"""Arguments that several commands share, and their types."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

Subparsers = argparse._SubParsersAction  # argparse has no public name for what add_subparsers returns


def positive(text: str) -> int:
    """A whole number of at least 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, got {text!r}")
    return int(text)


def not_negative(text: str) -> int:
    """A whole number of at least 0."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 0, got {text!r}")
    return int(text)


def above_zero(text: str) -> float:
    """A finite number above 0."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"expected a number above 0, got {text!r}")
    return value


def probability(text: str) -> float:
    """A number from 0 to 1."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"expected a probability, 0 to 1, got {text!r}")
    return value


def size(text: str) -> tuple[int, int]:
    """HEIGHTxWIDTH in pixels, as (height, width)."""
    parts = text.lower().split("x")
    if len(parts) != 2 or not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise argparse.ArgumentTypeError(f"expected HEIGHTxWIDTH such as 128x192, got {text!r}")
    return int(parts[0]), int(parts[1])


def override(text: str) -> str:
    """KEY.PATH=VALUE, checked for its form only; the recipe checks key and value."""
    key, equals, _ = text.partition("=")
    if not equals or not key.strip():
        raise argparse.ArgumentTypeError(f"expected key.path=value such as prior_stage.steps=500, got {text!r}")
    return text


def output_folder(text: str) -> Path:
    """A folder that exists or can be made. Nothing is made yet: the command may still fail for another reason."""
    folder = Path(text)
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not existing.is_dir():
        raise argparse.ArgumentTypeError(f"expected a folder to write to, but {existing} is a file")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise argparse.ArgumentTypeError(f"expected a folder to write to, but {existing} is read-only")
    return folder


def output_file(text: str) -> str:
    """A file that can be written, so that hours of work are not lost to a typing mistake; "-" is standard output."""
    if text != "-":
        if Path(text).is_dir():
            raise argparse.ArgumentTypeError(f"expected a file to write, but {text} is a folder")
        output_folder(str(Path(text).parent))
    return text


def run_source(text: str) -> Path | str:
    """A folder, or hf://owner/name as it is: a path would lose one of the slashes."""
    return text if text.startswith("hf://") else Path(text)


def add_run(parser: argparse.ArgumentParser, *, nargs: str | None = None) -> None:
    """The positional RUN; with `nargs` "?" it may be left out."""
    help_text = "folder of a finished run, or a hub repository written hf://owner/name"
    parser.add_argument("model", metavar="RUN", type=run_source, nargs=nargs, help=help_text)


def add_data(parser: argparse.ArgumentParser, *, split: str | None = None) -> None:
    """--data DIR with --layout and --lists, and --split where the command works on one."""
    help_text = "folder with images/SPLIT/NAME.jpg (or .png) and annotations/SPLIT/NAME.png, or a published data set"
    parser.add_argument("--data", metavar="DIR", type=Path, required=True, help=help_text)
    add_layout(parser)
    if split is not None:
        parser.add_argument("--split", default=split, help=f"which split of it (default: {split})")


def add_layout(parser: argparse.ArgumentParser) -> None:
    """--layout NAME and --lists PATH: how the files of a data set lie, and which of them to use."""
    help_text = "folder, labels, cityscapes, ade20k, mseg, or one of its test sets (default: what DIR looks like)"
    parser.add_argument("--layout", metavar="NAME", help=help_text)
    help_text = "text file with the images to use, for MSeg a folder of such files (default: all of the split)"
    parser.add_argument("--lists", metavar="PATH", type=Path, help=help_text)


def add_device(parser: argparse.ArgumentParser) -> None:
    """--device NAME."""
    parser.add_argument("--device", metavar="NAME", help="cpu, cuda, cuda:1, ... (default: cuda where there is one)")


def add_json(parser: argparse.ArgumentParser) -> None:
    """--json FILE."""
    help_text = "also write the outcome as JSON; - prints only that"
    parser.add_argument("--json", metavar="FILE", type=output_file, help=help_text)
