"""Minus the entropy of the class probabilities that the distribution over tokens implies."""

import math

import pytest
import torch

import gss
from gss.config import DalleConfig, InferenceConfig, InverseConfig
from gss.model.certainty import certainty_map, class_entropy
from gss.model.loading import build_gss
from gss.model.prior import TokenHead
from gss.model.views.windows import pad_to_alignment
from gss.palette import Palette
from tests.gss.tiny import tiny_recipe

PALETTE = Palette.named("scenes")
IMAGE = torch.randint(256, (3, 37, 51), generator=torch.Generator().manual_seed(0)).to(torch.uint8)


def tiny(decode: str = "argmax", share_codes: bool = False, **changes: object) -> gss.GSS:
    recipe = tiny_recipe(**changes)
    recipe.prior.decode, recipe.prior.share_codes = decode, share_codes
    torch.manual_seed(0)
    model = build_gss(recipe, PALETTE).eval()
    with torch.no_grad():
        model.token_head.free_weight.mul_(100)  # distributions far from uniform
    if share_codes:
        model.token_head.code_features.copy_(model.code_patches())
    return model


def one_hot(classes: list[list[int]], count: int) -> torch.Tensor:
    """The label patch of each token, class by pixel -> (V, pixels * K)."""
    return torch.nn.functional.one_hot(torch.tensor(classes), count).flatten(1).float()


def test_entropy_by_hand() -> None:
    # two pixels, three classes: (1/2, 1/4, 1/4), and one class with everything
    votes = torch.tensor([0.5, 0.25, 0.25, 0.0, 1.0, 0.0])
    assert class_entropy(votes, 3).tolist() == pytest.approx([1.5 * math.log(2), 0.0])
    assert class_entropy(votes.expand(2, 5, 6), 3).shape == (2, 5, 2)


def test_tokens_of_one_class_leave_no_doubt_and_equal_ones_of_two_log_2() -> None:
    head = TokenHead(channels=3, codes=4)
    torch.nn.init.zeros_(head.free_weight)  # every token is equally likely
    patches = one_hot([[0, 2], [0, 2], [1, 2], [1, 2]], 3)
    with torch.no_grad():
        entropy = head.class_entropy(torch.ones(1, 3, 2, 5), patches, 3)
        assert entropy.shape == (1, 2, 2, 5) and entropy.dtype == torch.float32
        assert torch.allclose(entropy[:, 0], torch.full((1, 2, 5), math.log(2)))
        assert torch.allclose(entropy[:, 1], torch.zeros(1, 2, 5), atol=1e-6)
        # log-odds of 3 to 1 between tokens of the same class and the others
        head.free_bias.copy_(torch.tensor([3.0, 3.0, 1.0, 1.0]).log())
        unequal = head.class_entropy(torch.ones(1, 3, 1, 1), patches, 3)[0, 0, 0, 0]
        assert float(unequal) == pytest.approx(-0.75 * math.log(0.75) - 0.25 * math.log(0.25))
        codebook = torch.randn(4, 2)
        assert torch.equal(head.consensus(torch.ones(1, 3, 2, 5), patches, codebook, 3).entropy[0, 0, 0, 0], unequal)


def test_the_map_lays_the_pixels_of_a_cell_out_and_is_never_above_0() -> None:
    entropy = torch.tensor([0.1, 0.2, 0.3, -1e-7]).view(1, 4, 1, 1)
    assert torch.allclose(certainty_map(entropy, (2, 2)), -torch.tensor([[[0.1, 0.2], [0.3, 0.0]]]))
    wider = certainty_map(entropy, (4, 4))[0]
    assert wider.shape == (4, 4) and wider.max() <= 0
    assert float(wider[0, 0]) == pytest.approx(-0.1)
    assert float(wider[0, 1]) == pytest.approx(-(0.75 * 0.1 + 0.25 * 0.2))


@torch.inference_mode()
@pytest.mark.parametrize("unaligned", ["pad", "stretch"])
@pytest.mark.parametrize("decode", ["argmax", "consensus"])
@pytest.mark.parametrize("share_codes", [False, True])
def test_each_token_counts_with_its_probability_for_what_it_paints(
    decode: str, share_codes: bool, unaligned: str
) -> None:
    model = tiny(decode, share_codes, inference=InferenceConfig(unaligned=unaligned))
    found = model.predict(IMAGE).certainty
    assert found.shape == (37, 51) and found.dtype == torch.float32
    seen = pad_to_alignment(IMAGE[None]) if unaligned == "pad" else IMAGE[None]
    _, hidden = model.trunk(model.encoder(seen))
    logits = torch.einsum("vc,chw->hwv", model.token_head.weight, hidden[0]) + model.token_head.bias
    painted = model.code_patches().view(32, 2, 2, 8)
    probability = torch.einsum("hwv,vyxk->hywxk", logits.softmax(-1), painted).flatten(2, 3).flatten(0, 1)
    entropy = -torch.special.xlogy(probability, probability).sum(-1)[None, None]
    size = (40, 52) if unaligned == "pad" else (37, 51)
    expected = -torch.nn.functional.interpolate(entropy, size=size, mode="bilinear", align_corners=False)[
        0, 0, :37, :51
    ]
    assert expected.std() > 0.05
    assert torch.allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("inverse", ["nearest", "convolution"])
