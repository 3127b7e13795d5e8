"""VQGAN as a maskige tokenizer: the autoencoder of Esser et al. 2021 (arXiv 2012.09841), without its discriminator.

Maskige in 0..1 -> tokens of 2^(levels - 1) pixels a side, and back. It is the tokenizer that the paper compares the
DALL-E dVAE with (arXiv 2303.11316, Table 2). Published weights come through `gss.convert.vqgan`; it is never trained
here. A level is so many residual blocks at one resolution:

    block(x) = shortcut(x) + conv3x3(swish(norm(conv3x3(swish(norm(x))))))
    attention(x) = x + output(softmax(query key^T / sqrt(C)) value) of norm(x), every position with every other

Pixels are -1..1 inside. The networks compute in float32 under autocast too, since a token is the nearest of thousands
of codes.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import gsskernels
from gss.config import VqganConfig
from gss.model.attention import attention
from gss.model.tokenizers.vector_quantizer import code_logits

NORM_EPS = 1e-6


class ResidualBlock(nn.Module):
    """(B, C, H, W) -> (B, C', H, W); the shortcut is a 1x1 convolution where the number of channels changes."""

    def __init__(self, channels_in: int, channels_out: int, groups: int) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(groups, channels_in, eps=NORM_EPS)
        self.conv1 = nn.Conv2d(channels_in, channels_out, 3, padding=1)
        self.norm2 = nn.GroupNorm(groups, channels_out, eps=NORM_EPS)
        self.conv2 = nn.Conv2d(channels_out, channels_out, 3, padding=1)
        self.shortcut = nn.Conv2d(channels_in, channels_out, 1) if channels_in != channels_out else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        residual = self.conv1(F.silu(self.norm1(x)))
        residual = self.conv2(F.silu(self.norm2(residual)))
        return self.shortcut(x) + residual


class Attention(nn.Module):
    """Every position attends to every other, with one head: (B, C, H, W) -> (B, C, H, W)."""

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(groups, channels, eps=NORM_EPS)
        self.query = nn.Linear(channels, channels)
        self.key = nn.Linear(channels, channels)
        self.value = nn.Linear(channels, channels)
        self.output = nn.Linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        rows = self.norm(x).flatten(2).transpose(1, 2)[:, None]  # (B, 1, H * W, C)
        attended = attention(self.query(rows), self.key(rows), self.value(rows))
        return x + self.output(attended)[:, 0].transpose(1, 2).reshape(x.shape)


class Downsample(nn.Module):
    """Half the size by a 3x3 convolution of stride 2, padded by zeros below and on the right only."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.pad(x, (0, 1, 0, 1)))


class Upsample(nn.Module):
    """Twice the size: every pixel four times, then a 3x3 convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))


class Level(nn.Module):
    """Residual blocks at one resolution, with attention after each or none, and then another resolution."""

    def __init__(self, channels: Sequence[int], groups: int, attends: bool, resample: nn.Module) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(ResidualBlock(a, b, groups) for a, b in zip(channels, channels[1:], strict=False))
        self.attentions = nn.ModuleList(Attention(width, groups) for width in channels[1:] if attends)
        self.resample = resample

    def forward(self, x: Tensor) -> Tensor:
        for index, block in enumerate(self.blocks):
            x = block(x)
            if len(self.attentions) > 0:
                x = self.attentions[index](x)
        return self.resample(x)


class Middle(nn.Module):
    """Two blocks at token resolution, with attention between them or none."""

    def __init__(self, channels: int, groups: int, attends: bool) -> None:
        super().__init__()
        self.first = ResidualBlock(channels, channels, groups)
        self.attention = Attention(channels, groups) if attends else nn.Identity()
        self.second = ResidualBlock(channels, channels, groups)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.attention(self.first(x)))


