"""The `gss` command. Each subcommand is one file here; torch and the rest are imported when a command runs."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from gss._version import __version__
from gss.cli import ceiling, data, demo, evaluate, info, palette, predict, train

COMMANDS = (demo, train, evaluate, predict, ceiling, data, palette, info)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line `argv` (sys.argv without it) and returns the exit code.

    0: done. 1: a failed check, a diverged run, a file that is not there; one line on stderr says what. 2: wrong usage.
    130: interrupted. With GSS_DEBUG=1 in the environment errors keep their traceback; bugs always do.
    """
    arguments = build_parser().parse_args(argv)
    try:
        return arguments.run(arguments)
    except KeyboardInterrupt as interrupt:
        print(str(interrupt) or "gss: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # Whoever read our output has left; Python would complain again when it flushes stdout at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        if os.environ.get("GSS_DEBUG") == "1" or not _is_for_the_user(error):
            raise
        print(f"gss: error: {error}", file=sys.stderr)
        return 1


def build_parser() -> argparse.ArgumentParser:
    """The parser with all subcommands; each sets `run`: from the parsed arguments to the exit code."""
    parser = argparse.ArgumentParser(
        prog="gss", description="Generative semantic segmentation: train, evaluate and use models that paint classes."
    )
    parser.add_argument("--version", action="version", version=f"gss {__version__}")
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in COMMANDS:
        command.add_parser(subparsers)
    return parser


def _is_for_the_user(error: Exception) -> bool:
    """Wrong values and files, and every error type of our own, carry a message for the user; the rest are bugs."""
    return isinstance(error, (ValueError, TypeError, OSError)) or type(error).__module__.startswith("gss.")
