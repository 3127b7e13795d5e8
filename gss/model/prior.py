"""The conditioning network's trunk and token head: image features -> maskige tokens (paper section 3.3)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import gsskernels
from gss.config import PriorConfig
from gss.model.certainty import class_entropy
from gss.model.swin import SwinBlock


class ConvNormReLU(nn.Sequential):
    """1x1 convolution without bias, batch norm, ReLU."""

    def __init__(self, inputs: int, outputs: int) -> None:
        convolution = nn.Conv2d(inputs, outputs, 1, bias=False)
        nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
        super().__init__(convolution, nn.BatchNorm2d(outputs), nn.ReLU())


class LevelFusion(nn.Module):
    """Every level to `level_channels`, resized to the finest level's size, concatenated and fused to `outputs`."""

    def __init__(self, channels: Sequence[int], level_channels: int, outputs: int) -> None:
        super().__init__()
        self.levels = nn.ModuleList(ConvNormReLU(c, level_channels) for c in channels)
        self.fusion = ConvNormReLU(level_channels * len(channels), outputs)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        size = features[0].shape[-2:]
        levels = [
            F.interpolate(level(feature), size=size, mode="bilinear", align_corners=False)
            for level, feature in zip(self.levels, features, strict=True)
        ]
        return self.fusion(torch.cat(levels, 1))


