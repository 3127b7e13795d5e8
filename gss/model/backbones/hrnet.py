"""HRNetV2 (Wang et al. 2020): branches at strides 4, 8, 16 and 32 side by side, exchanging features again and again.

transformers has no HRNet. GSS uses width 48 on MSeg (official configuration gss-ff_hrnet-w48).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

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

BLOCKS: dict[str, type[BasicBlock] | type[Bottleneck]] = {"basic": BasicBlock, "bottleneck": Bottleneck}
STAGE_KEYS = {"modules", "block", "blocks", "channels"}
STEM_CHANNELS = 64


def hrnet_stages(width: int) -> list[dict[str, Any]]:
    """The published layout of that width (18, 32, 40, 48, ...), as HRNetV2 takes it."""
    if width < 1:
        raise ValueError(f"width: expected a positive number, got {width}")
    stages: list[dict[str, Any]] = [{"modules": 1, "block": "bottleneck", "blocks": [4], "channels": [64]}]
    for branches, modules in ((2, 1), (3, 4), (4, 3)):
        channels = [width * 2**i for i in range(branches)]
        stages.append({"modules": modules, "block": "basic", "blocks": [4] * branches, "channels": channels})
    return stages


class HRNetV2(FreezableBackbone):
    """Normalised images (B, 3, H, W) -> the maps of the four branches at strides 4, 8, 16 and 32, finest first.

    Args:
        width: channels of the finest branch in the published layout.
        stages: another layout, in place of `width`: four mappings with `modules`, `block` ("basic" or "bottleneck"),
            and for every branch, of which stage n has n, `blocks` in a module and inner `channels`. The first stage has
            one module.
        frozen_stages: -1 trains everything, 0 freezes the stem, n the first n stages too, with the transitions
            that follow them.
        norm_eval: batch norms keep their running statistics in training mode.
        sync_batch_norm: batch statistics over all processes.

    Attributes:
        channels: of the four maps.

    Raises:
        ValueError: a layout that is not as described, a number out of range.
    """

    def __init__(
        self,
        width: int = 48,
        stages: Sequence[Mapping[str, Any]] | None = None,
        frozen_stages: int = -1,
        norm_eval: bool = False,
        sync_batch_norm: bool = False,
    ) -> None:
        super().__init__()
        require_choice("frozen_stages", frozen_stages, range(-1, 5))
        layout = hrnet_stages(width) if stages is None else stages
        _check(layout)
        sync = sync_batch_norm
        self.conv1 = convolution(3, STEM_CHANNELS, 3, stride=2)
        self.bn1 = batch_norm(STEM_CHANNELS, sync)
        self.conv2 = convolution(STEM_CHANNELS, STEM_CHANNELS, 3, stride=2)
        self.bn2 = batch_norm(STEM_CHANNELS, sync)
        first = layout[0]
        block = BLOCKS[first["block"]]
        self.layer1 = _branch(block, STEM_CHANNELS, first["channels"][0], first["blocks"][0], sync)
        channels = [first["channels"][0] * block.expansion]
        transitions: list[nn.ModuleList] = []
        exchanges: list[nn.Sequential] = []
        for stage in layout[1:]:
            block = BLOCKS[stage["block"]]
            wanted = [c * block.expansion for c in stage["channels"]]
            transitions.append(_transition(channels, wanted, sync))
            modules = [ExchangeModule(block, stage["channels"], stage["blocks"], sync) for _ in range(stage["modules"])]
            exchanges.append(nn.Sequential(*modules))
            channels = wanted
        self.transition1, self.transition2, self.transition3 = transitions
        self.stage2, self.stage3, self.stage4 = exchanges
        self.channels: list[int] = channels
        self.initialise()
        parts = [
            ["conv1", "bn1", "conv2", "bn2"],
            ["layer1", "transition1"],
            ["stage2", "transition2"],
            ["stage3", "transition3"],
            ["stage4"],
        ]
        self.freeze([name for part in parts[: frozen_stages + 1] for name in part], norm_eval)

    def forward(self, x: Tensor) -> list[Tensor]:
        x = F.relu(self.bn1(self.conv1(x)))
        x = F.relu(self.bn2(self.conv2(x)))
        maps = [self.layer1(x)]
        for transition, stage in (
            (self.transition1, self.stage2),
            (self.transition2, self.stage3),
            (self.transition3, self.stage4),
        ):
            # A new branch starts from the coarsest one so far.
            maps = stage([step(maps[min(i, len(maps) - 1)]) for i, step in enumerate(transition)])
        return maps


class ExchangeModule(nn.Module):
    """Residual blocks on every branch, then each branch becomes the sum of all, brought to its size and channels."""

    def __init__(
        self, block: type[BasicBlock] | type[Bottleneck], channels: Sequence[int], blocks: Sequence[int], sync: bool
    ) -> None:
        super().__init__()
        outputs = [c * block.expansion for c in channels]
        pairs = zip(outputs, channels, blocks, strict=True)
        self.branches = nn.ModuleList(_branch(block, width, inner, count, sync) for width, inner, count in pairs)
        self.fuse_layers = nn.ModuleList(
            nn.ModuleList(_exchange(outputs, source, target, sync) for source in range(len(outputs)))
            for target in range(len(outputs))
        )

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        maps = [branch(x) for branch, x in zip(self.branches, maps, strict=True)]
        fused = []
        for target, sources in enumerate(self.fuse_layers):
            assert isinstance(sources, nn.ModuleList)
            size = maps[target].shape[-2:]
            total = _resized(sources[0](maps[0]), size)
            for source in range(1, len(maps)):
                total = total + _resized(sources[source](maps[source]), size)
            fused.append(F.relu(total))
        return fused


def _resized(x: Tensor, size: Sequence[int]) -> Tensor:
    """Where a side was odd, upsampling by a power of two overshoots: then a second bilinear resize, as officially."""
    if tuple(x.shape[-2:]) == tuple(size):
        return x
    return F.interpolate(x, size=tuple(size), mode="bilinear", align_corners=False)


def _branch(
    block: type[BasicBlock] | type[Bottleneck], inputs: int, channels: int, count: int, sync: bool
) -> nn.Sequential:
    rest = [block(channels * block.expansion, channels, sync=sync) for _ in range(count - 1)]
    return nn.Sequential(block(inputs, channels, sync=sync), *rest)


def _exchange(channels: Sequence[int], source: int, target: int, sync: bool) -> nn.Module:
    """From branch `source` to the size and channels of branch `target`."""
    if source == target:
        return nn.Identity()
    if source > target:
        up = nn.Upsample(scale_factor=2 ** (source - target), mode="bilinear", align_corners=False)
        return nn.Sequential(convolution(channels[source], channels[target], 1), batch_norm(channels[target], sync), up)
    steps = []
    for step in range(target - source):
        last = step == target - source - 1
        steps.append(_halving(channels[source], channels[target] if last else channels[source], sync, relu=not last))
    return nn.Sequential(*steps)


def _transition(before: Sequence[int], after: Sequence[int], sync: bool) -> nn.ModuleList:
    """For every branch of the next stage, the layers that lead to it."""
    steps: list[nn.Module] = []
    for index, outputs in enumerate(after):
        if index >= len(before):
            steps.append(nn.Sequential(_halving(before[-1], outputs, sync, relu=True)))
        elif before[index] == outputs:
            steps.append(nn.Identity())
        else:
            steps.append(nn.Sequential(convolution(before[index], outputs, 3), batch_norm(outputs, sync), nn.ReLU()))
    return nn.ModuleList(steps)


def _halving(inputs: int, outputs: int, sync: bool, relu: bool) -> nn.Sequential:
    tail = [nn.ReLU()] if relu else []
    return nn.Sequential(convolution(inputs, outputs, 3, stride=2), batch_norm(outputs, sync), *tail)


def _check(stages: Sequence[Mapping[str, Any]]) -> None:
    if len(stages) != 4:
        raise ValueError(f"stages: expected four, got {len(stages)}")
    for branches, stage in enumerate(stages, start=1):
        where = f"stages[{branches - 1}]"
        if set(stage) != STAGE_KEYS:
            raise ValueError(f"{where}: expected the keys {', '.join(sorted(STAGE_KEYS))}, got {', '.join(stage)}")
        require_choice(f"{where}.block", stage["block"], list(BLOCKS))
        for key in ("blocks", "channels"):
            if len(stage[key]) != branches or min(stage[key]) < 1:
                raise ValueError(f"{where}.{key}: expected {branches} positive numbers, got {list(stage[key])}")
        if stage["modules"] < 1 or (branches == 1 and stage["modules"] != 1):
            expected = "1" if branches == 1 else "a positive number"
            raise ValueError(f"{where}.modules: expected {expected}, got {stage['modules']}")
