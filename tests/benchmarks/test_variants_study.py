"""What the study of X and X^-1 changes in the joint training, and what it reads from it."""

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from benchmarks.variants.joint import ChangedTraining, Changes
from benchmarks.variants.measure import read_course, remove_batch_norm
from benchmarks.variants.palettes import drawn_palette
from benchmarks.variants.table import VARIANTS
from gss.config import InverseConfig, PosteriorConfig
from gss.palette import Palette
from gss.training.run import build_gss
from tests.gss.tiny import tiny_recipe

PALETTE = Palette.named("scenes")
MASKIGE = torch.rand(2, 3, 32, 48, generator=torch.Generator().manual_seed(1))


def training(changes: Changes, **posterior: object) -> ChangedTraining:
    torch.manual_seed(0)
    model = build_gss(tiny_recipe(inverse=InverseConfig(type="convolution", channels=4)), PALETTE)
    return ChangedTraining(model, torch.ones(8), PosteriorConfig(learn=True, **posterior), changes).train()


def test_soft_tokens_are_mixtures_of_codes() -> None:
    stage = training(Changes(soft=True), token_temperature=1e6)
    tokenizer = stage.model.tokenizer
    mean = tokenizer.codebook.mean(0)[None, :, None, None].expand(2, -1, 32 // tokenizer.stride, 48 // tokenizer.stride)
    assert torch.allclose(stage.through_tokens(MASKIGE), tokenizer.decode_vectors(mean), atol=1e-5)
    assert stage.noisy == 0
    cold = training(Changes(soft=True), token_temperature=1e-6)
    assert torch.allclose(cold.through_tokens(MASKIGE), tokenizer.decode(tokenizer.encode(MASKIGE)), atol=1e-5)


def test_noise_draws_other_codes() -> None:
    for noise, low, high in ((1e-6, 0.0, 0.0), (1e6, 0.8, 1.0)):
        stage = training(Changes(noise=noise))
        stage.through_tokens(MASKIGE)
        assert stage.noisy is not None and low <= float(stage.noisy) <= high


def test_where_the_colours_start_and_may_go() -> None:
    assert training(Changes("linear", "layer")).colors().abs().max() <= 8**-0.5
    assert training(Changes("linear", "normal")).colors().abs().max() > 1
    palette = torch.tensor(PALETTE.colors) / 255
    for colors, end in (("linear", 2.0), ("clamped", 1.0)):
        stage = training(Changes(colors))
        assert torch.equal(stage.colors(), palette)
        stage.color_logits.data.fill_(2.0)
        assert stage.colors().max() == 2 and stage.eval().colors().max() == end


def test_changes_that_exclude_each_other() -> None:
    with pytest.raises(ValueError, match="start: expected 'palette' for 'cube' colours, got 'layer'"):
        training(Changes(start="layer"))
    with pytest.raises(ValueError, match="noise: expected None for soft tokens, got 3"):
        training(Changes(soft=True, noise=3))


@pytest.mark.parametrize("changes", list(dict.fromkeys(v.changes for v in VARIANTS.values() if v.posterior)), ids=str)
def test_every_change_trains_colours_and_inverse_only(changes: Changes) -> None:
    stage = training(changes)
    remove_batch_norm(stage.model)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in stage.model.inverse.modules())
    label = torch.randint(8, (2, 32, 48), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    values = stage({"label": label})
    values["loss"].backward()
    assert ("noisy" in values) == (changes.soft or changes.noise is not None)
    assert stage.color_logits.grad.abs().sum() > 0
    assert all(name.startswith("inverse.") for name, p in stage.model.named_parameters() if p.grad is not None)


def test_colours_around_grey() -> None:
    levels = torch.tensor(drawn_palette("grey", Palette.named("ade20k"), seed=0).colors).float()
    assert levels.mean() == pytest.approx(127.5, abs=3) and levels.std() == pytest.approx(25.5, abs=2)


def test_course_of_the_joint_training(tmp_path: Path) -> None:
    lines = [
        {"stage": "posterior", "step": k + 1, "smallest_distance": 100.0 - k, "classification": float(k)}
        for k in range(41)
    ]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert read_course(tmp_path) == {"distances": [100.0, 90.0, 80.0, 60.0], "classification": 30.5}
