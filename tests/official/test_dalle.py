"""The DALL-E dVAE against the official one, through the public conversion (02_*)."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from gss.convert.dalle import dalle_from_state, official_name, read_dalle
from gss.model.tokenizers.dalle import DalleTokenizer, map_pixels, unmap_pixels
from tests.official.compare import assert_equal, assert_near, assert_same
from tests.official.recordings import FOLDER, Recording, load, load_json

# Two roundings, of the factor and of the sum: a float32 step at 1.
STEP = 2e-7
NOISE_OF_COLORS = 2e-3


@pytest.fixture(scope="module")
def recorded() -> Recording:
    return load(FOLDER / "02_dalle_small.npz")


@pytest.fixture(scope="module")
def tokenizer(recorded: Recording) -> DalleTokenizer:
    return dalle_from_state(recorded.weights)


def one_hot(recorded: Recording) -> Tensor:
    """The recorded tokens, (B, V, h, w) float32."""
    codes = recorded.weights["decoder.blocks.input.w"].shape[1]
    tokens = recorded.inputs["indices"][:, 0].long()
    return torch.nn.functional.one_hot(tokens, codes).permute(0, 3, 1, 2).float()


def test_pixels() -> None:
    recording = load(FOLDER / "02_pixels.npz")
    name, x, wanted = recording.name, recording.inputs["x"], recording.outputs
    assert_near(name, "mapped", map_pixels(x), wanted["mapped"], atol=STEP, rtol=STEP)
    assert_near(name, "unmapped", unmap_pixels(x), wanted["unmapped"], atol=STEP, rtol=STEP)
    assert_near(name, "roundtrip", unmap_pixels(map_pixels(x)), wanted["roundtrip"], atol=2 * STEP, rtol=2 * STEP)


@pytest.mark.parametrize("name", ["image", "image_odd"])
def test_encoder(recorded: Recording, tokenizer: DalleTokenizer, name: str) -> None:
    image, wanted = recorded.inputs[name], recorded.group(f"{name}.")
    assert_near(recorded.name, f"{name}.mapped", map_pixels(image), wanted["mapped"], atol=STEP, rtol=STEP)
    assert_near(recorded.name, f"{name}.logits", tokenizer.encode_logits(image), wanted["logits"])
    assert_equal(recorded.name, f"{name}.indices", tokenizer.encode(image), wanted["indices"])


def test_decoder(recorded: Recording, tokenizer: DalleTokenizer) -> None:
    tokens, hard = recorded.inputs["indices"][:, 0].long(), one_hot(recorded)
    assert_near(recorded.name, "decoder_raw", tokenizer.decoder(hard), recorded.outputs["decoder_raw"])
    for painted in (tokenizer.decode(tokens), tokenizer.decode_weights(hard)):
        assert_near(recorded.name, "rgb255", painted * 255, recorded.outputs["rgb255"], atol=NOISE_OF_COLORS)


def test_decoder_of_soft_codes(recorded: Recording, tokenizer: DalleTokenizer) -> None:
    dense, wanted = recorded.inputs["dense_code"], recorded.outputs["decoder_raw_from_dense"]
    mixtures = torch.einsum("bvhw,vd->bdhw", dense, tokenizer.codebook)
    for raw in (tokenizer.decoder(dense), tokenizer.decoder.from_vectors(mixtures)):
        assert_near(recorded.name, "decoder_raw_from_dense", raw, wanted)


def test_straight_through(recorded: Recording, tokenizer: DalleTokenizer) -> None:
    """The value is that of the hard tokens, the gradient that of the soft ones."""
    hard = one_hot(recorded)
    logits = (5 * hard).requires_grad_()
    soft = logits.softmax(1)
    painted = tokenizer.decode_weights(hard + soft - soft.detach())
    assert_near(recorded.name, "rgb255", painted * 255, recorded.outputs["rgb255"], atol=NOISE_OF_COLORS)
    painted.square().sum().backward()
    assert logits.grad is not None and logits.grad.abs().sum() > 0


@pytest.mark.parametrize("zipped", [True, False])
def test_state_dicts_in_files(recorded: Recording, zipped: bool, tmp_path: Path) -> None:
    for part in ("encoder", "decoder"):
        own = {k.removeprefix(f"{part}."): v for k, v in recorded.weights.items() if k.startswith(f"{part}.")}
        torch.save(own, tmp_path / f"{part}.pkl", _use_new_zipfile_serialization=zipped)
    tokenizer = read_dalle(tmp_path / "encoder.pkl", tmp_path / "decoder.pkl")
    found = tokenizer.encode(recorded.inputs["image"])
    assert_equal(recorded.name, "image.indices", found, recorded.outputs["image.indices"])


def test_full_size() -> None:
    recorded = load_json(FOLDER / "02_dalle_default_keys.json")
    with torch.device("meta"):
        tokenizer = DalleTokenizer()
    shapes = {official_name(name): list(tensor.shape) for name, tensor in tokenizer.state_dict().items()}
    for part in ("encoder", "decoder"):
        own = {key.removeprefix(f"{part}."): shape for key, shape in shapes.items() if key.startswith(f"{part}.")}
        assert_same("02_dalle_default_keys", f"{part}, names and shapes", own, recorded[part])
        assert sum(p.numel() for p in getattr(tokenizer, part).parameters()) == recorded[f"{part}_n_params"]
