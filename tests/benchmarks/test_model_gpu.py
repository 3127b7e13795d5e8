"""benchmarks/model/gpu.py without a GPU: what it compares with, and what it says where there is none."""

from pathlib import Path

import pytest
import torch

from benchmarks.model import gpu
from gss.attention import attention


@pytest.mark.skipif(torch.cuda.is_available(), reason="about machines without a GPU")
def test_without_a_gpu_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "model-gpu.json"
    monkeypatch.setattr("sys.argv", ["gpu", "--out", str(out)])
    assert gpu.main() == 2
    assert "no CUDA device" in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.parametrize("biased", [True, False])
def test_the_formula_and_its_gradients_are_those_of_attention(biased: bool) -> None:
    torch.manual_seed(0)
    inputs = [torch.randn(2, 3, 5, 4, dtype=torch.float64) for _ in range(3)]
    bias = torch.randn(1, 3, 5, 5, dtype=torch.float64) if biased else None
    upstream = torch.randn(2, 3, 5, 4, dtype=torch.float64)
    wanted = gpu.with_gradients(gpu.formula, inputs, bias, upstream)
    for function in (attention, gpu.fused):
        got = gpu.with_gradients(function, inputs, bias, upstream)
        assert len(got) == len(wanted) == (5 if biased else 4)
        assert all(gpu.relative(a, b) < 1e-12 for a, b in zip(got, wanted, strict=True))
    assert gpu.relative(2 * wanted[0], wanted[0]) == pytest.approx(1)


def test_models_are_compared_on_pictures_of_several_classes() -> None:
    for row in gpu.check_agreement("cpu"):
        assert row["classes"] > 1 and row["tokens"] > 2, row
        assert row["equal_tokens"] == row["equal_labels"] == 1 and not row["wrong"], row
