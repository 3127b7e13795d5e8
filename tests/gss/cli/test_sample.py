"""Masks drawn from nothing, by a prior that `gss train` put on top of a run."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

import gss
from gss.cli import main
from gss.config import TokenPriorConfig
from gss.config.loading import recipe_to_yaml
from gss.io.labels import read_label
from gss.model.loading import build_gss
from gss.palette import Palette
from gss.prediction.masks import draw_masks
from gss.scenes import generate_scenes
from gss.training.metrics_log import read_metrics
from gss.training.run import save_model
from tests.gss.tiny import tiny_recipe

PALETTE = Palette.named("scenes")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """base/, an untrained run without the prior over tokens, and run/, which `gss train` put it on top of."""
    folder = tmp_path_factory.mktemp("sample")
    generate_scenes(folder / "data", train=3, val=1, size=(48, 64), seed=0)
    torch.manual_seed(0)
    (folder / "base").mkdir()
    save_model(build_gss(tiny_recipe(), PALETTE), folder / "base")
    recipe = tiny_recipe(
        token_prior=TokenPriorConfig(channels=8, depth=1, coarse_depth=1, heads=2, window=3, frequencies=2),
        start_from=str(folder / "base"),
        stages=("token_prior",),
    )
    recipe.token_prior_stage = recipe.prior_stage
    (folder / "tiny.yaml").write_text(recipe_to_yaml(recipe))
    command = ["train", "--recipe", str(folder / "tiny.yaml"), "--data", str(folder / "data")]
    assert main([*command, "--out", str(folder / "run")]) == 0
    assert main([*command, "--out", str(folder / "run"), "--resume"]) == 0
    return folder


def test_only_the_prior_over_tokens_was_trained(folder: Path) -> None:
    assert [line["stage"] for line in read_metrics(folder / "run" / "metrics.jsonl")] == ["token_prior"] * 3
    before, after = (load_file(folder / run / "model.safetensors") for run in ("base", "run"))
    assert all(torch.equal(after[name], value) for name, value in before.items())
    added = after.keys() - before.keys()
    assert added and all(name.startswith("token_prior.") for name in added)
    assert gss.load(folder / "run").num_parameters()["token_prior"] > 0


def test_sample_writes_masks(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--count", "3", "--size", "30x42", "--rounds", "2", "--temperature", "0.5", "--seed", "4"]
    capsys.readouterr()
    assert main(["sample", str(folder / "run"), "--out", str(tmp_path / "out"), "--device", "cpu", *options]) == 0
    assert capsys.readouterr().out.split() == [str(tmp_path / "out" / "masks.png")]
    names = ["mask_000.png", "mask_001.png", "mask_002.png", "masks.png"]
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == names
    masks = draw_masks(gss.load(folder / "run"), 3, (30, 42), rounds=2, temperature=0.5, seed=4)
    for name, mask in zip(names, masks, strict=False):
        assert torch.equal(read_label(tmp_path / "out" / name, PALETTE), mask)
    sheet = Image.open(tmp_path / "out" / "masks.png")
    assert sheet.size == (2 * (42 + 16) + 16, 2 * (30 + 16) + 16)
    assert sheet.getpixel((16, 16)) == PALETTE.colors[int(masks[0, 0, 0])]


def test_a_run_without_the_prior_says_how_to_get_one(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["sample", str(folder / "base"), "--out", str(tmp_path / "out")]) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert f"{folder / 'base'}: expected a generative run with a prior over tokens" in error
    assert not (tmp_path / "out").exists()


def test_the_stage_is_for_generative_models(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["train", "--recipe", str(folder / "tiny.yaml"), "--data", str(folder / "data"), "--out", str(tmp_path)]
    assert main([*command, "model=pixel-classifier"]) == 1
    assert "stages: expected some of classifier for this model, got 'token_prior'" in capsys.readouterr().err
