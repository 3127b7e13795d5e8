"""The contract is one: every test of this folder that names no backend runs on each backend a CPU can have."""

import pytest

from gsskernels import _dispatch


@pytest.fixture(autouse=True, params=["reference", "native"])
def default_backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if (reason := _dispatch.why_missing(request.param)) is not None:
        pytest.skip(reason)
    monkeypatch.setattr(_dispatch, "default", request.param)
    return str(request.param)
