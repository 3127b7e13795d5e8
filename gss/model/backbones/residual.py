"""Parts of both ResNet-v1c and HRNetV2: two residual blocks, their normalisation, and freezing of leading stages.

Sub-modules carry the names of published checkpoints (conv1, bn1, downsample), so those load without renaming.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, TypeVar

from torch import Tensor, nn
from torch.nn import functional as F

Freezable = TypeVar("Freezable", bound="FreezableBackbone")


def batch_norm(channels: int, sync: bool) -> nn.Module:
    """Batch norm; synchronised over processes if `sync`, which without torch.distributed is the plain one."""
    return nn.SyncBatchNorm(channels) if sync else nn.BatchNorm2d(channels)


def convolution(inputs: int, outputs: int, side: int, stride: int = 1, dilation: int = 1) -> nn.Conv2d:
    """A convolution without bias that keeps the size at stride 1."""
    padding = dilation * (side // 2)
    return nn.Conv2d(inputs, outputs, side, stride, padding, dilation, bias=False)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut: (B, inputs, H, W) -> (B, channels, H / stride, W / stride)."""

    expansion: ClassVar[int] = 1

    def __init__(self, inputs: int, channels: int, stride: int = 1, dilation: int = 1, sync: bool = False) -> None:
        super().__init__()
        self.conv1 = convolution(inputs, channels, 3, stride, dilation)
        self.bn1 = batch_norm(channels, sync)
        # Only the first convolution of a basic block is dilated.
        self.conv2 = convolution(channels, channels, 3)
        self.bn2 = batch_norm(channels, sync)
        self.downsample = _shortcut(inputs, channels, stride, sync)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(y)) + self.downsample(x))


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions beside a shortcut; the stride is the 3x3's.

    (B, inputs, H, W) -> (B, 4 channels, H / stride, W / stride).
    """

    expansion: ClassVar[int] = 4

    def __init__(self, inputs: int, channels: int, stride: int = 1, dilation: int = 1, sync: bool = False) -> None:
        super().__init__()
        outputs = channels * self.expansion
        self.conv1 = convolution(inputs, channels, 1)
        self.bn1 = batch_norm(channels, sync)
        self.conv2 = convolution(channels, channels, 3, stride, dilation)
        self.bn2 = batch_norm(channels, sync)
        self.conv3 = convolution(channels, outputs, 1)
        self.bn3 = batch_norm(outputs, sync)
        self.downsample = _shortcut(inputs, outputs, stride, sync)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)))
        y = F.relu(self.bn2(self.conv2(y)))
        return F.relu(self.bn3(self.conv3(y)) + self.downsample(x))


def _shortcut(inputs: int, outputs: int, stride: int, sync: bool) -> nn.Module:
    if stride == 1 and inputs == outputs:
        return nn.Identity()
    return nn.Sequential(convolution(inputs, outputs, 1, stride), batch_norm(outputs, sync))


class FreezableBackbone(nn.Module):
    """A backbone whose leading parts can be kept as they are while the rest trains.

    Frozen parameters need no gradient, and the batch norms among them keep their statistics in training mode too.
    With `norm_eval` every batch norm keeps its statistics; scales and offsets still train.
    """

    def __init__(self) -> None:
        super().__init__()
        self._frozen: list[str] = []
        self._norm_eval = False

    def freeze(self, names: Sequence[str], norm_eval: bool) -> None:
        """Keep the sub-modules of those names as they are from now on."""
        # Names, since converting batch norms to synchronised ones replaces modules.
        self._frozen, self._norm_eval = list(names), norm_eval
        for name in names:
            self.get_submodule(name).requires_grad_(False)
        self.train(self.training)

    def train(self: Freezable, mode: bool = True) -> Freezable:
        super().train(mode)
        for name in self._frozen:
            self.get_submodule(name).eval()
        if self._norm_eval:
            for module in self.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.eval()
        return self

    def initialise(self) -> None:
        """He initialisation by fan-out, as the official backbones start without pretrained weights."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


def require_choice(name: str, value: Any, choices: Sequence[Any]) -> None:
    """Raises ValueError unless `value` is one of `choices`."""
    if value not in choices:
        raise ValueError(f"{name}: expected one of {', '.join(map(str, choices))}, got {value!r}")
