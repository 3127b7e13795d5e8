"""Tests of the native library alone, on every instruction set that this processor runs."""

from collections.abc import Iterator

import pytest

from gsskernels import _dispatch

REASON = _dispatch.why_missing("native")
collect_ignore_glob = [] if REASON is None else ["test_*.py"]
if REASON is None:
    from gsskernels.native import library


def pytest_report_header() -> str:
    return f"native ISAs: {', '.join(library.available_isas())}" if REASON is None else f"no native tests: {REASON}"


@pytest.fixture
def default_backend() -> None:
    """Replaces the fixture of the folder above: tests of this folder name their backend."""


@pytest.fixture(params=[] if REASON else library.available_isas())
def isa(request: pytest.FixtureRequest) -> Iterator[str]:
    with library.forced_isa(request.param):
        yield request.param
