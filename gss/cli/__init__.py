"""The `gss` command: a file for each subcommand. Torch and other large packages are imported when a command runs."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from gss import __version__
from gss.cli import ceiling, convert, data, decode, demo, evaluate, info, palette, predict, sample, tokenizer, train
from gss.cli.arguments import override

COMMANDS = (demo, train, evaluate, predict, sample, ceiling, tokenizer, decode, convert, data, palette, info)

MESSAGE_LIMIT = 1000  # characters; messages of libraries can list every tensor of a model


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line `argv` (default: that of the process) and return the exit code.

    0: success. 1: a failed check, a diverged run, a missing file; one line on stderr gives the reason. 2: wrong usage.
    130: interrupted. With GSS_DEBUG=1 in the environment errors keep their traceback; bugs always do.
    """
    arguments = parse(argv)
    try:
        return arguments.run(arguments)
    except KeyboardInterrupt as interrupt:
        hint = getattr(arguments, "after_interrupt", None)
        print("\n".join(filter(None, (str(interrupt) or "gss: interrupted", hint))), file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader of our output has gone. Without this Python would report the error again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        if os.environ.get("GSS_DEBUG") == "1" or not _is_for_the_user(error):
            raise
        print(f"gss: error: {message(error)}", file=sys.stderr)
        return 1


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The parsed command line. Wrong usage ends the program with code 2, as usual with argparse."""
    parser = build_parser()
    arguments, rest = parser.parse_known_args(argv)
    # argparse allows a positional list in one place only, but overrides may stand before and after options.
    if rest and (not hasattr(arguments, "overrides") or any(text.startswith("-") for text in rest)):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    for text in rest:
        try:
            arguments.overrides.append(override(text))
        except argparse.ArgumentTypeError as error:
            parser.error(str(error))
    return arguments


def build_parser() -> argparse.ArgumentParser:
    """The parser with all subcommands. Each sets `run`, a function from the parsed arguments to the exit code."""
    parser = argparse.ArgumentParser(
        prog="gss", description="Generative semantic segmentation: train, evaluate and use models that paint classes."
    )
    parser.add_argument("--version", action="version", version=f"gss {__version__}")
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in COMMANDS:
        command.add_parser(subparsers)
    return parser


def message(error: Exception) -> str:
    """The message for the user.

    Our own error types keep their lines. Others become one line, shortened in the middle if it is longer than
    MESSAGE_LIMIT.
    """
    if _is_ours(error):
        return str(error)
    line = " ".join(str(error).split()) or type(error).__name__
    if len(line) <= MESSAGE_LIMIT:
        return line
    half = MESSAGE_LIMIT // 2
    left_out = len(line) - 2 * half
    return f"{line[:half]} [... {left_out} characters, GSS_DEBUG=1 shows them ...] {line[-half:]}"


def _is_for_the_user(error: Exception) -> bool:
    """Wrong values and files, and all error types of our own, have a message for the user; other errors are bugs."""
    return isinstance(error, (ValueError, TypeError, OSError)) or _is_ours(error)


def _is_ours(error: Exception) -> bool:
    return type(error).__module__.startswith("gss.")
