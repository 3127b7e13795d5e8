import json
import subprocess
import sys
from collections.abc import Callable

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import gsskernels
from gsskernels import _dispatch, info

X, TABLE = torch.arange(12.0).view(4, 3), torch.arange(15.0).view(5, 3)


def test_reference_by_name_is_what_none_falls_back_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_dispatch, "default", None)
    assert torch.equal(gsskernels.nearest_code(X, TABLE, backend="reference"), torch.arange(4))
    assert _dispatch.select("reference", X.device).__name__ == "gsskernels.reference"
    assert _dispatch.select(None, torch.device("meta")).__name__ == "gsskernels.reference"


def test_an_unknown_backend_is_named() -> None:
    with pytest.raises(ValueError, match="backend must be None or one of 'triton', 'native', 'reference', got 'cuda'"):
        gsskernels.nearest_code(X, TABLE, backend="cuda")


def test_triton_refuses_cpu_tensors(monkeypatch: pytest.MonkeyPatch) -> None:
    if _dispatch.why_missing("triton") is None:  # these tests may run with Triton's interpreter, which takes them
        monkeypatch.setattr(_dispatch._modules["triton"], "INTERPRETED", False)
    monkeypatch.setattr(_dispatch, "_chosen", {})
    with pytest.raises(RuntimeError, match="backend='triton' runs on cuda tensors, the input is on cpu"):
        gsskernels.nearest_code(X, TABLE, backend="triton")


def test_a_missing_backend_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(
        sys.modules, "gsskernels.native", None
    )  # what Python itself does for a module that cannot import
    monkeypatch.setattr(_dispatch, "default", None)
    monkeypatch.setattr(_dispatch, "_modules", {"reference": gsskernels.reference})
    monkeypatch.setattr(_dispatch, "_reasons", {})
    monkeypatch.setattr(_dispatch, "_chosen", {})
    with pytest.raises(_dispatch.BackendUnavailable, match="backend='native' cannot run: .*gsskernels.native"):
        gsskernels.nearest_code(X, TABLE, backend="native")
    assert torch.equal(gsskernels.nearest_code(X, TABLE), torch.arange(4))


def test_only_the_operations_are_public() -> None:
    assert sorted(gsskernels.__all__) == [
        "code_statistics",
        "confusion_matrix",
        "label_resize",
        "linear_argmax",
        "linear_cross_entropy",
        "linear_sample",
        "maskige_decode",
        "maskige_encode",
        "maskige_evaluate",
        "nearest_code",
    ]
    assert isinstance(gsskernels.__version__, str)


def test_import_brings_neither_transformers_nor_triton() -> None:
    code = """
import sys, torch
before = set(sys.modules)
import gsskernels
print([m for m in ("gss", "transformers", "triton") if m in set(sys.modules) - before])
"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_info(capsys: pytest.CaptureFixture[str]) -> None:
    info.main(["--json"])
    found = json.loads(capsys.readouterr().out)
    assert found["versions"]["torch"] == torch.__version__
    assert found["backends"]["reference"] is None and set(found["backends"]) == set(_dispatch.DEVICES)
    assert found["devices"][0].startswith("cpu: ")
    info.main([])
    printed = capsys.readouterr().out
    assert f"torch       {torch.__version__}" in printed and "reference   available, any tensors" in printed


class Largest(TorchDispatchMode):
    """Records the largest number of elements that an operation returned."""

    elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        out = func(*args, **(kwargs or {}))
        for t in out if isinstance(out, (tuple, list)) else (out,):
            if isinstance(t, torch.Tensor):
                self.elements = max(self.elements, t.numel())
        return out


def loss() -> None:
    x = torch.zeros(40_000, 4, requires_grad=True)
    weight = torch.zeros(500, 4, requires_grad=True)
    gsskernels.linear_cross_entropy(x, weight, torch.zeros(40_000, dtype=torch.int64), backend="reference").backward()


# 20 million scores (or 19 * 160000 class planes) would exist at once if they were stored; a chunk is 2^20.
@pytest.mark.parametrize(
    ("call", "limit"),
    [
        (lambda: gsskernels.nearest_code(torch.zeros(40_000, 4), torch.zeros(500, 4), backend="reference"), 2**20),
        (lambda: gsskernels.linear_argmax(torch.zeros(40_000, 4), torch.zeros(500, 4), backend="reference"), 2**20),
        (lambda: gsskernels.linear_sample(torch.zeros(4_000, 4), torch.zeros(500, 4), backend="reference"), 2**20),
        (loss, 2**20),
        (
            lambda: gsskernels.maskige_decode(
                torch.zeros(3, 40, 40), torch.zeros(19, 3), size=(400, 400), margin=True, backend="reference"
            ),
            160_000,
        ),
    ],
    ids=["nearest_code", "linear_argmax", "linear_sample", "linear_cross_entropy", "maskige_decode"],
)
def test_memory_is_bounded_by_a_chunk(call: Callable[[], object], limit: int) -> None:
    with Largest() as largest:
        call()
    assert 0 < largest.elements <= limit
