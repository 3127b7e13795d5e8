"""What each stage optimises: modules whose `forward(batch)` returns "loss" and the scalars to log.

A batch holds "image" uint8 (B, 3, H, W) and "label" uint8 (B, H, W), 255 = ignore.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import gsskernels

from ..config import TokenizerConfig
from ..inference import ALIGNMENT
from ..model import GSS
from ..twin import PixelClassifier

Batch = Mapping[str, Tensor]


class TokenizerTraining(nn.Module):
    """Stage 1: label maps through maskige and tokens and back.

    The loss is colour L2 over labelled pixels, plus class cross-entropy on the negative squared palette distances over
    a temperature, plus the quantiser's commitment. `class_weights` (K,) scales the cross-entropy.
    """

    channels_last = True
    class_weights: Tensor

    def __init__(self, model: GSS, class_weights: Tensor) -> None:
        super().__init__()
        self.config: TokenizerConfig = model.tokenizer_config
        self.tokenizer = model.tokenizer
        self.maskige = model.maskige
        self.register_buffer("class_weights", class_weights.float(), persistent=False)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        labels = self._at_maskige_size(batch["label"])
        labelled = labels != self.maskige.palette.ignore_index
        target = self.maskige.encode(labels)
        painted, quantized = self.tokenizer(target.contiguous(memory_format=torch.channels_last))
        color = ((painted - target).square().sum(1) * labelled).sum() / labelled.sum().clamp_min(1)
        scores = -palette_distances(painted, self.maskige.colors / 255) / self.config.temperature
        classification = cross_entropy(scores, labels, self.class_weights)
        loss = color + self.config.classification * classification + self.config.commitment * quantized.commitment
        return {"loss": loss, "color": color, "classification": classification, "commitment": quantized.commitment}

    def _at_maskige_size(self, labels: Tensor) -> Tensor:
        cells = (-(-labels.shape[-2] // ALIGNMENT), -(-labels.shape[-1] // ALIGNMENT))
        return resize_labels(labels, maskige_size(self.tokenizer.stride, cells), self.maskige.palette.num_classes)


class PriorTraining(nn.Module):
    """Stage 2: image -> tokens, against stage 1's frozen tokenizer (paper section 3.3, equation 7).

    Unlabelled pixels take the auxiliary pixel head's current answer before the maskige is encoded; a cell without one
    labelled pixel is left out of the token loss. `class_weights` (K,) scales both losses: a pixel's by its class, a
    cell's by the mean over its labelled pixels.
    """

    channels_last = True
    class_weights: Tensor

    def __init__(self, model: GSS, class_weights: Tensor) -> None:
        super().__init__()
        self.model = model
        self.register_buffer("class_weights", class_weights.float(), persistent=False)
        model.tokenizer.requires_grad_(False)
        if model.prior_config.share_codes:
            model.token_head.code_features.copy_(model.code_patches())

    def train(self, mode: bool = True) -> PriorTraining:
        super().train(mode)
        self.model.tokenizer.eval()
        return self

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        model = self.model
        fused, hidden = model.trunk(model.encoder(batch["image"]))
        size = maskige_size(model.tokenizer.stride, hidden.shape[-2:])
        labels = resize_labels(batch["label"], size, model.palette.num_classes)
        pixel_logits = F.interpolate(model.pixel_head(fused).float(), size=size, mode="bilinear", align_corners=False)
        tokens = self.completed_tokens(labels, pixel_logits.detach())
        weights = self.cell_weights(batch["label"])
        targets = torch.where(weights > 0, tokens, model.tokenizer.codes)
        token_loss = model.token_head.loss(hidden, targets, weights)
        pixel_loss = cross_entropy(pixel_logits, labels, self.class_weights)
        with torch.no_grad():
            # The first image is enough to watch by, and the whole batch would cost another pass over all codes.
            valid = targets[:1] != model.tokenizer.codes
            right = (model.token_head.tokens(hidden[:1].detach()) == targets[:1]) & valid
        config = model.prior_config
        return {
            "loss": config.token_loss * token_loss + config.pixel_loss * pixel_loss,
            "token": token_loss,
            "pixel": pixel_loss,
            "token_accuracy": right.sum() / valid.sum().clamp_min(1),
        }

    @torch.no_grad()
    def completed_tokens(self, labels: Tensor, pixel_logits: Tensor) -> Tensor:
        """labels (B, H, W) at maskige size, logits (B, K, H, W) for unlabelled pixels -> tokens (B, h, w)."""
        labelled = labels != self.model.palette.ignore_index
        completed = torch.where(labelled, labels.long(), pixel_logits.argmax(1))
        return self.model.tokenizer.encode(self.model.maskige.encode(completed))

    def cell_weights(self, labels: Tensor) -> Tensor:
        """labels (B, H, W) at image size -> mean class weight of each cell's labelled pixels, (B, h, w).

        0 where a cell has none: whether a cell counts is decided on the image's own pixels, before any resize.
        """
        right, bottom = -labels.shape[-1] % ALIGNMENT, -labels.shape[-2] % ALIGNMENT
        labels = F.pad(labels, (0, right, 0, bottom), value=self.model.palette.ignore_index)
        labelled = labels != self.model.palette.ignore_index
        weight = self.class_weights[torch.where(labelled, labels.long(), 0)] * labelled
        share = F.avg_pool2d(labelled[:, None].float(), ALIGNMENT)[:, 0]
        return F.avg_pool2d(weight[:, None], ALIGNMENT)[:, 0] / share.clamp_min(1e-6)


class ClassifierTraining(nn.Module):
    """The twin's only stage: pixel cross-entropy at the label's size, scaled by `class_weights` (K,)."""

    channels_last = True
    class_weights: Tensor

    def __init__(self, model: PixelClassifier, class_weights: Tensor) -> None:
        super().__init__()
        self.model = model
        self.register_buffer("class_weights", class_weights.float(), persistent=False)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        logits = self.model(batch["image"])
        labels = batch["label"]
        labelled = labels != self.model.palette.ignore_index
        loss = cross_entropy(logits, labels, self.class_weights)
        with torch.no_grad():
            right = ((logits.argmax(1) == labels) & labelled).sum() / labelled.sum().clamp_min(1)
        return {"loss": loss, "pixel_accuracy": right}


def maskige_size(stride: int, cells: Sequence[int]) -> tuple[int, int]:
    """The maskige has `stride` pixels a token, whatever the image's size: the paper's is twice the image."""
    return cells[0] * stride, cells[1] * stride


def resize_labels(labels: Tensor, size: tuple[int, int], num_classes: int) -> Tensor:
    """labels (B, H, W) at `size` by the vote of neighbouring classes; unchanged where the size is right already."""
    if labels.shape[-2:] == size:
        return labels
    return gsskernels.label_resize(labels, size, num_classes=num_classes)


def palette_distances(maskige: Tensor, colors: Tensor) -> Tensor:
    """maskige (B, 3, H, W), colors (K, 3) -> squared distances (B, K, H, W), differentiable.

    Expanded as |x|^2 - 2 x.p + |p|^2, one 1x1 convolution, so that no (B, K, 3, H, W) difference exists.
    """
    cross = F.conv2d(maskige, -2 * colors[:, :, None, None], colors.square().sum(1))
    return cross + maskige.square().sum(1, keepdim=True)


def cross_entropy(logits: Tensor, labels: Tensor, weight: Tensor | None = None, ignore_index: int = 255) -> Tensor:
    """Mean over labelled pixels, by weight if given; 0 where a batch has none, instead of 0 / 0.

    logits (B, K, H, W) float32, labels (B, H, W) integers with `ignore_index`.
    """
    labels = labels.long()
    total = F.cross_entropy(logits, labels, weight=weight, ignore_index=ignore_index, reduction="sum")
    labelled = labels != ignore_index
    if weight is None:
        return total / labelled.sum().clamp_min(1)
    mass = (weight[torch.where(labelled, labels, 0)] * labelled).sum()
    return total / mass.clamp_min(torch.finfo(mass.dtype).tiny)


def class_weights(pixels: Sequence[int], power: float) -> Tensor:
    """pixels of each class -> weights (K,) by share^-power, with mean 1 over pixels; absent classes get 1."""
    counts = torch.as_tensor(pixels, dtype=torch.float64)
    present = counts > 0
    if not bool(present.any()):
        raise ValueError("pixels: expected at least one labelled pixel in the training split, got none")
    share = counts / counts.sum()
    weights = torch.where(present, share.clamp_min(1e-12) ** -power, 1.0)
    return (weights / (weights * share).sum()).float()
