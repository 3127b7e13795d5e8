"""Swin, ResNet-v1c and HRNetV2 against tensors recorded from the official implementation, through the conversion.

Set GSS_OFFICIAL_FIXTURES to the folder that holds 03_swin.npz, 04_*.npz and 12_official_keys; without it these tests
are skipped.
"""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from gss.backbones import ImageEncoder
from gss.convert.backbone_config import backbone_config
from gss.convert.backbones import load_official_backbone

FOLDER = os.environ.get("GSS_OFFICIAL_FIXTURES")
TYPES = {"swin": "SwinTransformer", "resnet": "ResNetV1c", "hrnet": "HRNet"}
RECORDINGS = sorted([*Path(FOLDER).glob("03_*.npz"), *Path(FOLDER).glob("04_*.npz")]) if FOLDER else []
KEYS = sorted(Path(FOLDER, "12_official_keys").glob("*.json")) if FOLDER else []
# Both sides are float32. The official code itself moves by up to 1.2e-5 with other kernels.
TOLERANCE = {"rtol": 1e-4, "atol": 1e-4}

# The backbones of the ten official configurations, as these write them.
BRANCHES = [[48 * 2**i for i in range(n)] for n in (2, 3, 4)]
SYNCHRONISED = {"type": "SyncBN", "requires_grad": True}
FULL_SIZE: dict[str, dict[str, Any]] = {
    "swin-l": {
        "type": "SwinTransformer",
        "embed_dims": 192,
        "depths": [2, 2, 18, 2],
        "num_heads": [6, 12, 24, 48],
        "window_size": 12,
        "patch_size": 4,
        "mlp_ratio": 4,
        "qkv_bias": True,
        "drop_path_rate": 0.3,
        "use_abs_pos_embed": False,
    },
    "r101": {
        "type": "ResNetV1c",
        "depth": 101,
        "num_stages": 4,
        "out_indices": (0, 1, 2, 3),
        "strides": (1, 2, 1, 1),
        "dilations": (1, 1, 2, 4),
        "norm_cfg": SYNCHRONISED,
        "norm_eval": False,
        "style": "pytorch",
        "contract_dilation": True,
    },
    "hrnet-w48": {
        "type": "HRNet",
        "norm_cfg": SYNCHRONISED,
        "norm_eval": False,
        "extra": {
            "stage1": {"num_modules": 1, "block": "BOTTLENECK", "num_blocks": (4,), "num_channels": (64,)},
            **{
                f"stage{n + 2}": {"num_modules": m, "block": "BASIC", "num_blocks": (4,) * len(c), "num_channels": c}
                for n, (m, c) in enumerate(zip((1, 4, 3), BRANCHES, strict=True))
            },
        },
    },
}


def maps_of(encoder: ImageEncoder, image: Tensor) -> list[Tensor]:
    """What the encoder does after normalising, which the recordings leave out."""
    maps = encoder.backbone(image)
    return maps if isinstance(maps, list) else list(maps.feature_maps)


def test_there_are_recordings() -> None:
    assert {p.stem for p in RECORDINGS} >= {"03_swin", "04_hrnet", "04_resnetv1c"} and KEYS


@pytest.fixture(params=RECORDINGS, ids=lambda p: p.stem)
def recorded(request: pytest.FixtureRequest) -> dict[str, Any]:
    with np.load(request.param) as arrays:
        content: dict[str, Any] = {k: torch.from_numpy(arrays[k]) for k in arrays.files if k != "meta_json"}
        meta = json.loads(bytes(arrays["meta_json"]).decode())
    content["weights"] = {k.removeprefix("sd/"): v for k, v in content.items() if k.startswith("sd/")}
    content["config"] = {"type": TYPES[meta["kind"]], **meta["cfg"]["kwargs"]}
    return content


@pytest.fixture
def encoder(recorded: dict[str, Any]) -> ImageEncoder:
    encoder = ImageEncoder(backbone_config(recorded["config"]))
    load_official_backbone(encoder.backbone, recorded["weights"])
    return encoder.eval()


def test_maps(recorded: dict[str, Any], encoder: ImageEncoder) -> None:
    count = sum(name.startswith("out/feat") for name in recorded)
    with torch.no_grad():
        maps = maps_of(encoder, recorded["in/image"])
    assert len(maps) == count == 4
    for level, got in enumerate(maps):
        torch.testing.assert_close(got, recorded[f"out/feat{level}"], **TOLERANCE)


def test_channels_last_maps(recorded: dict[str, Any], encoder: ImageEncoder) -> None:
    """The memory format in which the encoder passes its images on."""
    image = recorded["in/image"].contiguous(memory_format=torch.channels_last)
    with torch.no_grad():
        for level, got in enumerate(maps_of(encoder, image)):
            torch.testing.assert_close(got, recorded[f"out/feat{level}"], **TOLERANCE)


def test_weights_that_do_not_fit_are_all_named(recorded: dict[str, Any], encoder: ImageEncoder) -> None:
    before = {name: value.clone() for name, value in encoder.backbone.state_dict().items()}
    weights = {k: v for k, v in recorded["weights"].items() if not k.endswith("num_batches_tracked")}
    lost, renamed, narrow = [*weights][0], [*weights][-2], [*weights][-1]
    changed = {k: v + 1 if v.is_floating_point() else v for k, v in weights.items() if k != lost}
    changed["unheard.of"] = changed.pop(renamed)
    changed[narrow] = changed[narrow][:-1]
    with pytest.raises(ValueError, match="do not fit") as error:
        load_official_backbone(encoder.backbone, changed)
    message = str(error.value)
    assert f"2 missing: {lost}, {renamed}" in message and "1 unexpected: unheard.of" in message
    assert f"1 of another shape: {narrow} ({len(changed[narrow])},) instead of ({len(weights[narrow])},)" in message
    after = encoder.backbone.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize("path", KEYS, ids=lambda p: p.stem)
def test_full_size_names_and_shapes(path: Path) -> None:
    content = json.loads(path.read_text("utf-8"))
    (name,) = (name for name in FULL_SIZE if f"_{name}_" in path.stem)
    with torch.device("meta"):
        encoder = ImageEncoder(backbone_config(FULL_SIZE[name]))
        official = {
            key.removeprefix("backbone."): torch.empty(shape)
            for key, shape in content["shapes"].items()
            if key.startswith("backbone.")
        }
    # Strict: a name too many, too few or of another shape raises.
    load_official_backbone(encoder.backbone, official)
    parameters = {n: p.numel() for n, p in encoder.backbone.named_parameters()}
    # transformers' Swin has the classifier's norm, which the maps do not pass through.
    unused = sum(count for n, count in parameters.items() if n.startswith("swin.layernorm."))
    assert sum(parameters.values()) - unused == content["params_backbone"]
