"""Writes the parity table after a run that passed, where GSS_PARITY_TABLE names a file for it."""

import os

import pytest

from tests.official.compare import ROWS

TABLE = os.environ.get("GSS_PARITY_TABLE")


def pytest_configure(config: pytest.Config) -> None:
    if TABLE and ("PYTEST_XDIST_WORKER" in os.environ or config.getoption("numprocesses", default=None)):
        raise pytest.UsageError("GSS_PARITY_TABLE needs all comparisons in one process: run pytest without -n")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, exitstatus: int) -> None:
    if not TABLE:
        return
    if exitstatus != pytest.ExitCode.OK:
        terminalreporter.write_line(f"{TABLE} is as it was: a parity table comes from a run without failures")
        return
    # Here, since the page describes the machine as benchmarks/ does, which only `python -m pytest` finds.
    from tests.official import parity_table

    parity_table.write(TABLE, ROWS.values())
    terminalreporter.write_line(f"{TABLE}: {len(ROWS)} quantities")
