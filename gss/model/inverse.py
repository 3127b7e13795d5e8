"""A learned X^-1: painted maskiges back to classes by a small network (arXiv 2303.11316, section 3.2; docs/method.md).

The networks end in a linear layer over the classes, so a resize of their logits is the same linear layer on resized
features. That is how classes at another size are computed here: no plane of logits for every class is stored.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import gsskernels
from gss.config import InverseConfig
from gss.model.maskige import DecodedMaskige
from gss.model.prior import ConvNormReLU
from gss.model.swin import SwinBlock

# Pixels whose logits exist at a time, to find the two best classes.
PIXELS_AT_A_TIME = 1 << 16


class Inverse(nn.Module):
    """Maskige (B, 3, H, W) in 0..1 -> class logits (B, K, H, W).

    GSS-FT ("convolution"): convolutions of 5x5 and 3x3 pixels with batch norm and ReLU, then 1x1. GSS-FT-W ("window"):
    a 1x1 convolution with batch norm and ReLU, `depth` Swin blocks of which every second is shifted, a layer norm, 1x1.
    """

    def __init__(self, num_classes: int, config: InverseConfig) -> None:
        super().__init__()
        channels = config.channels
        if config.type == "convolution":
            self.projection: nn.Module = nn.Sequential(
                _convolution(3, channels, 5), _convolution(channels, channels, 3)
            )
        elif config.type == "window":
            self.projection = ConvNormReLU(3, channels)
        else:
            raise ValueError(f"inverse.type: expected 'convolution' or 'window', got {config.type!r}")
        shifts = [config.window // 2 if i % 2 else 0 for i in range(config.depth)] if config.type == "window" else []
        self.blocks = nn.ModuleList(SwinBlock(channels, config.heads, config.window, shift) for shift in shifts)
        self.norm = nn.LayerNorm(channels) if config.type == "window" else None
        self.classifier = nn.Conv2d(channels, num_classes, 1)

    def forward(self, maskige: Tensor) -> Tensor:
        return self.classifier(self.features(maskige))

    def features(self, maskige: Tensor, size: tuple[int, int] | None = None) -> Tensor:
        """The input of the linear layer over the classes, (B, C, H, W), bilinearly resized to a given `size`."""
        x = self.projection(maskige)
        if self.norm is not None:
            x = x.permute(0, 2, 3, 1)
            for block in self.blocks:
                x = block(x)
            x = self.norm(x).permute(0, 3, 1, 2)
        if size is not None and x.shape[-2:] != size:
            x = F.interpolate(x, size=size, mode="bilinear", align_corners=False)
        return x

    def loss(self, maskige: Tensor, labels: Tensor, weight: Tensor, ignore_index: int = 255) -> Tensor:
        """Cross-entropy at the labels' size, a mean over labelled pixels by the `weight` (K,) of their class.

        labels (B, H, W) integers. Logits are never stored. 0 where nothing is labelled, instead of 0 / 0.
        """
        features = self.features(maskige, (labels.shape[-2], labels.shape[-1]))
        table, bias = self.classifier.weight.flatten(1), self.classifier.bias
        labels = labels.long()
        losses = gsskernels.linear_cross_entropy(
            features.float(), table, labels, bias, dim=1, ignore_index=ignore_index, reduction="none"
        )
        labelled = labels != ignore_index
        mass = weight[torch.where(labelled, labels, 0)] * labelled
        return (losses * mass).sum() / mass.sum().clamp_min(1e-6)

    def decode(self, maskige: Tensor, size: tuple[int, int] | None = None) -> DecodedMaskige:
        """Labels (B, H, W) uint8 at `size`, lowest class on ties, and how far the best class's probability is ahead of
        the second's, 0..1 (1 where there is only one class)."""
        features = self.features(maskige, size)
        batch, channels, height, width = features.shape
        flat = features.permute(0, 2, 3, 1).reshape(-1, channels)
        labels, margins = [], []
        for rows in flat.split(PIXELS_AT_A_TIME):
            logits = F.linear(rows, self.classifier.weight.flatten(1), self.classifier.bias).float()
            probability = logits.softmax(1)
            best = probability.topk(min(2, logits.shape[1]), 1).values
            labels.append(logits.argmax(1).to(torch.uint8))
            margins.append(best[:, 0] - best[:, 1] if best.shape[1] > 1 else best[:, 0])
        shape = (batch, height, width)
        return DecodedMaskige(torch.cat(labels).view(shape), torch.cat(margins).view(shape))

    def scores(self, maskige: Tensor, size: tuple[int, int]) -> Tensor:
        """Class logits (B, K, *size) float32, for the average over sliding windows."""
        return self.classifier(self.features(maskige, size)).float()


def _convolution(inputs: int, outputs: int, side: int) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, side, padding=side // 2, bias=False)
    nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU())
