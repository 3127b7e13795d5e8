"""Swin, ResNet-v1c and HRNetV2 against the official ones, through the conversion (03_*, 04_*, 12_official_keys)."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from gss.convert.backbones import load_official_backbone
from gss.model.backbones.image_encoder import ImageEncoder
from tests.official.compare import assert_near
from tests.official.configurations import backbone_of
from tests.official.recordings import Recording, by_name, files, load, load_json

TYPES = {"swin": "SwinTransformer", "resnet": "ResNetV1c", "hrnet": "HRNet"}

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
    """The encoder after normalisation, as recorded."""
    maps = encoder.backbone(image)
    return maps if isinstance(maps, list) else list(maps.feature_maps)


@pytest.fixture(params=files("03_swin*.npz", "04_hrnet*.npz", "04_resnet*.npz"), ids=by_name)
def recorded(request: pytest.FixtureRequest) -> Recording:
    path: Path = request.param
    return load(path)


@pytest.fixture
def encoder(recorded: Recording) -> ImageEncoder:
    encoder = ImageEncoder(backbone_of({"type": TYPES[recorded.kind], **recorded.config["kwargs"]}))
    load_official_backbone(encoder.backbone, recorded.weights)
    return encoder.eval()


@pytest.mark.parametrize("layout", ["contiguous", "channels last"])
def test_maps(recorded: Recording, encoder: ImageEncoder, layout: str) -> None:
    """Channels last is the memory format in which the encoder passes its images on."""
    image = recorded.inputs["image"]
    if layout == "channels last":
        image = image.contiguous(memory_format=torch.channels_last)
    with torch.no_grad():
        maps = maps_of(encoder, image)
    assert len(maps) == len(recorded.group("feat")) == 4
    for level, got in enumerate(maps):
        wanted = recorded.outputs[f"feat{level}"]
        assert_near(recorded.name, f"maps, {layout}", got, wanted, member=f"{level}")


def test_weights_that_do_not_fit_are_all_named(recorded: Recording, encoder: ImageEncoder) -> None:
    before = {name: value.clone() for name, value in encoder.backbone.state_dict().items()}
    weights = {k: v for k, v in recorded.weights.items() if not k.endswith("num_batches_tracked")}
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


@pytest.mark.parametrize("path", files("12_official_keys/*.json"), ids=by_name)
def test_full_size_names_and_shapes(path: Path) -> None:
    content = load_json(path)
    (name,) = (name for name in FULL_SIZE if f"_{name}_" in path.stem)
    with torch.device("meta"):
        encoder = ImageEncoder(backbone_of(FULL_SIZE[name]))
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
