"""`gss convert` of damaged checkpoints: an error in words and no run, or a run that loads; nothing else."""

import random
from pathlib import Path

import pytest
import torch
from torch import Tensor

import gss
from gss.cli import main
from gss.convert.official import convert_official, official_state
from tests.gss.convert.official_models import official_weights, recipe_file, save_checkpoint, small_model, small_recipe


@pytest.fixture(scope="module", params=[True, False], ids=["zip", "legacy"])
def content(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("official") / "whole.pth"
    return save_checkpoint(
        path, official_weights(small_model("gss-ff_r_cityscapes")), zipped=request.param
    ).read_bytes()


def convert(content: bytes, folder: Path, capsys: pytest.CaptureFixture[str]) -> bool:
    """Whether the conversion gave a run; anything but that and an error in words fails here."""
    path, run = folder / "damaged.pth", folder / "run"
    path.write_bytes(content)
    code = main(["convert", str(path), "--recipe", recipe_file("gss-ff_r_cityscapes", folder), "--out", str(run)])
    error = capsys.readouterr().err
    if code == 0:
        assert error == ""
        gss.load(run)
        (run / "config.json").unlink()
        (run / "model.safetensors").unlink()
        return True
    assert code == 1 and error.startswith(f"gss: error: {path}: ") and error.count("\n") == 1
    assert not run.exists() or not any(run.glob("*.json"))
    return False


def test_truncated_at_many_points(content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ends = [0, 1, 2, 4, 100, *range(1000, len(content), len(content) // 40), len(content) - 23, len(content) - 1]
    for end in ends:
        assert not convert(content[:end], tmp_path, capsys), f"{end} of {len(content)} bytes"


def test_bytes_changed_at_random(content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Half of them among the names and sizes at the start, where most of the damage is possible."""
    chance = random.Random(20230322)
    outcomes = []
    for index in range(24):
        damaged = bytearray(content)
        for _ in range(chance.choice([1, 1, 4])):
            reach = 60_000 if index % 2 else len(content)
            damaged[chance.randrange(min(reach, len(content)))] = chance.randrange(256)
        outcomes.append(convert(bytes(damaged), tmp_path, capsys))
    assert set(outcomes) == {True, False}


@pytest.mark.parametrize("changed", ["checkpoint", "inverse"])
def test_two_files_of_which_one_is_damaged(
    changed: str, content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    inverse = official_weights(small_model("gss-ft-w_r_cityscapes"))
    torch.save({"state_dict": {k: v for k, v in inverse.items() if ".d_vae." not in k}}, tmp_path / "inverse.pth")
    (tmp_path / "checkpoint.pth").write_bytes(content)
    damaged = tmp_path / f"{changed}.pth"
    damaged.write_bytes(damaged.read_bytes()[: damaged.stat().st_size // 2])
    arguments = [str(tmp_path / "checkpoint.pth"), "--inverse", str(tmp_path / "inverse.pth")]
    assert main(["convert", *arguments, "--out", str(tmp_path / "run")]) == 1
    assert f"{damaged}: not a readable torch checkpoint" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.fixture
def weights() -> dict[str, Tensor]:
    return official_weights(small_model("gss-ff_swin_cityscapes"))


def test_names_that_are_no_names(weights: dict[str, Tensor]) -> None:
    for name in ("decode_head.\x1b[2J", "decode_head." + "x" * 200, 3):
        with pytest.raises(ValueError, match="names of at most 200 printable characters"):
            official_state({**weights, name: torch.ones(1)})


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("decode_head.transformer_block.blocks.0.attn.w_msa.relative_position_bias_table", (25, 0)),
        ("decode_head.transformer_block.blocks.0.attn.w_msa.relative_position_bias_table", (1 << 50, 2)),
        ("decode_head.conv_before_seg.conv.weight", (5, 8)),
        ("decode_head.fusion_conv.conv.weight", (1 << 40, 12, 1, 1)),
        ("decode_head.d_vae.encoder.blocks.input.w", (1 << 20, 3, 7, 7)),
        ("backbone.patch_embed.projection.weight", (1 << 20, 3, 4, 4)),
    ],
)
def test_shapes_that_mislead(name: str, shape: tuple[int, ...], weights: dict[str, Tensor]) -> None:
    """A claimed size is never allocated."""
    weights[name] = torch.zeros(1).expand(shape) if shape[-1] else torch.zeros(shape)
    with pytest.raises(ValueError, match=f"1 of another shape: {name}"):
        convert_official(weights, small_recipe("gss-ff_swin_cityscapes"))
