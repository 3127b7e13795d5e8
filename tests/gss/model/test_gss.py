import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

import gss
from gss.config import DalleConfig, InferenceConfig, InverseConfig
from gss.model.loading import build_gss
from gss.model.views.windows import pad_to_alignment
from gss.palette import Palette
from gss.training.run import save_model
from tests.gss.tiny import tiny_recipe

PALETTE = Palette.named("scenes")


@pytest.fixture(scope="module")
def model() -> gss.GSS:
    torch.manual_seed(0)
    return build_gss(tiny_recipe(), PALETTE).eval()


@pytest.fixture(scope="module")
def twin() -> gss.PixelClassifier:
    torch.manual_seed(0)
    recipe = tiny_recipe()
    return gss.PixelClassifier(PALETTE.to_dict(), recipe.backbone, vars(recipe.prior)).eval()


def photo(height: int, width: int) -> torch.Tensor:
    return torch.randint(256, (3, height, width), generator=torch.Generator().manual_seed(1)).to(torch.uint8)


@pytest.mark.parametrize(("height", "width"), [(32, 48), (37, 53), (1, 1), (4, 130)])
def test_any_size(model, twin, height: int, width: int) -> None:
    image = photo(height, width)
    result = model.predict(image)
    cells = (-(-height // 4), -(-width // 4))
    assert result.labels.shape == (height, width)
    assert result.labels.dtype == torch.uint8
    assert int(result.labels.max()) < 8
    assert result.tokens.shape == cells
    assert result.maskige.shape == (3, 2 * cells[0], 2 * cells[1])
    assert torch.isfinite(result.margin).all()
    plain = twin.predict(image)
    assert plain.labels.shape == (height, width)
    assert plain.tokens is None and plain.maskige is None
    assert plain.margin.min() >= 0 and plain.margin.max() <= 1


def test_labels_are_the_decoded_tokens(model) -> None:
    result = model.predict(photo(32, 48))
    painted = model.tokenizer.decode(result.tokens[None])
    assert torch.equal(model.maskige.decode(painted, size=(32, 48)).labels[0], result.labels)
    assert torch.equal((painted[0] * 255).round().to(torch.uint8), result.maskige)


def test_every_kind_of_source_gives_the_same_labels(model, tmp_path: Path) -> None:
    image = photo(24, 36)
    array = image.permute(1, 2, 0).numpy()
    Image.fromarray(array).save(tmp_path / "street.png")
    expected = model.predict(image)
    from_path = model.predict(tmp_path / "street.png")
    assert from_path.name == "street"
    for result in (from_path, model.predict(str(tmp_path / "street.png")), model.predict(Image.fromarray(array))):
        assert torch.equal(result.labels, expected.labels)
    assert torch.equal(model.predict(array).labels, expected.labels)
    many = model.predict([image, photo(10, 11)])
    assert torch.equal(many[0].labels, expected.labels) and many[1].labels.shape == (10, 11)
    batch = model.predict(torch.stack([image, image]))
    assert len(batch) == 2 and torch.equal(batch[1].labels, expected.labels)
    gray = model.predict(np.zeros((8, 9), np.uint8))
    assert torch.equal(gray.image, torch.zeros(3, 8, 9, dtype=torch.uint8))


@pytest.mark.parametrize(
    ("source", "error", "message"),
    [
        (torch.zeros(3, 8, 8), TypeError, "image: expected uint8 values 0..255, got torch.float32"),
        (torch.zeros(4, 8, 8, dtype=torch.uint8), ValueError, r"image: expected a tensor \(3, H, W\), got \(4, 8, 8\)"),
        (torch.zeros(3, 0, 8, dtype=torch.uint8), ValueError, "image: expected at least one pixel"),
        (np.zeros((8, 8, 4), np.uint8), ValueError, r"expected an array \(H, W, 3\) or \(H, W\), got \(8, 8, 4\)"),
        (7, TypeError, "image: expected a path, PIL image, numpy array or tensor, got int"),
    ],
)
def test_bad_sources_are_named(model, source, error, message: str) -> None:
    with pytest.raises(error, match=message):
        model.predict(source)


@pytest.mark.parametrize("kind", ["model", "twin"])
def test_saved_and_loaded_models_agree(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    original = request.getfixturevalue(kind)
    save_model(original, tmp_path)
    loaded = gss.load(tmp_path)
    assert type(loaded) is type(original)
    assert not loaded.training
    assert loaded.palette == PALETTE
    image = photo(33, 47)
    assert torch.equal(loaded.predict(image).labels, original.predict(image).labels)
    assert loaded.num_parameters() == original.num_parameters()
    assert not [file for file in tmp_path.iterdir() if file.name.startswith(".")]


def test_loading_prints_nothing_on_standard_output(model, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_model(model, tmp_path)
    gss.load(tmp_path)
    assert capsys.readouterr().out == ""


def test_unfinished_and_unknown_runs_are_refused(model, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such run folder; a Hugging Face repository is written hf://"):
        gss.load("runs/typo")
    with pytest.raises(FileNotFoundError, match="no config.json, so this is no finished run"):
        gss.load(tmp_path)
    save_model(model, tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"architecture": "oracle"}))
    with pytest.raises(ValueError, match="unknown architecture 'oracle'"):
        gss.load(tmp_path)


def test_swin_stride_one_needs_equal_channels() -> None:
    recipe = tiny_recipe()
    recipe.prior.swin_stride = 1
    with pytest.raises(ValueError, match=r"swin_channels: expected trunk_channels \(8\)"):
        build_gss(recipe, PALETTE)
    recipe.prior.swin_channels = 8
    assert build_gss(recipe, PALETTE).eval().predict(photo(20, 20)).labels.shape == (20, 20)


def test_backbone_without_a_model_type_is_named() -> None:
    recipe = tiny_recipe(backbone={"depths": [1]})
    with pytest.raises(ValueError, match=r"backbone.model_type: expected the name of a transformers model, got None"):
        build_gss(recipe, PALETTE)


@torch.no_grad()
@pytest.mark.parametrize("share_codes", [False, True])
def test_consensus_decoding_equals_the_votes_counted_one_by_one(model, share_codes: bool) -> None:
    recipe = tiny_recipe()
    recipe.prior.decode = "consensus"
    recipe.prior.share_codes = share_codes
    torch.manual_seed(3)
    voting = build_gss(recipe, PALETTE).eval()
    voting.tokenizer.load_state_dict(model.tokenizer.state_dict())
    head, codebook, patches = voting.token_head, voting.tokenizer.quantizer.codebook, voting.code_patches()
    if share_codes:
        head.code_features.copy_(patches)
    hidden = torch.randn(1, 16, 2, 3) * 20
    tokens, codes, _ = head.consensus(hidden, patches, codebook, 8)
    painted = patches.view(32, 4, 8).argmax(-1)
    for y in range(2):
        for x in range(3):
            probability = (head.weight @ hidden[0, :, y, x] + head.bias).softmax(0)
            agreement = (painted[:, None] == painted[None]).float().mean(-1)
            assert (agreement @ probability)[tokens[0, y, x]] == pytest.approx((agreement @ probability).max().item())
            share = probability * agreement[tokens[0, y, x]]
            assert torch.allclose(codes[0, :, y, x], share @ codebook / share.sum(), atol=1e-5)
    image = photo(32, 48)
    _, hidden = voting.trunk(voting.encoder(image[None]))
    tokens, codes, _ = head.consensus(hidden, patches, codebook, 8)
    result = voting.predict(image)
    assert torch.equal(result.tokens, tokens[0])
    expected = voting.maskige.decode(voting.tokenizer.decode_vectors(codes), size=(32, 48)).labels[0]
    assert torch.equal(result.labels, expected)


def test_damaged_or_unfitting_files_are_refused_by_name(model, tmp_path: Path) -> None:
    save_model(model, tmp_path)
    weights, config = tmp_path / "model.safetensors", tmp_path / "config.json"
    whole, text = weights.read_bytes(), config.read_text()
    tensors = load_file(weights)
    save_file({name: value for name, value in tensors.items() if name != "token_head.free_weight"}, weights)
    with pytest.raises(ValueError, match=r"model.safetensors: .*token_head.free_weight"):
        gss.load(tmp_path)
    weights.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"model.safetensors: damaged"):
        gss.load(tmp_path)
    weights.write_bytes(whole)
    config.write_text(json.dumps(json.loads(text) | {"tokenizer": {"codes": 33}}))
    with pytest.raises(ValueError, match=r"model.safetensors: damaged, or not of the model in config.json"):
        gss.load(tmp_path)
    config.write_text(text[: len(text) // 2])
    with pytest.raises(ValueError, match=r"config.json: no model configuration"):
        gss.load(tmp_path)
    config.write_text(json.dumps({key: value for key, value in json.loads(text).items() if key != "tokenizer"}))
    with pytest.raises(ValueError, match=r"config.json: no configuration of GSS: .*tokenizer"):
        gss.load(tmp_path)
    config.write_text(text)
    assert isinstance(gss.load(tmp_path), gss.GSS)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"out_features": ["stage2", "stage3"]}, "backbone.out_features: expected the finest feature map at a quarter"),
        ({"hiden_sizes": [8]}, "backbone.hiden_sizes: ResNetConfig has no such key; did you mean hidden_sizes?"),
        ({"model_type": "resnetx"}, "backbone.model_type: .* got 'resnetx'; did you mean resnet"),
    ],
)
def test_bad_backbones_are_named(change: dict[str, object], message: str) -> None:
    recipe = tiny_recipe()
    recipe.backbone |= change
    with pytest.raises(ValueError, match=message):
        build_gss(recipe, PALETTE)