class VqganEncoder(nn.Module):
    """Pixels (B, 3, H, W) in -1..1 -> latents (B, latent_channels, H / stride, W / stride)."""

    def __init__(self, config: VqganConfig) -> None:
        super().__init__()
        widths, groups = config.channels, config.groups
        self.input = nn.Conv2d(3, widths[0], 3, padding=1)
        self.levels = nn.ModuleList()
        for level, width in enumerate(widths):
            before = widths[max(level - 1, 0)]
            resample = Downsample(width) if level < len(widths) - 1 else nn.Identity()
            chain = [before, *[width] * config.blocks]
            self.levels.append(Level(chain, groups, level in config.attention_levels, resample))
        self.middle = Middle(widths[-1], groups, config.middle_attention)
        self.norm = nn.GroupNorm(groups, widths[-1], eps=NORM_EPS)
        self.output = nn.Conv2d(widths[-1], config.latent_channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.input(x)
        for level in self.levels:
            x = level(x)
        return self.output(F.silu(self.norm(self.middle(x))))


class VqganDecoder(nn.Module):
    """Latents (B, latent_channels, h, w) -> pixels (B, 3, h * stride, w * stride) in -1..1; coarsest level first."""

    def __init__(self, config: VqganConfig) -> None:
        super().__init__()
        widths, groups = config.channels, config.groups
        self.input = nn.Conv2d(config.latent_channels, widths[-1], 3, padding=1)
        self.middle = Middle(widths[-1], groups, config.middle_attention)
        self.levels = nn.ModuleList()
        for level in reversed(range(len(widths))):
            width, before = widths[level], widths[min(level + 1, len(widths) - 1)]
            resample = Upsample(width) if level > 0 else nn.Identity()
            chain = [before, *[width] * (config.blocks + 1)]
            self.levels.append(Level(chain, groups, level in config.attention_levels, resample))
        self.norm = nn.GroupNorm(groups, widths[0], eps=NORM_EPS)
        self.output = nn.Conv2d(widths[0], 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.middle(self.input(x))
        for level in self.levels:
            x = level(x)
        return self.output(F.silu(self.norm(x)))


class VqganTokenizer(nn.Module):
    """Maskige (B, 3, H, W) in 0..1 <-> tokens (B, ceil(H / stride), ceil(W / stride)) in 0..V-1.

    H and W that are no multiple of the stride are padded by repeating the border; `decode` returns whole tokens, and
    the caller crops. Raises ValueError for sizes that do not go together, and for anything but three channels.
    """

    def __init__(self, config: VqganConfig | None = None) -> None:
        super().__init__()
        self.config = config or VqganConfig()
        self.stride = self.config.stride
        self.encoder = VqganEncoder(self.config)
        self.to_codes = nn.Conv2d(self.config.latent_channels, self.config.code_dim, 1)
        self.codebook = nn.Parameter(torch.randn(self.config.codes, self.config.code_dim))
        self.from_codes = nn.Conv2d(self.config.code_dim, self.config.latent_channels, 1)
        self.decoder = VqganDecoder(self.config)

    @property
    def codes(self) -> int:
        """V, the size of the codebook."""
        return self.config.codes

    def encode(self, maskige: Tensor) -> Tensor:
        """maskige (B, 3, H, W) in 0..1 -> tokens (B, ceil(H / stride), ceil(W / stride)) int64. No gradient."""
        with torch.no_grad():
            return gsskernels.nearest_code(self.encode_vectors(maskige), self.codebook, dim=1)

    def encode_vectors(self, maskige: Tensor) -> Tensor:
        """maskige (B, 3, H, W) in 0..1 -> what is compared with the codes, (B, D, h, w) float32."""
        if maskige.ndim != 4 or maskige.shape[1] != 3:
            raise ValueError(f"maskige: expected (B, 3, H, W), got {tuple(maskige.shape)}")
        bottom, right = -maskige.shape[-2] % self.stride, -maskige.shape[-1] % self.stride
        with torch.autocast(maskige.device.type, enabled=False):
            pixels = maskige.float() * 2 - 1
            if bottom or right:
                pixels = F.pad(pixels, (0, right, 0, bottom), mode="replicate")
            return self.to_codes(self.encoder(pixels))

    def encode_logits(self, maskige: Tensor) -> Tensor:
        """maskige (B, 3, H, W) in 0..1 -> minus the squared distances from all codes, (B, V, h, w), for soft codes."""
        return code_logits(self.encode_vectors(maskige), self.codebook)

    def decode(self, tokens: Tensor) -> Tensor:
        """tokens (B, h, w) integers -> maskige (B, 3, h * stride, w * stride) float32 in 0..1."""
        if tokens.ndim != 3 or tokens.is_floating_point():
            raise ValueError(f"tokens: expected integers (B, h, w), got {tokens.dtype} {tuple(tokens.shape)}")
        return self.decode_vectors(F.embedding(tokens, self.codebook).permute(0, 3, 1, 2))

    def decode_vectors(self, vectors: Tensor) -> Tensor:
        """Codebook rows or mixtures of them (B, D, h, w) -> maskige (B, 3, h * stride, w * stride) float32 in 0..1."""
        with torch.autocast(vectors.device.type, enabled=False):
            pixels = self.decoder(self.from_codes(vectors.float()))
            return ((pixels + 1) / 2).clamp(0, 1)

    def forward(self, maskige: Tensor) -> tuple[Tensor, Tensor]:
        """Reconstruction in 0..1 at the size of the maskige, and its tokens."""
        tokens = self.encode(maskige)
        height, width = maskige.shape[-2:]
        return self.decode(tokens)[..., :height, :width], tokens
