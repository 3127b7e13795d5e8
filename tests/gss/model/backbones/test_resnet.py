from typing import Any

import pytest
import torch
from torch import nn

from gss.model.backbones.image_encoder import ImageEncoder
from gss.model.backbones.resnet import ResNetV1c

SMALL: dict[str, Any] = {"depth": 18, "stem_channels": 4, "base_channels": 2}


def strides(backbone: nn.Module, side: int = 64) -> list[float]:
    with torch.no_grad():
        return [side / y.shape[-1] for y in backbone.eval()(torch.zeros(1, 3, side, side))]


def test_maps_of_the_official_strides() -> None:
    backbone = ResNetV1c(depth=50, stem_channels=4, base_channels=2).eval()
    with torch.no_grad():
        maps = backbone(torch.randn(2, 3, 67, 90))
    assert [tuple(y.shape) for y in maps] == [(2, 8, 17, 23), (2, 16, 9, 12), (2, 32, 9, 12), (2, 64, 9, 12)]
    assert backbone.channels == [8, 16, 32, 64]
    assert all(y.dtype == torch.float32 for y in maps)


def test_strides_and_dilations_per_stage() -> None:
    assert strides(ResNetV1c(**SMALL, strides=(1, 2, 2, 2), dilations=(1, 1, 1, 1))) == [4, 8, 16, 32]
    assert strides(ResNetV1c(**SMALL, strides=(1, 2, 2, 1), dilations=(1, 1, 1, 2))) == [4, 8, 16, 16]


def test_contracted_dilations() -> None:
    """The first block of a stage dilated by d has d / 2, without contraction d as the others."""

    def dilations(contract: bool) -> list[list[int]]:
        backbone = ResNetV1c(depth=50, stem_channels=4, base_channels=2, contract_dilation=contract)
        stages = (backbone.layer3, backbone.layer4)
        return [[block.get_submodule("conv2").dilation[0] for block in stage] for stage in stages]

    assert dilations(True) == [[1, 2, 2, 2, 2, 2], [2, 4, 4]]
    assert dilations(False) == [[2, 2, 2, 2, 2, 2], [4, 4, 4]]


def test_a_fresh_block_is_its_shortcut() -> None:
    block = ResNetV1c(**SMALL).eval().layer1[1]
    x = torch.rand(1, 2, 5, 5)
    assert torch.equal(block(x), x)


def test_every_parameter_gets_a_gradient() -> None:
    torch.manual_seed(0)
    backbone = ResNetV1c(**SMALL)
    for parameter in backbone.parameters():
        # a fresh block ignores its convolutions
        nn.init.normal_(parameter, 0.1, 0.3)
    sum(y.square().mean() for y in backbone(torch.randn(2, 3, 64, 64))).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in backbone.parameters())


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_dtypes(dtype: torch.dtype) -> None:
    backbone = ResNetV1c(**SMALL).to(dtype).eval()
    assert all(y.dtype == dtype for y in backbone(torch.randn(1, 3, 32, 32, dtype=dtype)))


def test_frozen_stages_keep_weights_and_statistics() -> None:
    torch.manual_seed(0)
    backbone = ResNetV1c(**SMALL, frozen_stages=1).train()
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    sum(y.mean() for y in backbone(torch.randn(2, 3, 64, 64))).backward()
    frozen = {name for name, p in backbone.named_parameters() if not p.requires_grad}
    assert frozen == {n for n, _ in backbone.named_parameters() if n.startswith(("stem.", "layer1."))}
    after = backbone.state_dict()
    moved = {name for name in after if not torch.equal(before[name], after[name])}
    assert not any(name.startswith(("stem.", "layer1.")) for name in moved)
    assert "layer2.0.bn1.running_mean" in moved


def test_norm_eval_keeps_all_statistics_but_trains() -> None:
    backbone = ResNetV1c(**SMALL, norm_eval=True).train()
    assert backbone.training
    norms = [m for m in backbone.modules() if isinstance(m, nn.BatchNorm2d)]
    assert norms and not any(m.training for m in norms) and all(p.requires_grad for p in backbone.parameters())


def test_synchronised_norms_have_the_same_weights_and_outputs() -> None:
    torch.manual_seed(0)
    plain, synchronised = ResNetV1c(**SMALL), ResNetV1c(**SMALL, sync_batch_norm=True)
    synchronised.load_state_dict(plain.state_dict())
    assert sum(isinstance(m, nn.SyncBatchNorm) for m in synchronised.modules()) == 3 + 2 * 8 + 4
    x = torch.randn(2, 3, 32, 32)
    assert all(torch.equal(a, b) for a, b in zip(plain(x), synchronised(x), strict=True))


def test_the_image_encoder_builds_it() -> None:
    encoder = ImageEncoder({"model_type": "resnet_v1c", **SMALL}).eval()
    maps = encoder(torch.randint(256, (1, 3, 64, 96)).to(torch.uint8))
    assert [tuple(y.shape) for y in maps] == [(1, 2, 16, 24), (1, 4, 8, 12), (1, 8, 8, 12), (1, 16, 8, 12)]
    assert encoder.channels == [2, 4, 8, 16]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"depth": 99}, "backbone.depth: expected one of 18, 34, 50, 101, 152, got 99"),
        ({"strides": [1, 2, 1]}, "backbone.strides: expected four positive numbers"),
        ({"dilations": [1, 1, 0, 1]}, "backbone.dilations: expected four positive numbers"),
        ({"stem_channels": 7}, "backbone.stem_channels: expected a positive even number, got 7"),
        ({"base_channels": 0}, "backbone.base_channels: expected a positive number, got 0"),
        ({"frozen_stages": 5}, "backbone.frozen_stages: expected one of"),
        ({"dilation": 2}, "backbone.dilation: ResNetV1c has no such key; did you mean dilations"),
        ({"strides": [2, 1, 1, 1]}, "backbone.out_features: expected the finest feature map at a quarter"),
    ],
)
def test_wrong_configurations(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message.replace(".", r"\.")):
        ImageEncoder({"model_type": "resnet_v1c", **SMALL, **change})
