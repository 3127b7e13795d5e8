"""A palette learned through a frozen tokenizer: GSS-TF and GSS-TT."""

from pathlib import Path

import pytest
import torch

import gss
from gss.config import DalleConfig, InverseConfig, PosteriorConfig
from gss.model.loading import build_gss
from gss.palette import Palette
from gss.training.metrics_log import read_metrics
from gss.training.posterior import PosteriorTraining
from gss.training.run import train
from tests.gss.tiny import tiny_recipe

PALETTE = Palette.named("scenes")
DALLE = DalleConfig(codes=16, encoder_width=8, decoder_width=8, code_dim=4, encoder_blocks=1, decoder_blocks=1)
LEARN = PosteriorConfig(learn=True)


def batch() -> dict[str, torch.Tensor]:
    label = torch.randint(8, (2, 32, 48), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    label[:, :8] = 255
    return {"label": label}


def posterior(config: PosteriorConfig = LEARN, **recipe: object) -> PosteriorTraining:
    torch.manual_seed(0)
    return PosteriorTraining(build_gss(tiny_recipe(**recipe), PALETTE), torch.ones(8), config)


@pytest.mark.parametrize("estimator", ["straight-through", "gumbel"])
@pytest.mark.parametrize("tokenizer", [tiny_recipe().tokenizer, DALLE])
@pytest.mark.parametrize("inverse", [InverseConfig(), InverseConfig(type="convolution", channels=4)])
def test_gradients_reach_the_colours_and_the_inverse_only(estimator, tokenizer, inverse) -> None:
    config = PosteriorConfig(learn=True, estimator=estimator)
    stage = posterior(config, tokenizer=tokenizer, inverse=inverse).train()
    stage(batch())["loss"].backward()
    assert stage.color_logits.grad.abs().sum() > 0
    moved = {name for name, p in stage.model.named_parameters() if p.grad is not None}
    assert moved == {name for name, _ in stage.model.named_parameters() if name.startswith("inverse.")}
    assert not stage.model.tokenizer.training


def test_the_forward_value_is_that_of_the_hard_tokens() -> None:
    stage = posterior().eval()
    maskige = torch.rand(1, 3, 16, 24)
    model = stage.model
    expected = model.tokenizer.decode(model.tokenizer.encode(maskige))
    assert torch.allclose(stage.through_tokens(maskige), expected, atol=1e-5)


def test_colours_start_as_the_palettes_and_end_in_the_model() -> None:
    stage = posterior()
    start = torch.tensor(PALETTE.colors) / 255
    assert torch.allclose(stage.colors(), start.clamp(0.02, 0.98), atol=1e-6)
    with torch.no_grad():
        stage.color_logits += 1.0
    expected = (255 * stage.colors()).round().long().tolist()
    stage.finish()
    assert [list(color) for color in stage.model.palette.colors] == expected
    assert stage.model.maskige.colors.tolist() == expected
    assert stage.model.palette.class_names == PALETTE.class_names


def test_classes_of_one_colour_are_refused() -> None:
    stage = posterior()
    with torch.no_grad():
        stage.color_logits[3] = stage.color_logits[5]
    with pytest.raises(ValueError, match="posterior: the learned palette cannot be used, .*; posterior.spread keeps"):
        stage.finish()


def test_spread_pushes_near_colours_apart_and_leaves_the_others_alone() -> None:
    stage = posterior(PosteriorConfig(learn=True, spread=0.3, spread_weight=10.0)).train()
    with torch.no_grad():
        stage.color_logits.copy_(torch.linspace(0.1, 0.9, 8)[:, None].expand(8, 3).logit())
        stage.color_logits[1] = stage.color_logits[0] + 0.05
    optimizer = torch.optim.Adam([stage.color_logits], 0.05)
    before = stage(batch())["smallest_distance"]
    for _ in range(60):
        optimizer.zero_grad()
        stage(batch())["loss"].backward()
        optimizer.step()
    assert before < 10 < stage(batch())["smallest_distance"]


def test_a_run_learns_its_palette_and_keeps_it(data: Path, tmp_path: Path) -> None:
    recipe = tiny_recipe(posterior=LEARN)
    recipe.posterior_stage = recipe.prior_stage
    run = train(recipe, data, tmp_path / "run")
    stages = [line["stage"] for line in read_metrics(run / "metrics.jsonl")]
    assert stages == ["tokenizer"] * 3 + ["posterior"] * 3 + ["prior"] * 3
    learned = gss.load(run).palette
    assert learned.name == "scenes-learned" and learned.colors != PALETTE.colors
    model = (run / "model.safetensors").read_bytes()
    train(recipe, data, run, resume=True)
    assert (run / "model.safetensors").read_bytes() == model
    assert gss.load(run).palette == learned


def test_a_palette_of_other_classes_is_refused() -> None:
    model = posterior().model
    with pytest.raises(ValueError, match="palette: expected the model's 8 classes, got 'camvid'"):
        model.set_palette(Palette.named("camvid"))
