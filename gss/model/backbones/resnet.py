"""ResNet-v1c with dilated stages (He et al. 2016; the stem of three 3x3 convolutions of He et al. 2019).

transformers' ResNet has the 7x7 stem and no dilations. GSS uses depth 101 with strides 1, 2, 1, 1 and dilations
1, 1, 2, 4: maps at strides 4, 8, 8, 8 (paper section 4.1, official configuration gss-ff_r101).
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from gss.model.backbones.residual import (
    BasicBlock,
    Bottleneck,
    FreezableBackbone,
    batch_norm,
    convolution,
    require_choice,
)

# depth -> block and the number of blocks in each stage
LAYOUTS: dict[int, tuple[type[BasicBlock] | type[Bottleneck], tuple[int, int, int, int]]] = {
    18: (BasicBlock, (2, 2, 2, 2)),
    34: (BasicBlock, (3, 4, 6, 3)),
    50: (Bottleneck, (3, 4, 6, 3)),
    101: (Bottleneck, (3, 4, 23, 3)),
    152: (Bottleneck, (3, 8, 36, 3)),
}


class ResNetV1c(FreezableBackbone):
    """Normalised images (B, 3, H, W) -> the maps of the four stages, finest first.

    Args:
        depth: 18, 34, 50, 101 or 152.
        stem_channels: channels after the stem, even; its first two convolutions have half of them.
        base_channels: inner channels of the first stage, doubled from stage to stage.
        strides, dilations: one per stage.
        contract_dilation: the first block of a dilated stage has half its dilation, as the stride it stands for asks.
        frozen_stages: -1 trains everything, 0 freezes the stem, n the stem and the first n stages.
        norm_eval: batch norms keep their running statistics in training mode.
        sync_batch_norm: batch statistics over all processes.

    Attributes:
        channels: of the four maps.

    Raises:
        ValueError: a depth without a layout, not four strides or dilations, a number out of range.
    """

    def __init__(
        self,
        depth: int = 101,
        stem_channels: int = 64,
        base_channels: int = 64,
        strides: Sequence[int] = (1, 2, 1, 1),
        dilations: Sequence[int] = (1, 1, 2, 4),
        contract_dilation: bool = True,
        frozen_stages: int = -1,
        norm_eval: bool = False,
        sync_batch_norm: bool = False,
    ) -> None:
        super().__init__()
        require_choice("depth", depth, list(LAYOUTS))
        require_choice("frozen_stages", frozen_stages, range(-1, 5))
        for name, values in (("strides", strides), ("dilations", dilations)):
            if len(values) != 4 or min(values) < 1:
                raise ValueError(f"{name}: expected four positive numbers, one a stage, got {list(values)}")
        if stem_channels < 2 or stem_channels % 2:
            raise ValueError(f"stem_channels: expected a positive even number, got {stem_channels}")
        if base_channels < 1:
            raise ValueError(f"base_channels: expected a positive number, got {base_channels}")
        block, blocks = LAYOUTS[depth]
        self.stem = _stem(stem_channels, sync_batch_norm)
        stages: list[nn.Sequential] = []
        self.channels: list[int] = []
        inputs = stem_channels
        for index, (stride, dilation) in enumerate(zip(strides, dilations, strict=True)):
            channels = base_channels * 2**index
            first = dilation // 2 if contract_dilation and dilation > 1 else dilation
            stage = [block(inputs, channels, stride, first, sync_batch_norm)]
            inputs = channels * block.expansion
            stage += [block(inputs, channels, 1, dilation, sync_batch_norm) for _ in range(blocks[index] - 1)]
            stages.append(nn.Sequential(*stage))
            self.channels.append(inputs)
        self.layer1, self.layer2, self.layer3, self.layer4 = stages
        self.initialise()
        for module in self.modules():
            # Every block starts as its shortcut alone, which trains deep networks better (Goyal et al. 2017).
            if isinstance(module, BasicBlock | Bottleneck):
                last = module.bn2 if isinstance(module, BasicBlock) else module.bn3
                nn.init.zeros_(last.get_parameter("weight"))
        self.freeze(["stem", "layer1", "layer2", "layer3", "layer4"][: frozen_stages + 1], norm_eval)

    def forward(self, x: Tensor) -> list[Tensor]:
        x = F.max_pool2d(self.stem(x), 3, stride=2, padding=1)
        maps = []
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = stage(x)
            maps.append(x)
        return maps


def _stem(channels: int, sync: bool) -> nn.Sequential:
    layers: list[nn.Module] = []
    for inputs, outputs, stride in (
        (3, channels // 2, 2),
        (channels // 2, channels // 2, 1),
        (channels // 2, channels, 1),
    ):
        layers += [convolution(inputs, outputs, 3, stride), batch_norm(outputs, sync), nn.ReLU()]
    return nn.Sequential(*layers)
