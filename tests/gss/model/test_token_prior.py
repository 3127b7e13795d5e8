import math

import pytest
import torch

import gss
from gss.config import TokenPriorConfig
from gss.model.loading import build_gss
from gss.model.token_prior import TokenPrior, grid_positions
from gss.palette import Palette
from gss.prediction.masks import draw_masks, draw_tokens, still_hidden
from gss.training.stages import TokenPriorTraining
from tests.gss.tiny import tiny_recipe

PALETTE = Palette.named("scenes")
TINY = TokenPriorConfig(channels=8, depth=1, coarse_depth=2, heads=2, window=3, frequencies=2)


@pytest.fixture(scope="module")
def model() -> gss.GSS:
    torch.manual_seed(0)
    recipe = tiny_recipe(token_prior=TINY, stages=("tokenizer", "prior", "token_prior"))
    return build_gss(recipe, PALETTE).eval()


@pytest.mark.parametrize("size", [(8, 12), (5, 7), (1, 1)])
def test_features_for_any_grid(model, size: tuple[int, int]) -> None:
    tokens = torch.randint(0, 33, (2, *size), generator=torch.Generator().manual_seed(0))
    assert model.token_prior(tokens).shape == (2, 8, *size)


def test_positions_run_over_the_grid_whatever_its_size() -> None:
    small, large = (grid_positions((n, n), (n, n), 3, torch.device("cpu")) for n in (2, 6))
    # the centre of the first of two cells is that of the second of six
    assert torch.allclose(small[0, 0], large[1, 1], atol=1e-6)
    angles = [math.pi * 0.25 * 2**i for i in range(3)]
    expected = [math.sin(a) for a in angles] + [math.cos(a) for a in angles]
    assert small[0, 0].tolist() == pytest.approx(2 * expected, abs=1e-6)
    assert not torch.allclose(small[0, 1], small[1, 0])


def test_the_number_of_hidden_tokens_falls_along_a_cosine_to_none() -> None:
    counts = [still_hidden(100, step / 8) for step in range(9)]
    assert counts == [100, 98, 92, 83, 70, 55, 38, 19, 0]


def test_every_round_settles_what_it_should_and_changes_nothing_that_is_settled(model, monkeypatch) -> None:
    seen: list[torch.Tensor] = []
    forward = TokenPrior.forward

    def watched(self: TokenPrior, tokens: torch.Tensor) -> torch.Tensor:
        seen.append(tokens.clone())
        return forward(self, tokens)

    monkeypatch.setattr(TokenPrior, "forward", watched)
    tokens = draw_tokens(model.token_prior, 3, (5, 7), rounds=4)
    assert tokens.shape == (3, 5, 7) and tokens.dtype == torch.int64
    assert int(tokens.min()) >= 0 and int(tokens.max()) < 32
    hidden = [(grid == 32).flatten(1).sum(1).tolist() for grid in seen]
    assert hidden == [[still_hidden(35, step / 4)] * 3 for step in range(4)]
    for earlier, later in zip(seen, [*seen[1:], tokens], strict=True):
        settled = earlier != 32
        assert torch.equal(earlier[settled], later[settled])


def test_without_noise_the_likeliest_draws_are_settled(model) -> None:
    with torch.inference_mode():
        features = model.token_prior(torch.full((1, 4, 4), 32))
        logits = torch.einsum("bchw,vc->bhwv", features, model.token_prior.head.weight) + model.token_prior.head.bias
        probability = (logits / 1e-5).softmax(-1).amax(-1)
        assert (probability > 0.99).all(), "so cold that the likeliest token is drawn"
        best = logits.log_softmax(-1).amax(-1).flatten()
    once = draw_tokens(model.token_prior, 1, (4, 4), rounds=1, temperature=1e-5)
    assert torch.equal(once, logits.argmax(-1))
    seen = []
    hook = model.token_prior.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].clone()))
    draw_tokens(model.token_prior, 1, (4, 4), rounds=2, temperature=1e-5, choice_temperature=0)
    hook.remove()
    kept = (seen[1] != 32).flatten()
    assert int(kept.sum()) == 16 - still_hidden(16, 0.5) == 5
    assert best[kept].min() >= best[~kept].max()


def test_masks_are_seeded_and_decoded(model) -> None:
    masks = draw_masks(model, 9, (18, 22), rounds=3, seed=1)
    assert masks.shape == (9, 18, 22) and masks.dtype == torch.uint8 and int(masks.max()) < 8
    assert torch.equal(draw_masks(model, 9, (18, 22), rounds=3, seed=1), masks)
    assert torch.equal(draw_masks(model, 8, (18, 22), rounds=3, seed=1), masks[:8])
    assert len(masks.flatten(1).unique(dim=0)) == 9
    assert not torch.equal(draw_masks(model, 9, (18, 22), rounds=3, seed=2), masks)


def test_cells_with_an_unlabelled_pixel_are_hidden_and_cost_nothing(model) -> None:
    training = TokenPriorTraining(model)
    labels = torch.randint(0, 8, (2, 14, 16), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    labels[0, 5, 9] = 255
    tokens, known = training.label_tokens(labels)
    assert tokens.shape == known.shape == (2, 4, 4)
    assert (~known).nonzero().tolist() == [[0, 1, 2]], "the padding below is nobody's fault"
    torch.manual_seed(0)
    assert torch.isfinite(training({"label": labels})["loss"])
    nothing = training({"label": torch.full((1, 8, 8), 255, dtype=torch.uint8)})
    assert nothing["loss"] == 0


def test_it_learns_what_the_label_maps_look_like() -> None:
    """Sky above, road below, one tokenizer that is not even trained: maps are drawn that decode to just that."""
    torch.manual_seed(0)
    model = build_gss(tiny_recipe(token_prior=TINY, stages=("token_prior",)), PALETTE)
    training = TokenPriorTraining(model).train()
    labels = torch.zeros(4, 16, 24, dtype=torch.uint8)
    labels[:, 8:] = 2
    expected, _ = training.label_tokens(labels[:1])
    optimizer = torch.optim.AdamW(model.token_prior.parameters(), lr=0.01)
    first = None
    for _ in range(60):
        loss = training({"label": labels})["loss"]
        first = loss.item() if first is None else first
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert first > 3 and loss.item() < 0.1
    assert all(p.grad is None for name, p in model.named_parameters() if not name.startswith("token_prior."))
    drawn = draw_tokens(model.token_prior, 2, (4, 6), rounds=4)
    assert torch.equal(drawn, expected.expand(2, -1, -1))


def test_wrong_numbers_are_named(model) -> None:
    with pytest.raises(ValueError, match="rounds: expected at least 1, got 0"):
        draw_tokens(model.token_prior, 1, (4, 4), rounds=0)
    with pytest.raises(ValueError, match="choice_temperature: expected 0 or more, got -1"):
        draw_tokens(model.token_prior, 1, (4, 4), choice_temperature=-1)
    plain = build_gss(tiny_recipe(), PALETTE)
    with pytest.raises(ValueError, match="model: expected one with a token_prior"):
        draw_masks(plain, 1, (16, 16))
    with pytest.raises(ValueError, match="token_prior: expected a model that has one"):
        TokenPriorTraining(plain)
