"""Tests of the Triton backend alone: on a GPU where there is one, else in Triton's interpreter."""

import pytest
import torch

from gsskernels import _dispatch


@pytest.fixture
def device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


@pytest.fixture(autouse=True)
def default_backend(monkeypatch: pytest.MonkeyPatch) -> str:
    """Overrides the fixture of the folder above: here operations run on the Triton backend."""
    if (reason := _dispatch.why_missing("triton")) is not None:
        pytest.skip(reason)
    monkeypatch.setattr(_dispatch, "default", "triton")
    return "triton"
