"""The tokenizer without a prior: labels -> maskige -> tokens -> maskige -> labels."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import gsskernels
from gss.config import InverseConfig
from gss.io.resize import fit_box, source_corners
from gss.model.inverse import Inverse
from gss.model.maskige import DecodedMaskige, Maskige
from gss.model.tokenizers.protocol import Tokenizer
from gss.model.views.predict import labels_and_margin
from gss.model.views.scores import rescale
from gss.model.views.windows import ALIGNMENT
from gss.palette import Palette


class LabelEncoder(Protocol):
    """X and a tokenizer: all that turns label maps into tokens."""

    palette: Palette
    maskige: Maskige
    tokenizer: Any  # a Tokenizer; a module's attribute has no narrower type


class Codec(LabelEncoder, Protocol):
    """X, a tokenizer and X^-1, as `gss.GSS` and `MaskigeCodec` have them."""

    def classify(self, maskige: Tensor, size: tuple[int, int] | None = None) -> DecodedMaskige: ...

    def class_scores(self, maskige: Tensor, size: tuple[int, int]) -> Tensor: ...


class MaskigeCodec(nn.Module):
    """A tokenizer with a palette and X^-1: enough to reconstruct label maps, and to measure how well."""

    def __init__(self, palette: Palette, tokenizer: Tokenizer, inverse: InverseConfig | None = None) -> None:
        super().__init__()
        self.palette = palette
        self.maskige = Maskige(palette)
        self.tokenizer: Any = tokenizer
        learned = inverse is not None and inverse.type != "nearest"
        self.inverse = Inverse(palette.num_classes, inverse) if learned and inverse is not None else None

    def classify(self, maskige: Tensor, size: tuple[int, int] | None = None) -> DecodedMaskige:
        """X^-1: maskige (B, 3, h, w) in 0..1 -> labels and margin (B, *size), by default at its own size."""
        return (self.maskige if self.inverse is None else self.inverse).decode(maskige, size)

    def class_scores(self, maskige: Tensor, size: tuple[int, int]) -> Tensor:
        """X^-1 before it decides, (B, K, *size) float32."""
        return self.maskige.votes(maskige, size) if self.inverse is None else self.inverse.scores(maskige, size)


class Reconstruction(NamedTuple):
    """Label maps after the tokenizer.

    labels: (B, H, W), the reconstruction at the size of the input.
    tokens: (B, h, w).
    target: (B, h', w'), the input at the size of its maskige.
    painted: (B, 3, h', w') in 0..1, the maskige decoded from the tokens; smaller than the target where the tokenizer
        drops rows and columns that fill no token.
    """

    labels: Tensor
    tokens: Tensor
    target: Tensor
    painted: Tensor


def token_cells(labels: Tensor) -> tuple[int, int]:
    """The grid (h, w) of tokens for labels (B, H, W): one for each 4x4 pixels, also where the border cuts a cell."""
    return -(-labels.shape[-2] // ALIGNMENT), -(-labels.shape[-1] // ALIGNMENT)


def resize_labels(labels: Tensor, size: tuple[int, int], num_classes: int) -> Tensor:
    """labels (B, H, W) at `size` by the vote of neighbouring classes; unchanged where the size is right already."""
    if labels.shape[-2:] == size:
        return labels
    return gsskernels.label_resize(labels, size, num_classes=num_classes)


def maskige_labels(codec: LabelEncoder, labels: Tensor, cells: tuple[int, ...] | None = None) -> Tensor:
    """labels (B, H, W) at the size of their maskige: `stride` pixels a token for any size of the image.

    `cells` is the grid (h, w) of tokens, by default that of `token_cells`.
    """
    height, width = token_cells(labels) if cells is None else cells
    stride = codec.tokenizer.stride
    return resize_labels(labels, (height * stride, width * stride), codec.palette.num_classes)


def labels_to_tokens(codec: LabelEncoder, labels: Tensor) -> Tensor:
    """labels (B, H, W) at the size of their maskige -> tokens (B, h, w): stage 1 of the paper, X then the encoder."""
    tokens: Tensor = codec.tokenizer.encode(codec.maskige.encode(labels))
    return tokens


def covered_labels(codec: Codec, labels: Tensor, scale: int | None) -> tuple[Tensor, tuple[int, int]]:
    """labels (B, H, W) at maskige size, and the (height, width) in image pixels that the maskige covers.

    Without a scale, the labels are padded to whole cells. Raises ValueError for a scale below 1.
    """
    if scale is not None and scale < 1:
        raise ValueError(f"scale: expected at least 1, got {scale}")
    height, width = labels.shape[-2:]
    if scale is not None:
        return resize_labels(labels, (height * scale, width * scale), codec.palette.num_classes), (height, width)
    right, bottom = -width % ALIGNMENT, -height % ALIGNMENT
    labels = F.pad(labels, (0, right, 0, bottom), value=codec.palette.ignore_index)
    return maskige_labels(codec, labels), (labels.shape[-2], labels.shape[-1])


@torch.inference_mode()
def reconstruct(
    codec: Codec, labels: Tensor, scale: int | None = None, box: tuple[int, int] | None = None
) -> Reconstruction:
    """Label maps through the tokenizer and back.

    Args:
        labels: (B, H, W) integers; the ignore value is painted in the ignore colour.
        scale: maskige pixels an image pixel, 1 or more. None: as the model does, with the grid of ceil(side / 4) cells,
            the labels padded to whole cells. The official evaluation takes 1, the official model 2.
        box: fit the labels into this (height, width) first and bring the result back to their size, as the official
            test pipelines do.

    Raises:
        ValueError: a scale below 1.

    >>> from gss.config import CompactConfig
    >>> from gss.model.tokenizers.compact import CompactTokenizer
    >>> codec = MaskigeCodec(Palette.named("scenes"), CompactTokenizer(CompactConfig(stride=2))).eval()
    >>> result = reconstruct(codec, torch.zeros(1, 9, 12, dtype=torch.uint8))
    >>> result.labels.shape, result.tokens.shape
    (torch.Size([1, 9, 12]), torch.Size([1, 3, 3]))
    """
    own_size = (labels.shape[-2], labels.shape[-1])
    if box is not None:
        labels = _nearest(labels, fit_box(own_size, box))
    height, width = labels.shape[-2:]
    target, covered = covered_labels(codec, labels, scale)
    tokens = labels_to_tokens(codec, target)
    # Some tokenizers paint whole tokens where the maskige ends within one, others leave it out.
    painted = codec.tokenizer.decode(tokens)[..., : target.shape[-2], : target.shape[-1]]
    if box is None:
        decoded = codec.classify(painted, covered).labels[:, :height, :width]
    else:
        scores = codec.class_scores(painted, covered)[..., :height, :width]
        decoded = labels_and_margin(rescale(scores, own_size)).labels
    return Reconstruction(decoded, tokens, target, painted)


def _nearest(labels: Tensor, size: tuple[int, int]) -> Tensor:
    """labels (B, H, W) at `size` by the nearest pixel, as OpenCV picks it."""
    height, width = labels.shape[-2:]
    rows, columns = source_corners(height, size[0]), source_corners(width, size[1])
    return labels[:, rows.to(labels.device)[:, None], columns.to(labels.device)]
