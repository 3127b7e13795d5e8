"""Recorded launches, and the choice of the backend by the dispatcher."""

import os
import subprocess
import sys

import pytest
import torch

import gsskernels
from gsskernels import _dispatch
from gsskernels.triton import affine_argmax, launch, statistics
from gsskernels.triton.plan import SM_80, SM_100


def run(code: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **environment}, text=True, capture_output=True, check=True
    )
    return done.stdout.strip()


def test_recorded_launches_start_nothing() -> None:
    x, table = (torch.empty(n, 64, dtype=torch.float16, device="meta") for n in (1000, 512))
    with launch.record(SM_100) as launches:
        affine_argmax.nearest_code(x, table, 1, None)
        statistics.code_statistics(x, torch.empty(1000, dtype=torch.int64, device="meta"), 512, 1)
    names = [found.kernel.__name__ for found in launches]
    assert names == ["_bias_kernel", "_argmax_kernel", "_merge_kernel", "_segments_kernel", "_join_kernel"]
    kernel = launches[1]
    assert kernel.arguments["codes"] == 512 and kernel.arguments["DESCRIPTOR"] is True
    assert kernel.options["num_warps"] in (4, 8)


def test_a_record_within_a_record_and_after_an_error() -> None:
    with launch.record(SM_80) as outer:
        with pytest.raises(RuntimeError, match="stop"), launch.record(SM_100):
            assert launch.architecture(torch.device("meta")) is SM_100
            raise RuntimeError("stop")
        assert launch.architecture(torch.device("meta")) is SM_80
    assert outer == []


def test_cpu_tensors_go_to_triton_only_when_asked_and_interpreted(device: torch.device, monkeypatch) -> None:
    monkeypatch.setattr(_dispatch, "default", None)
    if device.type == "cpu":
        assert _dispatch.select(None, device).__name__ != "gsskernels.triton"
        assert _dispatch.select("triton", device).__name__ == "gsskernels.triton"
    code = (
        "import gsskernels, torch\ntry: gsskernels.nearest_code(torch.ones(1, 2), torch.ones(1, 2), backend='triton')\n"
    )
    code += "except RuntimeError as error: print(error)"
    assert "runs on cuda tensors, the input is on cpu" in run(code, TRITON_INTERPRET="0")


def test_importing_the_backend_compiles_nothing(tmp_path) -> None:
    code = "import gsskernels.triton, sys; print('torch._dynamo' in sys.modules)"
    assert run(code, TRITON_INTERPRET="0", TRITON_CACHE_DIR=str(tmp_path)) == "False"
    assert list(tmp_path.rglob("*")) == []


def test_every_public_operation_is_there() -> None:
    import gsskernels.triton as backend

    assert set(gsskernels.__all__) <= set(backend.__all__)
