"""Every instruction set that this processor runs, against the reference."""

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
    """Tests here name their backend; this replaces the fixture of the folder above, which runs everything twice."""


@pytest.fixture(params=[] if REASON else library.available_isas())
def isa(request: pytest.FixtureRequest) -> Iterator[str]:
    with library.forced_isa(request.param):
        yield request.param