def test_shared_token_logits_are_one_linear_layer(model) -> None:
    recipe = tiny_recipe()
    recipe.prior.share_codes = True
    shared = build_gss(recipe, PALETTE).eval()
    patches = shared.code_patches()
    assert patches.shape == (32, 8 * 4)
    assert torch.equal(patches.view(32, 4, 8).sum(-1), torch.ones(32, 4))
    head = shared.token_head
    head.code_features.copy_(patches)
    hidden = torch.randn(1, 16, 2, 3)
    free = torch.einsum("bchw,vc->bhwv", hidden, head.free_weight) + head.free_bias
    painted = torch.einsum("bchw,fc->bhwf", hidden, head.shared.weight) + head.shared.bias
    logits = free + painted @ patches.T
    assert torch.equal(head.tokens(hidden), logits.argmax(-1))
    target = torch.tensor([[[1, 2, 3], [4, 5, 32]]])
    expected = torch.nn.functional.cross_entropy(logits.flatten(0, 2), target.flatten(), ignore_index=32)
    assert torch.allclose(head.loss(hidden, target), expected, atol=1e-5)


def test_a_tokens_patch_is_what_a_block_of_it_decodes_to(model) -> None:
    token = 7
    block = torch.full((1, 3, 3), token)
    labels = model.maskige.decode(model.tokenizer.decode(block)).labels[0, 2:4, 2:4]
    assert torch.equal(model.code_patches()[token].view(4, 8).argmax(-1), labels.flatten().long())


