import math
from pathlib import Path

import pytest
import torch

import gss
import gsskernels
from gss.config import InferenceConfig
from gss.io.images import read_image
from gss.io.labels import read_label
from gss.model.loading import build_gss
from gss.model.prior import TokenHead
from gss.model.views.windows import pad_to_alignment
from gss.palette import Palette
from gss.prediction import hypotheses
from gss.prediction.hypotheses import farthest_first, sample, vote
from tests.gss.tiny import tiny_recipe

PALETTE = Palette.named("scenes")


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return build_gss(tiny_recipe(), PALETTE).eval()


def photo(height: int, width: int) -> torch.Tensor:
    return torch.randint(0, 256, (3, height, width), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)


def test_draws_are_decoded_votes_are_counted(model) -> None:
    image = photo(30, 46)
    found = sample(model, image, samples=5, seed=3)
    assert found.maps.shape == (5, 30, 46) and found.maps.dtype == torch.uint8
    assert found.tokens.shape == (5, 8, 12) and found.tokens.dtype == torch.int64
    with torch.inference_mode():
        for tokens, labels in zip(found.tokens, found.maps, strict=True):
            whole = model.maskige.decode(model.tokenizer.decode(tokens[None]), (32, 48)).labels[0]
            assert torch.equal(whole[:30, :46], labels)
    labels, entropy = vote(found.maps)
    assert torch.equal(found.labels, labels) and torch.equal(found.entropy, entropy)
    assert 1 <= len(found.distinct) <= 3 and len(set(found.distinct)) == len(found.distinct)


def test_a_draw_is_from_the_token_heads_distribution(model) -> None:
    image = pad_to_alignment(photo(32, 48)[None])
    with torch.inference_mode():
        _, hidden = model.trunk(model.encoder(image))
        tokens = hypotheses.draw_tokens(model.token_head, hidden, 400, temperature=0.5, seed=0)
        logits = torch.einsum("bchw,vc->bhwv", hidden, model.token_head.weight) + model.token_head.bias
        expected = (logits[0] / 0.5).softmax(-1)
    found = torch.nn.functional.one_hot(tokens, 32).float().mean(0)
    # chi-squared of 400 draws over 32 tokens, in 96 cells: 31 in the mean, 7.9 its standard deviation in one cell
    chi = (400 * (found - expected) ** 2 / expected.clamp_min(1e-9)).sum(-1)
    assert 28 < float(chi.mean()) < 34


def test_unlikely_tokens_are_not_drawn_and_the_others_as_often_as_they_should_be() -> None:
    generator = torch.Generator().manual_seed(0)
    head = TokenHead(channels=4, codes=12)
    with torch.inference_mode():
        head.free_weight.copy_(torch.randn(12, 4, generator=generator))
        hidden = torch.randn(1, 4, 8, 12, generator=generator)
        tokens = hypotheses.draw_tokens(head, hidden, 600, temperature=0.7, seed=0, threshold=0.2)
        logits = torch.einsum("bchw,vc->bhwv", hidden, head.weight) + head.bias
    expected = (logits[0] / 0.7).softmax(-1)
    allowed = expected >= 0.2 * expected.amax(-1, keepdim=True)
    assert 2 < allowed.sum(-1).float().mean() < 6, "some are allowed, others not"
    expected = torch.where(allowed, expected, 0) / torch.where(allowed, expected, 0).sum(-1, keepdim=True)
    found = torch.nn.functional.one_hot(tokens, 12).float().mean(0)
    assert (found[~allowed] == 0).all()
    chi = (600 * (found - expected) ** 2 / expected.clamp_min(1e-9)).sum()
    freedom = int(allowed.sum()) - allowed[..., 0].numel()
    assert abs(float(chi) - freedom) < 4 * (2 * freedom) ** 0.5


def test_thresholds_at_both_ends(model) -> None:
    image = photo(32, 48)
    assert torch.equal(sample(model, image, threshold=0.0).tokens, sample(model, image).tokens)
    surest = sample(model, image, samples=2, threshold=1.0)
    with torch.inference_mode():
        _, hidden = model.trunk(model.encoder(image[None]))
        likeliest = model.token_head.tokens(hidden)
    assert torch.equal(surest.tokens, likeliest.expand(2, -1, -1))


