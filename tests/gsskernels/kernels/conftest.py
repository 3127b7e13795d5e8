"""Kernels against the reference: native for every instruction set of this processor, and Triton.

Triton runs on a GPU where there is one, else in its interpreter, which is slow: there tests take fewer and smaller
inputs (`interpreted`).
"""

from collections.abc import Iterator
from contextlib import nullcontext

import pytest
import torch

from gsskernels import _dispatch

HAS_GPU = torch.cuda.is_available()
if _dispatch.why_missing("native") is None:
    from gsskernels.native import library

    ISAS = library.available_isas()
else:
    ISAS = []


@pytest.fixture(autouse=True, params=[*ISAS, "triton"])
def default_backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    name = "triton" if request.param == "triton" else "native"
    if (reason := _dispatch.why_missing(name)) is not None:
        pytest.skip(reason)
    monkeypatch.setattr(_dispatch, "default", name)
    if name == "native":
        context = library.forced_isa(request.param)
    else:
        context = torch.device("cuda") if HAS_GPU else nullcontext()
    with context:
        yield name


@pytest.fixture
def interpreted(default_backend: str) -> bool:
    return default_backend == "triton" and not HAS_GPU
