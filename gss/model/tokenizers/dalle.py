"""The DALL-E discrete VAE as the maskige tokenizer of arXiv 2303.11316 (spec paragraph 2.1).

Maskige in 0..1 -> tokens of 8x8 pixels, and back. The official system keeps it frozen; its published weights come
through `gss.convert.dalle`. Every convolution has stride 1 and zero padding (k - 1) / 2, blocks are pre-activated:

    block(x) = identity(x) + gain residual(x)        residual = four times (relu, convolution), a quarter as wide
                                                     gain = 1 / (blocks of the encoder or decoder)^2, 1/64 as published

A layer computes in the dtype of its weights: `set_precision(torch.float16)` is the arithmetic of the official system
on a GPU, float32 its arithmetic on a CPU. The two layers that touch the tokens stay in float32 either way.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import gsskernels
from gss.config import DalleConfig
from gss.model.tokenizers.bands import in_row_bands

GROUPS = 4
# Pixels are squeezed into 0.1..0.9, so that the logistic function of the decoder can reach them.
PIXEL_MARGIN = 0.1


def map_pixels(maskige: Tensor) -> Tensor:
    """Maskige in 0..1 -> encoder input in 0.1..0.9, any shape: 0.8 x + 0.1 (spec paragraph 2.1)."""
    return (1 - 2 * PIXEL_MARGIN) * maskige + PIXEL_MARGIN


def unmap_pixels(x: Tensor) -> Tensor:
    """Decoder output after the logistic function -> maskige, clamped to 0..1, any shape: inverse of `map_pixels`."""
    return ((x - PIXEL_MARGIN) / (1 - 2 * PIXEL_MARGIN)).clamp(0, 1)


class Conv(nn.Conv2d):
    """A convolution that keeps the size and computes in the dtype of its weights, whatever comes in."""

    def __init__(self, channels_in: int, channels_out: int, kernel: int) -> None:
        super().__init__(channels_in, channels_out, kernel, padding=(kernel - 1) // 2)

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input.to(self.weight.dtype))


class Block(nn.Module):
    """identity(x) + gain residual(x), (B, C, H, W) -> (B, C', H, W); `kernels` are those of the four convolutions."""

    def __init__(self, channels_in: int, channels_out: int, kernels: tuple[int, int, int, int], gain: float) -> None:
        super().__init__()
        self.gain = gain
        hidden = channels_out // 4
        widths = (channels_in, hidden, hidden, hidden, channels_out)
        self.convolutions = nn.ModuleList(map(Conv, widths[:-1], widths[1:], kernels))
        self.identity = Conv(channels_in, channels_out, 1) if channels_in != channels_out else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        residual = x
        for convolution in self.convolutions:
            residual = convolution(F.relu(residual))
        return self.identity(x) + self.gain * residual


def _groups(channels: int, widths: list[int], blocks: int, kernels: tuple[int, int, int, int]) -> nn.ModuleList:
    gain = 1 / (GROUPS * blocks) ** 2
    groups = nn.ModuleList()
    for width in widths:
        first = Block(channels, width, kernels, gain)
        groups.append(nn.Sequential(first, *[Block(width, width, kernels, gain) for _ in range(1, blocks)]))
        channels = width
    return groups


def _halo(layers: Iterable[nn.Module]) -> int:
    """Rows to either side that a row of the result depends on through convolutions one after the other."""
    convolutions = (module for layer in layers for module in layer.modules() if isinstance(module, Conv))
    return sum((convolution.kernel_size[0] - 1) // 2 for convolution in convolutions)


class DalleEncoder(nn.Module):
    """Mapped pixels (B, 3, H, W) -> logits over the codes, (B, V, H // 8, W // 8) float32.

    Sizes that are no multiple of 8 lose their last rows and columns to the pooling, as in the official system.
    """

    def __init__(self, config: DalleConfig) -> None:
        super().__init__()
        width = config.encoder_width
        self.input = Conv(3, width, 7)
        self.widths = [width, 2 * width, 4 * width, 8 * width]
        self.groups = _groups(width, self.widths, config.encoder_blocks, (3, 3, 3, 1))
        self.output = Conv(8 * width, config.codes, 1)

    def features(self, pixels: Tensor) -> Tensor:
        """What the output layer sees: (B, 3, H, W) -> (B, 8 * width, H // 8, W // 8) in the dtype of its weights."""
        x = pixels
        for index, group in enumerate(self.groups):
            layers: list[nn.Module] = [self.input] if index == 0 else []
            layers += [group, *([nn.MaxPool2d(2)] if index < GROUPS - 1 else [])]
            down = 2 if index < GROUPS - 1 else 1
            width, element = self.widths[index], self.input.weight.element_size()
            x = in_row_bands(
                nn.Sequential(*layers),
                x,
                halo=_halo(layers),
                row_bytes=width * x.shape[3] * element,
                down=down,
            )
        return F.relu(x).to(self.output.weight.dtype)

    def forward(self, pixels: Tensor) -> Tensor:
        return self.output(self.features(pixels))

    def tokens(self, pixels: Tensor) -> Tensor:
        """The most likely codes (B, H // 8, W // 8) int64; logits are never stored. Ties go to the lowest code."""
        return gsskernels.linear_argmax(self.features(pixels), self.output.weight.flatten(1), self.output.bias, dim=1)


class DalleDecoder(nn.Module):
    """Weights over the codes (B, V, h, w), one-hot or mixtures -> six channels (B, 6, 8h, 8w) before the logistic
    function. The first three are colours; the others are scales of the distribution that trained the model."""

    def __init__(self, config: DalleConfig) -> None:
        super().__init__()
        width = config.decoder_width
        self.input = Conv(config.codes, config.code_dim, 1)
        self.widths = [8 * width, 4 * width, 2 * width, width]
        self.groups = _groups(config.code_dim, self.widths, config.decoder_blocks, (1, 3, 3, 3))
        self.output = Conv(width, 6, 1)

    def forward(self, weights: Tensor) -> Tensor:
        return self._paint(self.input(weights))

    def from_vectors(self, vectors: Tensor) -> Tensor:
        """The same from codebook vectors or their mixtures (B, D, h, w)."""
        bias = self.input.bias
        return self._paint(vectors if bias is None else vectors.to(bias.dtype) + bias[:, None, None])

    def _paint(self, x: Tensor) -> Tensor:
        for index, group in enumerate(self.groups):
            up = 2 if index > 0 else 1
            layers: list[nn.Module] = [nn.Upsample(scale_factor=2.0, mode="nearest")] if up == 2 else []
            layers += [group, *([nn.ReLU(), self.output] if index == GROUPS - 1 else [])]
            width, element = self.widths[index], self.output.weight.element_size()
            row_bytes = width * x.shape[3] * up * up * element
            halo = -(-_halo(layers) // up)
            x = in_row_bands(nn.Sequential(*layers), x, halo=halo, row_bytes=row_bytes, up=up)
        return x


class DalleTokenizer(nn.Module):
    """Maskige (B, 3, H, W) in 0..1 <-> tokens (B, H // 8, W // 8) in 0..V-1, by the DALL-E dVAE.

    Where no gradient is wanted, the maps at full resolution are computed in bands of rows: they are by far the largest
    tensors of the whole system, and none of them is kept.

    Autocast does not reach inside: the tokens are the model's own arithmetic's, see `set_precision`. A maskige with a
    side below 8 has no token, which is a ValueError, as is anything but three channels.
    """

    stride = 8

    def __init__(self, config: DalleConfig | None = None) -> None:
        super().__init__()
        self.config = config or DalleConfig()
        self.encoder = DalleEncoder(self.config)
        self.decoder = DalleDecoder(self.config)

    @property
    def codes(self) -> int:
        """V, the size of the codebook."""
        return self.config.codes

    @property
    def codebook(self) -> Tensor:
        """What each token becomes in the decoder, (V, D); a view, the bias of that layer not included."""
        return self.decoder.input.weight.flatten(1).T

    def set_precision(self, dtype: torch.dtype) -> DalleTokenizer:
        """Cast all layers but the encoder's last and the decoder's first, which stay or become float32.

        float16 rounds as the official system does on a GPU, at half the memory. Going back does not restore what
        rounding took. Raises ValueError for a dtype that is not floating.
        """
        if not dtype.is_floating_point:
            raise ValueError(f"dtype: expected a floating dtype, got {dtype}")
        kept = (self.encoder.output, self.decoder.input)
        for module in self.modules():
            if isinstance(module, Conv):
                module.float() if module in kept else module.to(dtype)
        return self

    def encode(self, maskige: Tensor) -> Tensor:
        """maskige (B, 3, H, W) in 0..1 -> tokens (B, H // 8, W // 8) int64. No gradient."""
        self._check(maskige)
        with torch.no_grad(), _plain_arithmetic(maskige):
            return self.encoder.tokens(map_pixels(maskige.float()))

    def encode_logits(self, maskige: Tensor) -> Tensor:
        """maskige (B, 3, H, W) in 0..1 -> logits (B, V, H // 8, W // 8) float32, for soft codes; V planes of memory."""
        self._check(maskige)
        with _plain_arithmetic(maskige):
            return self.encoder(map_pixels(maskige.float()))

    def decode(self, tokens: Tensor) -> Tensor:
        """tokens (B, h, w) integers -> maskige (B, 3, 8h, 8w) float32 in 0..1.

        The one-hot planes of the official system are never stored: its first layer is a lookup of columns.
        """
        if tokens.ndim != 3 or tokens.is_floating_point():
            raise ValueError(f"tokens: expected integers (B, h, w), got {tokens.dtype} {tuple(tokens.shape)}")
        return self.decode_vectors(F.embedding(tokens, self.codebook).permute(0, 3, 1, 2))

    def decode_vectors(self, vectors: Tensor) -> Tensor:
        """Codebook vectors (B, D, h, w), possibly mixtures of them -> maskige (B, 3, 8h, 8w) float32 in 0..1."""
        with _plain_arithmetic(vectors):
            return _colours(self.decoder.from_vectors(vectors))

    def decode_weights(self, weights: Tensor) -> Tensor:
        """Weights over the codes (B, V, h, w) -> maskige (B, 3, 8h, 8w) float32 in 0..1.

        Gradients reach the weights: with `hard + soft - soft.detach()` this is the straight-through decoding of the
        variants that train the tokens end to end (spec paragraph 1, TF and TT).
        """
        with _plain_arithmetic(weights):
            return _colours(self.decoder(weights))

    def forward(self, maskige: Tensor) -> tuple[Tensor, Tensor]:
        """Reconstruction (B, 3, 8 (H // 8), 8 (W // 8)) in 0..1 and its tokens (B, H // 8, W // 8)."""
        tokens = self.encode(maskige)
        return self.decode(tokens), tokens

    def _check(self, maskige: Tensor) -> None:
        if maskige.ndim != 4 or maskige.shape[1] != 3:
            raise ValueError(f"maskige: expected (B, 3, H, W), got {tuple(maskige.shape)}")
        if min(maskige.shape[-2:]) < self.stride:
            raise ValueError(f"maskige: expected sides of at least {self.stride} pixels, got {tuple(maskige.shape)}")


def _colours(raw: Tensor) -> Tensor:
    return unmap_pixels(torch.sigmoid(raw[:, :3].float()))


def _plain_arithmetic(x: Tensor) -> AbstractContextManager[Any]:
    kind = x.device.type
    return torch.autocast(kind, enabled=False) if torch.amp.is_autocast_available(kind) else nullcontext()
