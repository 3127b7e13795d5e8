import pytest
import torch
from torch.nn import functional as F

import gsskernels
from gss.config import CompactConfig, InverseConfig
from gss.model.classifier import PixelClassifier
from gss.model.loading import build_gss
from gss.palette import Palette
from gss.training.losses import class_weights, cross_entropy, palette_distances
from gss.training.stages import ClassifierTraining, InverseTraining, PriorTraining, TokenizerTraining
from tests.gss.convert.official_models import small_model
from tests.gss.tiny import tiny_recipe

PALETTE = Palette.named("scenes")


@pytest.fixture
def model():
    torch.manual_seed(0)
    return build_gss(tiny_recipe(), PALETTE)


def batch(height: int = 32, width: int = 48) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    label = torch.randint(8, (2, height, width), generator=generator).to(torch.uint8)
    label[:, : height // 2, : width // 3] = 255
    image = torch.randint(256, (2, 3, height, width), generator=generator).to(torch.uint8)
    return {"image": image, "label": label}


def test_palette_distances_are_squared_differences() -> None:
    maskige, colors = torch.rand(2, 3, 4, 5), torch.rand(6, 3)
    expected = (maskige[:, None] - colors[None, :, :, None, None]).square().sum(2)
    assert torch.allclose(palette_distances(maskige, colors), expected, atol=1e-5)


def test_cross_entropy_equals_torch_where_something_is_labelled_and_is_zero_where_nothing_is() -> None:
    logits, weight = torch.randn(2, 5, 3, 4), torch.rand(5) + 0.1
    labels = torch.randint(5, (2, 3, 4))
    labels[0, 0] = 255
    assert torch.allclose(cross_entropy(logits, labels), F.cross_entropy(logits, labels, ignore_index=255))
    expected = F.cross_entropy(logits, labels, weight=weight, ignore_index=255)
    assert torch.allclose(cross_entropy(logits, labels, weight), expected)
    assert cross_entropy(logits, torch.full_like(labels, 255), weight) == 0


def test_class_weights_have_mean_one_over_pixels_and_follow_the_power() -> None:
    weights = class_weights([900, 100, 0], 0.5)
    assert weights[1] / weights[0] == pytest.approx(3.0)
    assert float(weights[0] * 0.9 + weights[1] * 0.1) == pytest.approx(1.0)
    assert torch.equal(class_weights([900, 100], 0.0), torch.ones(2))
    with pytest.raises(ValueError, match="pixels"):
        class_weights([0, 0], 0.5)


def test_a_cell_counts_if_any_pixel_of_its_image_patch_is_labelled(model) -> None:
    """Also where the resize to maskige size votes the labelled pixel away (tokenizer stride 2: half size)."""
    stage = PriorTraining(model, torch.ones(8)).eval()
    label = torch.full((1, 32, 48), 255, dtype=torch.uint8)
    label[0, 0, 0] = 3
    label[0, 13, 22] = 5
    weights = stage.cell_weights(label)
    assert weights.shape == (1, 8, 12)
    assert weights.nonzero().tolist() == [[0, 0, 0], [0, 3, 5]]
    kept: list[torch.Tensor] = []
    loss = model.token_head.loss

    def watched(hidden: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        kept.append(targets)
        return loss(hidden, targets, weights)

    model.token_head.loss = watched
    stage({"image": torch.zeros(1, 3, 32, 48, dtype=torch.uint8), "label": label})
    assert (kept[0] != 32).nonzero().tolist() == [[0, 0, 0], [0, 3, 5]]


def test_unlabelled_pixels_take_the_pixel_heads_answer_before_encoding(model) -> None:
    stage = PriorTraining(model, torch.ones(8)).train()
    labels = torch.randint(8, (1, 4, 6)).to(torch.uint8)
    labels[0, ::2, ::2] = 255
    classes = torch.randint(8, (1, 4, 6))
    filled = torch.where(labels == 255, classes, labels.long())
    expected = model.tokenizer.encode(model.maskige.encode(filled))
    assert torch.equal(stage.completed_tokens(labels, classes), expected)


def test_prior_losses_equal_the_materialised_formula(model) -> None:
    stage = PriorTraining(model, torch.ones(8)).eval()
    data = batch()
    values = {name: value.item() for name, value in stage(data).items()}
    features = model.encoder(data["image"])
    fused, hidden = model.trunk(features)
    small = torch.full((2, 16, 24), 255, dtype=torch.long)
    votes = F.interpolate(
        F.one_hot(torch.where(data["label"] == 255, 8, data["label"].long()), 9).permute(0, 3, 1, 2).float(),
        size=(16, 24),
        mode="bilinear",
    ).argmax(1)
    small = torch.where(votes == 8, 255, votes)
    pixel_logits = F.interpolate(model.pixel_head(features, fused), size=(16, 24), mode="bilinear")
    pixel = F.cross_entropy(pixel_logits, small, ignore_index=255)
    any_labelled = F.max_pool2d((data["label"] != 255)[:, None].float(), 4)[:, 0] > 0
    targets = torch.where(any_labelled, stage.completed_tokens(small, pixel_logits.argmax(1)), 32)
    logits = torch.einsum("bchw,vc->bvhw", hidden, model.token_head.weight) + model.token_head.bias[:, None, None]
    token = F.cross_entropy(logits, targets, ignore_index=32)
    assert values["pixel"] == pytest.approx(pixel.item(), rel=1e-4)
    assert values["token"] == pytest.approx(token.item(), rel=1e-4)
    assert values["loss"] == pytest.approx(0.8 * token.item() + 0.2 * pixel.item(), rel=1e-4)


def test_stage_two_trains_everything_but_the_tokenizer(model) -> None:
    stage = PriorTraining(model, torch.ones(8)).train()
    assert not model.tokenizer.training
    stage(batch())["loss"].backward()
    without = {name for name, p in model.named_parameters() if p.grad is None}
    assert without == {name for name, _ in model.named_parameters() if name.startswith("tokenizer.")}


def test_stage_one_trains_the_tokenizer_only(model) -> None:
    stage = TokenizerTraining(model, torch.ones(8)).train()
    values = stage(batch())
    values["loss"].backward()
    health = {"perplexity", "codes_used", "codes_restarted"}
    assert set(values) == {"loss", "color", "classification", "commitment"} | health
    assert all(p.grad is not None for p in model.tokenizer.parameters())
    assert all(p.grad is None for p in model.trunk.parameters())


def test_stage_one_leaves_out_the_class_loss_where_it_does_not_count() -> None:
    tokenizer = CompactConfig(stride=2, codes=32, code_dim=4, width=8, classification=0.0)
    torch.manual_seed(0)
    stage = TokenizerTraining(build_gss(tiny_recipe(tokenizer=tokenizer), PALETTE), torch.ones(8)).eval()
    values = stage(batch())
    assert "classification" not in values
    torch.testing.assert_close(values["loss"], values["color"] + 0.25 * values["commitment"])


def with_inverse(source: str = "photo") -> InverseTraining:
    torch.manual_seed(0)
    config = InverseConfig(type="window", channels=8, depth=2, heads=2, window=3, source=source)
    return InverseTraining(build_gss(tiny_recipe(inverse=config), PALETTE), torch.ones(8))


@pytest.mark.parametrize("source", ["photo", "labels"])
def test_stage_three_trains_the_inverse_only(source: str) -> None:
    stage = with_inverse(source).train()
    before = {name: value.clone() for name, value in stage.model.state_dict().items()}
    stage(batch())["loss"].backward()
    with_gradient = {name for name, p in stage.model.named_parameters() if p.grad is not None}
    assert with_gradient == {name for name, _ in stage.model.named_parameters() if name.startswith("inverse.")}
    moved = {name for name, value in stage.model.state_dict().items() if not torch.equal(value, before[name])}
    assert moved and all(name.startswith("inverse.projection.1.") for name in moved)  # its batch norm, and no other


def test_stage_three_paints_the_labels_or_what_is_predicted() -> None:
    data, stage = batch(), with_inverse("labels").eval()
    model = stage.model
    votes = gsskernels.label_resize(data["label"], (16, 24), num_classes=8)
    painted = model.tokenizer.decode(model.tokenizer.encode(model.maskige.encode(votes)))
    assert stage(data)["loss"] == model.inverse.loss(painted, data["label"], torch.ones(8))
    stage = with_inverse("photo").eval()
    _, painted = stage.model.paint(stage.model.encoder(data["image"]))
    assert stage(data)["loss"] == stage.model.inverse.loss(painted, data["label"], torch.ones(8))


def test_official_parity_lets_the_trunks_statistics_drift() -> None:
    stage = with_inverse()
    assert not stage.train().model.trunk.training
    stage.official_parity = True
    assert stage.train().model.trunk.training
    assert not stage.model.encoder.training


def test_stage_three_needs_something_to_learn(model) -> None:
    with pytest.raises(ValueError, match="inverse.type: expected 'convolution' or 'window' to train"):
        InverseTraining(model, torch.ones(8))


@pytest.mark.parametrize("kind", ["tokenizer", "prior", "classifier"])
def test_a_batch_without_any_label_has_a_finite_loss(model, kind: str) -> None:
    twin = PixelClassifier(PALETTE.to_dict(), tiny_recipe().backbone, vars(tiny_recipe().prior))
    stage = {
        "tokenizer": lambda: TokenizerTraining(model, torch.ones(8)),
        "prior": lambda: PriorTraining(model, torch.ones(8)),
        "classifier": lambda: ClassifierTraining(twin, torch.ones(8)),
    }[kind]()
    data = batch()
    data["label"].fill_(255)
    loss = stage.train()(data)["loss"]
    loss.backward()
    assert torch.isfinite(loss)


def test_the_twin_is_trained_with_pixel_cross_entropy_at_label_size() -> None:
    torch.manual_seed(0)
    twin = PixelClassifier(PALETTE.to_dict(), tiny_recipe().backbone, vars(tiny_recipe().prior)).eval()
    data = batch(30, 45)
    values = ClassifierTraining(twin, torch.ones(8)).eval()(data)
    expected = F.cross_entropy(twin(data["image"]), data["label"].long(), ignore_index=255)
    assert values["loss"].item() == pytest.approx(expected.item(), rel=1e-5)


def test_class_weights_scale_cells_by_the_mean_of_their_labelled_pixels(model) -> None:
    stage = PriorTraining(model, torch.tensor([1.0, 3.0, 1, 1, 1, 1, 1, 1])).eval()
    labels = torch.full((1, 4, 7), 255, dtype=torch.uint8)  # the right cell reaches over the border
    labels[0, 1:3, 0:2] = torch.tensor([0, 1], dtype=torch.uint8)
    labels[0, 3, 5] = 1
    assert torch.allclose(stage.cell_weights(labels), torch.tensor([[[2.0, 3.0]]]))
    hidden, targets = torch.randn(1, 16, 1, 2), torch.tensor([[[5, 7]]])
    single = [model.token_head.loss(hidden[..., i : i + 1], targets[..., i : i + 1]) for i in range(2)]
    weighted = model.token_head.loss(hidden, targets, stage.cell_weights(labels))
    assert torch.allclose(weighted, (2 * single[0] + 3 * single[1]) / 5)


def test_a_maskige_larger_than_the_image_decides_which_cells_count() -> None:
    """5 pixels become 2 cells of 8 maskige pixels: the fourth column lies in the second cell, not in the first."""
    model = small_model("gss-ff_swin_cityscapes")
    stage = PriorTraining(model, torch.ones(19)).eval()
    labels = torch.full((1, 5, 5), 255, dtype=torch.uint8)
    labels[0, 1, 3] = 7
    kept: list[torch.Tensor] = []
    loss = model.token_head.loss

    def watched(hidden: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        kept.append(targets)
        return loss(hidden, targets, weights)

    model.token_head.loss = watched  # type: ignore[method-assign]
    stage({"image": torch.zeros(1, 3, 5, 5, dtype=torch.uint8), "label": labels})
    assert (kept[0] != model.tokenizer.codes).tolist() == [[[False, True], [False, False]]]
