import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from gss.model.backbones.hrnet import HRNetV2, hrnet_stages
from gss.model.backbones.image_encoder import ImageEncoder
from gss.model.gss import GSS
from gss.model.loading import build_gss
from gss.palette import Palette
from tests.gss.tiny import tiny_recipe

STAGES: list[dict[str, Any]] = [
    {"modules": 1, "block": "bottleneck", "blocks": [1], "channels": [4]},
    {"modules": 1, "block": "basic", "blocks": [1, 1], "channels": [2, 4]},
    {"modules": 2, "block": "basic", "blocks": [1, 2, 1], "channels": [2, 4, 8]},
    {"modules": 1, "block": "basic", "blocks": [1, 1, 1, 1], "channels": [2, 4, 8, 16]},
]


def test_maps_at_four_strides() -> None:
    backbone = HRNetV2(stages=STAGES).eval()
    with torch.no_grad():
        maps = backbone(torch.randn(2, 3, 70, 101))
    assert [tuple(y.shape) for y in maps] == [(2, 2, 18, 26), (2, 4, 9, 13), (2, 8, 5, 7), (2, 16, 3, 4)]
    assert backbone.channels == [2, 4, 8, 16]


def test_the_published_layout() -> None:
    stages = hrnet_stages(48)
    assert [s["modules"] for s in stages] == [1, 1, 4, 3]
    assert stages[3] == {"modules": 3, "block": "basic", "blocks": [4] * 4, "channels": [48, 96, 192, 384]}
    with torch.device("meta"):
        assert HRNetV2(width=18).channels == [18, 36, 72, 144]


def test_branches_may_have_bottlenecks_and_change_channels() -> None:
    stages = copy.deepcopy(STAGES)
    stages[2] |= {"block": "bottleneck", "channels": [1, 2, 3]}
    assert [y.shape[1] for y in HRNetV2(stages=stages)(torch.randn(2, 3, 64, 64))] == [2, 4, 8, 16]


def test_every_parameter_gets_a_gradient() -> None:
    torch.manual_seed(0)
    backbone = HRNetV2(stages=STAGES)
    sum(y.square().mean() for y in backbone(torch.randn(2, 3, 64, 64))).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in backbone.parameters())


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_dtypes(dtype: torch.dtype) -> None:
    backbone = HRNetV2(stages=STAGES).to(dtype).eval()
    assert all(y.dtype == dtype for y in backbone(torch.randn(1, 3, 36, 44, dtype=dtype)))


@pytest.mark.parametrize(
    ("stages", "prefixes"),
    [
        (0, ("conv1.", "bn1.", "conv2.", "bn2.")),
        (2, ("conv1.", "bn1.", "conv2.", "bn2.", "layer1.", "transition1.", "stage2.", "transition2.")),
    ],
)
def test_frozen_stages_keep_weights_and_statistics(stages: int, prefixes: tuple[str, ...]) -> None:
    backbone = HRNetV2(stages=STAGES, frozen_stages=stages).train()
    trained = {name for name, p in backbone.named_parameters() if p.requires_grad}
    assert trained == {name for name, _ in backbone.named_parameters() if not name.startswith(prefixes)}
    norms = {name: m for name, m in backbone.named_modules() if isinstance(m, nn.BatchNorm2d)}
    assert all(m.training != f"{name}.".startswith(prefixes) for name, m in norms.items())


def test_all_of_it_can_be_frozen_and_stays_so_with_synchronised_norms() -> None:
    backbone = nn.SyncBatchNorm.convert_sync_batchnorm(HRNetV2(stages=STAGES, frozen_stages=4)).train()
    assert not any(p.requires_grad for p in backbone.parameters())
    norms = [m for m in backbone.modules() if isinstance(m, nn.SyncBatchNorm)]
    assert norms and not any(m.training for m in norms)


def test_the_image_encoder_builds_it() -> None:
    encoder = ImageEncoder({"model_type": "hrnet_v2", "stages": STAGES}).eval()
    maps = encoder(torch.randint(256, (1, 3, 64, 96)).to(torch.uint8))
    assert [tuple(y.shape) for y in maps] == [(1, 2, 16, 24), (1, 4, 8, 12), (1, 8, 4, 6), (1, 16, 2, 3)]


def test_a_model_with_it_is_saved_and_loaded(tmp_path: Path) -> None:
    recipe = tiny_recipe(backbone={"model_type": "hrnet_v2", "stages": STAGES})
    model = build_gss(recipe, Palette.named("scenes")).eval()
    model.save_pretrained(tmp_path)
    loaded = GSS.from_pretrained(tmp_path)
    image = torch.randint(256, (1, 3, 64, 64)).to(torch.uint8)
    assert all(torch.equal(a, b) for a, b in zip(model.encoder(image), loaded.encoder(image), strict=True))


@pytest.mark.parametrize(
    ("index", "change", "message"),
    [
        (0, {"modules": 2}, r"backbone\.stages\[0\]\.modules: expected 1, got 2"),
        (2, {"modules": 0}, r"backbone\.stages\[2\]\.modules: expected a positive number, got 0"),
        (1, {"block": "basik"}, r"backbone\.stages\[1\]\.block: expected one of basic, bottleneck, got 'basik'"),
        (1, {"channels": [2]}, r"backbone\.stages\[1\]\.channels: expected 2 positive numbers, got \[2\]"),
        (3, {"depth": 3}, r"backbone\.stages\[3\]: expected the keys block, blocks, channels, modules, got"),
    ],
)
def test_wrong_layouts(index: int, change: dict[str, Any], message: str) -> None:
    stages = copy.deepcopy(STAGES)
    stages[index].update(change)
    with pytest.raises(ValueError, match=message):
        ImageEncoder({"model_type": "hrnet_v2", "stages": stages})


def test_three_stages_are_refused() -> None:
    with pytest.raises(ValueError, match="stages: expected four, got 3"):
        HRNetV2(stages=STAGES[:3])