class Trunk(nn.Module):
    """Multi-level aggregation and Swin blocks.

    The feature levels are fused into one map, which the Swin blocks then mix. Returns (fused, hidden): the map before
    the Swin blocks, which the auxiliary pixel head reads, and the `head_channels` map after them, both at the finest
    level's size.

    With `swin_stride` 1 the Swin blocks see the fused map itself, as in the paper. With 2 they see 2x2 cells merged
    into one, at a quarter of the cost, and their result is added to the fused map: the small recipes' choice.
    """

    def __init__(self, channels: Sequence[int], config: PriorConfig) -> None:
        super().__init__()
        self.swin_stride = config.swin_stride
        self.aggregate = LevelFusion(channels, config.level_channels, config.trunk_channels)
        self.merge, self.expand = _merge_and_expand(config)
        self.blocks = nn.ModuleList(
            SwinBlock(config.swin_channels, config.swin_heads, config.window, config.window // 2 if i % 2 else 0)
            for i in range(config.swin_depth)
        )
        self.norm = nn.LayerNorm(config.swin_channels)
        self.before_head = nn.Sequential(
            ConvNormReLU(config.trunk_channels, config.head_channels), nn.Dropout2d(config.dropout)
        )

    def forward(self, features: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        fused = self.aggregate(features)
        size = fused.shape[-2:]
        even = F.pad(fused, (0, -size[1] % self.swin_stride, 0, -size[0] % self.swin_stride))
        x = self.merge(even).permute(0, 2, 3, 1)
        for block in self.blocks:
            x = block(x)
        mixed = self.expand(self.norm(x).permute(0, 3, 1, 2))
        if self.swin_stride > 1:
            mixed = fused + mixed[..., : size[0], : size[1]]
        return fused, self.before_head(mixed)


def _merge_and_expand(config: PriorConfig) -> tuple[nn.Module, nn.Module]:
    """Modules that take the fused map to the Swin blocks' resolution and back; odd sides are rounded up."""
    stride = config.swin_stride
    if stride == 1:
        if config.swin_channels != config.trunk_channels:
            raise ValueError(
                f"swin_channels: expected trunk_channels ({config.trunk_channels}) where swin_stride is 1, "
                f"got {config.swin_channels}"
            )
        return nn.Identity(), nn.Identity()
    if stride != 2:
        raise ValueError(f"swin_stride: expected 1 or 2, got {stride}")
    merge = nn.Conv2d(config.trunk_channels, config.swin_channels, 2, stride=2)
    expand = nn.Sequential(nn.Conv2d(config.swin_channels, 4 * config.trunk_channels, 1), nn.PixelShuffle(2))
    return merge, expand


class PixelHead(nn.Module):
    """The auxiliary classifier of training, which fills unlabelled areas (arXiv 2303.11316, section 3.3).

    It reads the map that the trunk fused, or with `pixel_branch` "separate" one that it fuses itself.
    """

    def __init__(self, channels: Sequence[int], num_classes: int, config: PriorConfig) -> None:
        super().__init__()
        separate = config.pixel_branch == "separate"
        width = config.level_channels if separate else config.trunk_channels
        self.aggregate = LevelFusion(channels, width, width) if separate else None
        self.classifier = nn.Conv2d(width, num_classes, 1)

    def forward(self, features: Sequence[Tensor], fused: Tensor) -> Tensor:
        """Class logits (B, K, h, w) at the finest level's size."""
        return self.classifier(fused if self.aggregate is None else self.aggregate(features))


class Consensus(NamedTuple):
    """tokens (B, h, w) int64; codes (B, D, h, w); entropy (B, pixels, h, w), see `TokenHead.class_entropy`."""

    tokens: Tensor
    codes: Tensor
    entropy: Tensor


class TokenHead(nn.Module):
    """The linear layer over V tokens. Its logits are never stored: training and inference use fused operations.

    With `features` F > 0 the weight is free_weight + code_features @ shared: the label patches of the tokens, (V, F),
    enter the logits through one small matrix that all tokens share. A plain layer learns the weights of each token from
    the examples of that token alone, which are often few. 0 is the paper's plain layer.
    """

    code_features: Tensor

    def __init__(self, channels: int, codes: int, features: int = 0) -> None:
        super().__init__()
        self.free_weight = nn.Parameter(torch.randn(codes, channels) * 0.01)
        self.free_bias = nn.Parameter(torch.zeros(codes))
        self.shared = nn.Linear(channels, features) if features else None
        self.register_buffer("code_features", torch.zeros(codes, features))

    @property
    def weight(self) -> Tensor:
        """(V, C)"""
        if self.shared is None:
            return self.free_weight
        return self.free_weight + self.code_features @ self.shared.weight

    @property
    def bias(self) -> Tensor:
        """(V,)"""
        if self.shared is None:
            return self.free_bias
        return self.free_bias + self.code_features @ self.shared.bias

    def tokens(self, hidden: Tensor) -> Tensor:
        """hidden (B, C, h, w) -> most likely token of every cell, (B, h, w) int64."""
        return gsskernels.linear_argmax(hidden, self.weight.to(hidden.dtype), self.bias.to(hidden.dtype), dim=1)

    def probabilities(self, hidden: Tensor) -> Iterator[Tensor]:
        """hidden (B, C, h, w) -> the tokens' probabilities in one row of cells after the other, (B, w, V) float32.

        One row at a time, so that the (cells, V) probabilities are never stored whole.
        """
        weight, bias = self.weight.to(hidden.dtype), self.bias.to(hidden.dtype)
        for row in hidden.unbind(2):
            yield F.linear(row.transpose(1, 2), weight, bias).float().softmax(-1)

    def class_entropy(self, hidden: Tensor, patches: Tensor, classes: int) -> Tensor:
        """Entropy (nats) of the class probabilities that the tokens' distribution gives each pixel of a cell.

        Args:
            hidden: (B, C, h, w).
            patches: (V, pixels * K), the one-hot label patch of each token.
            classes: K.

        Returns:
            (B, pixels, h, w) float32.
        """
        patches = patches.float()
        with torch.autocast(hidden.device.type, enabled=False):
            rows = [class_entropy(probability @ patches, classes) for probability in self.probabilities(hidden)]
        return torch.stack(rows, 1).permute(0, 3, 1, 2)

    def consensus(self, hidden: Tensor, patches: Tensor, codebook: Tensor, classes: int) -> Consensus:
        """The token that agrees best with all tokens' votes, and the mean code of those that agree with it.

        The most likely token loses where the probability of one class is spread over many tokens that paint it a
        little differently. Here every token votes with its probability for the class of each pixel it paints. The
        winner is the token whose own pixels collect the most votes, again an affine argmax; the code to decode is the
        mean over all tokens by probability times the share of pixels painted like the winner's, so that codes of
        other classes, whose mixture would decode to a third class's colour, stay out.

        Args:
            hidden: (B, C, h, w).
            patches: (V, pixels * K), the one-hot label patch of each token.
            codebook: (V, D).
            classes: K.

        Returns:
            The winner of every cell, the code to decode in the codebook's dtype, and the entropy of the votes. All of
            it is computed in float32, under autocast too.
        """
        patches, vectors = patches.float(), codebook.float()
        tokens, codes, entropy = [], [], []
        with torch.autocast(hidden.device.type, enabled=False):
            for probability in self.probabilities(hidden):
                votes = probability @ patches
                winner = gsskernels.linear_argmax(votes, patches)
                agreeing = probability * (patches[winner] @ patches.t())
                tokens.append(winner)
                codes.append((agreeing / agreeing.sum(-1, keepdim=True)) @ vectors)
                entropy.append(class_entropy(votes, classes))
        return Consensus(
            torch.stack(tokens, 1),
            torch.stack(codes, 1).permute(0, 3, 1, 2).to(codebook.dtype),
            torch.stack(entropy, 1).permute(0, 3, 1, 2),
        )

    def loss(self, hidden: Tensor, targets: Tensor, weights: Tensor | None = None) -> Tensor:
        """Mean cross-entropy over the cells whose target (B, h, w) is a token; the value V means ignore.

        `weights` (B, h, w) makes it a weighted mean. 0 where a batch has no such cell, instead of 0 / 0.
        """
        ignore = self.free_weight.shape[0]
        losses = gsskernels.linear_cross_entropy(
            hidden.float(), self.weight, targets, self.bias, dim=1, ignore_index=ignore, reduction="none"
        )
        mass = (targets != ignore).to(losses.dtype)
        if weights is not None:
            mass = mass * weights
        return (losses * mass).sum() / mass.sum().clamp_min(1e-6)