def test_seeds_and_temperature(model) -> None:
    image = photo(32, 48)
    first, more = sample(model, image, samples=4), sample(model, image, samples=20)
    assert torch.equal(first.tokens, more.tokens[:4])
    assert len(more.tokens.flatten(1).unique(dim=0)) == 20, "every draw is another one"
    other = sample(model, image, samples=20, seed=1)
    assert not any(torch.equal(a, b) for a in more.tokens for b in other.tokens)
    cold = sample(model, image, samples=3, temperature=1e-6)
    with torch.inference_mode():
        _, hidden = model.trunk(model.encoder(image[None]))
        likeliest = gsskernels.linear_argmax(hidden, model.token_head.weight, model.token_head.bias, dim=1)
    assert torch.equal(cold.tokens, likeliest.expand(3, -1, -1))
    assert cold.distinct == (0,) and (cold.entropy == 0).all()


def test_a_few_draws_at_a_time_are_the_same(model, monkeypatch) -> None:
    whole = sample(model, photo(32, 48), samples=5)
    monkeypatch.setattr(hypotheses, "PIXELS_AT_A_TIME", 2 * 16 * 24)
    assert torch.equal(sample(model, photo(32, 48), samples=5).maps, whole.maps)


def test_vote_by_hand() -> None:
    maps = torch.tensor([[[7, 3, 1]], [[7, 2, 1]], [[7, 3, 4]], [[7, 9, 4]]], dtype=torch.uint8)
    labels, entropy = vote(maps)
    assert labels.dtype == torch.uint8 and labels.tolist() == [[7, 3, 1]]
    half, quarter = 0.5 * math.log(2), 0.25 * math.log(4)
    assert entropy.tolist()[0] == pytest.approx([0, half + 2 * quarter, 2 * half])


def test_vote_equals_the_mode() -> None:
    maps = torch.randint(0, 6, (9, 20, 30), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    counts = torch.nn.functional.one_hot(maps.long(), 6).sum(0)
    labels, entropy = vote(maps)
    assert torch.equal(labels.long(), counts.argmax(-1))
    expected = torch.distributions.Categorical(counts / 9).entropy()
    assert torch.allclose(entropy, expected, atol=1e-5)


def test_farthest_first_by_hand() -> None:
    base = torch.zeros(1, 10, dtype=torch.uint8)

    def changed(first: int, last: int) -> torch.Tensor:
        other = base.clone()
        other[0, first:last] = 1
        return other

    maps = torch.stack([changed(0, 3), base, changed(0, 4), changed(6, 10), changed(0, 1), base])
    # the centre is base itself (1), 2 and 3 differ from it by 4, the lower index first; 3 then is 8 from 2, 4 from 1
    assert farthest_first(maps, base, 2) == (1, 2)
    assert farthest_first(maps, base, 3) == (1, 2, 3)
    assert farthest_first(maps, base, 6) == (1, 2, 3, 0, 4), "the second base repeats the first"


def test_files(model, tmp_path: Path) -> None:
    found = sample(model, photo(20, 24), samples=6, distinct=2)
    found.name = "street"
    paths = found.save(tmp_path / "new")
    assert sorted(p.name for p in (tmp_path / "new").iterdir()) == sorted(p.name for p in paths.values())
    assert list(paths) == ["modal", "hypothesis_0", "hypothesis_1", "entropy"]
    assert torch.equal(read_label(paths["modal"], PALETTE), found.labels)
    assert torch.equal(read_label(paths["hypothesis_1"], PALETTE), found.maps[found.distinct[1]])
    shown = read_image(paths["entropy"]).float().sum(0)
    low, high = found.entropy.min(), found.entropy.max()
    assert shown[found.entropy == low].max() < shown[found.entropy == high].min()


def test_bad_input_is_named(model) -> None:
    image, recipe = photo(16, 16), tiny_recipe()
    with pytest.raises(TypeError, match="model: expected a generative model, .* got PixelClassifier"):
        sample(gss.PixelClassifier(PALETTE.to_dict(), recipe.backbone, vars(recipe.prior)), image)
    with pytest.raises(ValueError, match="samples: expected at least 1, got 0"):
        sample(model, image, samples=0)
    for threshold in (-0.1, 1.5, float("nan")):
        with pytest.raises(ValueError, match="threshold: expected a share of a probability, 0 to 1, got"):
            sample(model, image, threshold=threshold)
    with pytest.raises(ValueError, match="temperature must be positive"):
        sample(model, image, temperature=0.0)
    with pytest.raises(ValueError, match="image: expected one image, got 2"):
        sample(model, [image, image])
    sliding = build_gss(tiny_recipe(inference=InferenceConfig(mode="slide", crop=(8, 8), stride=(8, 8))), PALETTE)
    with pytest.raises(ValueError, match="inference: expected one pass over the image"):
        sample(sliding, image)
