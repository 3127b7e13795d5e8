"""The DALL-E dVAE against tensors recorded from the official implementation, through the public conversion.

Set GSS_OFFICIAL_FIXTURES to the folder that holds 02_*; without it these tests are skipped.
"""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gss.convert.dalle import dalle_from_state, official_name, read_dalle
from gss.tokenizers.dalle import DalleTokenizer, map_pixels, unmap_pixels

FOLDER = Path(os.environ.get("GSS_OFFICIAL_FIXTURES", ""))


def load(name: str) -> dict[str, Any]:
    with np.load(FOLDER / name) as arrays:
        return {key: torch.from_numpy(arrays[key]) for key in arrays.files if key != "meta_json"}


def assert_near(got: torch.Tensor, wanted: torch.Tensor, atol: float = 1e-4, rtol: float = 1e-4) -> None:
    print(f"largest difference {(got - wanted).abs().max():.2e} (atol {atol:g}, rtol {rtol:g})")
    torch.testing.assert_close(got, wanted, atol=atol, rtol=rtol)


@pytest.fixture(scope="module")
def recorded() -> dict[str, Any]:
    return load("02_dalle_small.npz")


@pytest.fixture(scope="module")
def state(recorded: dict[str, Any]) -> dict[str, torch.Tensor]:
    return {key.removeprefix("sd/"): value for key, value in recorded.items() if key.startswith("sd/")}


@pytest.fixture(scope="module")
def tokenizer(state: dict[str, torch.Tensor]) -> DalleTokenizer:
    return dalle_from_state(state)


def test_pixels() -> None:
    recorded = load("02_pixels.npz")
    x = recorded["in/x"]
    # Two roundings, of the factor and of the sum: a float32 step at 1.
    assert_near(map_pixels(x), recorded["out/mapped"], atol=2e-7, rtol=2e-7)
    assert_near(unmap_pixels(x), recorded["out/unmapped"], atol=2e-7, rtol=2e-7)
    assert_near(unmap_pixels(map_pixels(x)), recorded["out/roundtrip"], atol=4e-7, rtol=4e-7)


@pytest.mark.parametrize("name", ["image", "image_odd"])
def test_encoder(recorded: dict[str, Any], tokenizer: DalleTokenizer, name: str) -> None:
    image = recorded[f"in/{name}"]
    assert_near(map_pixels(image), recorded[f"out/{name}.mapped"], atol=2e-7, rtol=2e-7)
    assert_near(tokenizer.encode_logits(image), recorded[f"out/{name}.logits"])
    assert torch.equal(tokenizer.encode(image), recorded[f"out/{name}.indices"].long())


def test_decoder(recorded: dict[str, Any], tokenizer: DalleTokenizer) -> None:
    tokens = recorded["in/indices"][:, 0].long()
    one_hot = torch.nn.functional.one_hot(tokens, tokenizer.codes).permute(0, 3, 1, 2).float()
    assert_near(tokenizer.decoder(one_hot), recorded["out/decoder_raw"])
    assert_near(tokenizer.decode(tokens) * 255, recorded["out/rgb255"], atol=2e-3)
    assert_near(tokenizer.decode_weights(one_hot) * 255, recorded["out/rgb255"], atol=2e-3)


def test_decoder_of_soft_codes(recorded: dict[str, Any], tokenizer: DalleTokenizer) -> None:
    dense, wanted = recorded["in/dense_code"], recorded["out/decoder_raw_from_dense"]
    assert_near(tokenizer.decoder(dense), wanted)
    mixtures = torch.einsum("bvhw,vd->bdhw", dense, tokenizer.codebook)
    assert_near(tokenizer.decoder.from_vectors(mixtures), wanted)


def test_straight_through(recorded: dict[str, Any], tokenizer: DalleTokenizer) -> None:
    """The value is that of the hard tokens, the gradient that of the soft ones."""
    tokens = recorded["in/indices"][:, 0].long()
    hard = torch.nn.functional.one_hot(tokens, tokenizer.codes).permute(0, 3, 1, 2).float()
    logits = (5 * hard).requires_grad_()
    soft = logits.softmax(1)
    painted = tokenizer.decode_weights(hard + soft - soft.detach())
    assert_near(painted * 255, recorded["out/rgb255"], atol=2e-3)
    painted.square().sum().backward()
    assert logits.grad is not None and logits.grad.abs().sum() > 0


@pytest.mark.parametrize("zipped", [True, False])
def test_state_dicts_in_files(
    recorded: dict[str, Any], state: dict[str, torch.Tensor], zipped: bool, tmp_path: Path
) -> None:
    for part in ("encoder", "decoder"):
        own = {key.removeprefix(f"{part}."): value for key, value in state.items() if key.startswith(f"{part}.")}
        torch.save(own, tmp_path / f"{part}.pkl", _use_new_zipfile_serialization=zipped)
    tokenizer = read_dalle(tmp_path / "encoder.pkl", tmp_path / "decoder.pkl")
    assert torch.equal(tokenizer.encode(recorded["in/image"]), recorded["out/image.indices"].long())


def test_full_size() -> None:
    recorded = json.loads((FOLDER / "02_dalle_default_keys.json").read_text())
    with torch.device("meta"):
        tokenizer = DalleTokenizer()
    shapes = {official_name(name): list(tensor.shape) for name, tensor in tokenizer.state_dict().items()}
    for part in ("encoder", "decoder"):
        own = {key.removeprefix(f"{part}."): shape for key, shape in shapes.items() if key.startswith(f"{part}.")}
        assert own == recorded[part]
        assert sum(p.numel() for p in getattr(tokenizer, part).parameters()) == recorded[f"{part}_n_params"]