@pytest.mark.parametrize("decode", ["argmax", "consensus"])
def test_nothing_else_of_a_prediction_depends_on_it(decode: str, inverse: str) -> None:
    model = tiny(decode, inverse=InverseConfig(type=inverse, channels=8))
    with_it, without = model.predict(IMAGE), model.predict([IMAGE], certainty=False)[0]
    assert with_it.certainty is not None and without.certainty is None
    for name in ("labels", "margin", "tokens", "maskige"):
        assert torch.equal(getattr(with_it, name), getattr(without, name))
    assert with_it.margin_unit == without.margin_unit
    _, maskige = model.paint(model.encoder(pad_to_alignment(IMAGE[None])))
    assert torch.equal((maskige[0] * 255).round().to(torch.uint8), with_it.maskige)


@pytest.mark.parametrize(
    "inference",
    [
        InferenceConfig(mode="slide", crop=(32, 32), stride=(16, 16)),
        InferenceConfig(scales=(0.5, 1.0)),
        InferenceConfig(flip=True),
        InferenceConfig(box=(24, 24)),
    ],
)
def test_an_image_looked_at_more_than_once_has_none(inference: InferenceConfig) -> None:
    assert tiny("consensus", inference=inference).predict(IMAGE).certainty is None


def test_the_many_codes_of_other_tokenizers_and_the_twin_give_none() -> None:
    tokenizer = DalleConfig(codes=32, encoder_width=8, decoder_width=8, code_dim=6, encoder_blocks=1, decoder_blocks=1)
    assert tiny(tokenizer=tokenizer).predict(IMAGE).certainty is None
    recipe = tiny_recipe()
    twin = gss.PixelClassifier(PALETTE.to_dict(), recipe.backbone, vars(recipe.prior))
    assert twin.predict(IMAGE).certainty is None


def test_none_where_tokens_paint_too_much(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny()
    painted = model.tokenizer.codes * model.palette.num_classes * model.tokenizer.stride**2
    monkeypatch.setattr("gss.model.gss.MOST_PATCH_VALUES", painted)
    assert model.predict(IMAGE).certainty is not None
    monkeypatch.setattr("gss.model.gss.MOST_PATCH_VALUES", painted - 1)
    assert model.predict(IMAGE).certainty is None


@pytest.mark.parametrize("decode", ["argmax", "consensus"])
def test_a_model_that_has_not_learned_yet_is_not_sure(decode: str) -> None:
    recipe = tiny_recipe()
    recipe.prior.decode, recipe.prior.share_codes = decode, True
    torch.manual_seed(0)
    model = build_gss(recipe, PALETTE).eval()
    assert model.token_head.code_features.equal(model.code_patches())
    prediction = model(IMAGE[None])
    assert prediction.maskige.isfinite().all() and prediction.certainty.isfinite().all()
    assert float(prediction.certainty.detach().mean()) < -0.1


@pytest.mark.parametrize("decode", ["argmax", "consensus"])
def test_double_precision(decode: str) -> None:
    single = tiny(decode, share_codes=True).predict(IMAGE)
    double = tiny(decode, share_codes=True).double().predict(IMAGE)
    assert torch.allclose(single.certainty, double.certainty, atol=1e-4)
    assert (single.labels == double.labels).float().mean() > 0.99


@pytest.mark.parametrize("decode", ["argmax", "consensus"])
def test_autocast_keeps_the_certainty_in_float32(decode: str) -> None:
    head = tiny(decode).token_head
    hidden = torch.randn(1, head.free_weight.shape[1], 3, 4, generator=torch.Generator().manual_seed(1))
    patches = one_hot([[v % 8] * 4 for v in range(len(head.free_weight))], 8)
    with torch.no_grad():
        wanted = head.class_entropy(hidden, patches, 8)
        with torch.autocast("cpu", torch.bfloat16):
            if decode == "argmax":
                entropy = head.class_entropy(hidden, patches, 8)
            else:
                entropy = head.consensus(hidden, patches, torch.randn(len(patches), 5), 8).entropy
    assert entropy.dtype == torch.float32
    assert torch.allclose(entropy, wanted, atol=1e-5)