@torch.inference_mode()
def test_windows_average_the_classes_that_the_decoded_pixels_vote_for() -> None:
    recipe = tiny_recipe(inference=InferenceConfig(mode="slide", crop=(32, 32), stride=(16, 16)))
    torch.manual_seed(0)
    sliding = build_gss(recipe, PALETTE).eval()
    image = photo(40, 56)
    total, seen = torch.zeros(8, 40, 56), torch.zeros(40, 56)
    for top in (0, 8):
        for left in (0, 16, 24):
            part = sliding(image[None, :, top : top + 32, left : left + 32])
            painted = sliding.maskige.decode(part.maskige).labels.long()
            votes = torch.nn.functional.one_hot(painted, 8).movedim(-1, 1).float()
            votes = torch.nn.functional.interpolate(votes, size=(32, 32), mode="bilinear", align_corners=False)
            total[:, top : top + 32, left : left + 32] += votes[0]
            seen[top : top + 32, left : left + 32] += 1
    result = sliding.predict(image)
    best = (total / seen).topk(2, 0).values
    clear = best[0] - best[1] > 1e-4  # equal shares may round to either class
    assert clear.float().mean() > 0.9
    assert torch.equal(result.labels.long()[clear], total.argmax(0)[clear])
    assert result.tokens is None and result.maskige is None
    assert sliding.predict(photo(30, 32)).tokens is not None  # one window is one pass


@torch.inference_mode()
@pytest.mark.parametrize("kind", ["convolution", "window"])
def test_a_learned_inverse_decides_and_is_saved(kind: str, tmp_path: Path) -> None:
    inverse = InverseConfig(type=kind, channels=8, heads=2, window=3)
    torch.manual_seed(0)
    model = build_gss(tiny_recipe(inverse=inverse), PALETTE).eval()
    image = photo(33, 47)
    _, maskige = model.paint(model.encoder(pad_to_alignment(image[None])))
    logits = model.inverse.scores(maskige, (36, 48))[0, :, :33, :47]
    result = model.predict(image)
    assert torch.equal(result.labels.long(), logits.argmax(0))
    assert result.margin.min() >= 0 and result.margin.max() <= 1
    assert model.num_parameters()["inverse"] == sum(p.numel() for p in model.inverse.parameters())
    save_model(model, tmp_path)
    assert torch.equal(gss.load(tmp_path).predict(image).labels, result.labels)


def test_the_dalle_tokenizer_works_in_the_model(tmp_path: Path) -> None:
    tokenizer = DalleConfig(codes=32, encoder_width=8, decoder_width=8, code_dim=6, encoder_blocks=1, decoder_blocks=1)
    prior = tiny_recipe().prior
    prior.pixel_branch = "separate"
    torch.manual_seed(0)
    model = build_gss(tiny_recipe(tokenizer=tokenizer, prior=prior), PALETTE).eval()
    result = model.predict(photo(24, 36))
    assert result.tokens.shape == (6, 9) and result.maskige.shape == (3, 48, 72)
    assert not any(p.requires_grad for p in model.tokenizer.parameters())
    save_model(model, tmp_path)
    assert torch.equal(gss.load(tmp_path).predict(photo(24, 36)).labels, result.labels)
