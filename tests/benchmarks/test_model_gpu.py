"""benchmarks/model/gpu.py without a GPU: what it compares with, and what it says where there is none."""

from pathlib import Path

import pytest
import torch

from benchmarks.gpu import place as places
from benchmarks.model import gpu
from gss.config import InverseConfig
from gss.model.attention import attention
from gss.palette import Palette
from gss.training.run import build_gss
from tests.gss.tiny import tiny_recipe


def test_without_a_gpu_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "model-gpu.json"
    monkeypatch.setattr("sys.argv", ["gpu", "--out", str(out)])
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert gpu.main() == 2
    assert "no CUDA GPU is available" in capsys.readouterr().err
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


@pytest.mark.parametrize("biased", [True, False])
def test_an_attention_row(biased: bool) -> None:
    row = gpu.attention_row(places.find(dry=True), "small", 2, 3, 8, 4, biased, torch.float32)
    assert len(row["xformers_errors"]) == len(row["torch_errors"]) == (5 if biased else 4)
    assert max(row["torch_errors"]) < 1e-5 and not row["wrong"]
    assert row["torch_ms"] > 0 and row["torch_timing"] == "clock" and row["torch_mib"] is None


@pytest.mark.parametrize("inverse", ["nearest", "convolution"])
def test_an_official_row(inverse: str) -> None:
    model = build_gss(tiny_recipe(inverse=InverseConfig(type=inverse, channels=4)), Palette.named("scenes"))
    row = gpu.official_row(places.find(dry=True), "tiny", model, 64, 2, torch.bfloat16)
    assert row["dtype"] == "bfloat16" and min(row["step_ms"], row["predict_ms"]) > 0
    assert all(p.grad is None for p in model.parameters())


def test_models_are_compared_on_pictures_of_several_classes() -> None:
    for row in gpu.check_agreement(places.find(dry=True)):
        assert row["classes"] > 1 and row["tokens"] > 2, row
        assert row["equal_tokens"] == row["equal_labels"] == 1 and not row["wrong"], row
