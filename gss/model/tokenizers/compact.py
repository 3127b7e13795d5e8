"""The compact maskige tokenizer: an encoder-decoder of a few hundred thousand parameters around a VQ codebook.

All convolutions run at token resolution: space-to-depth by the stride goes in, depth-to-space comes out. A maskige
pixel then costs thousands of multiply-adds instead of the DALL-E dVAE's millions, and it trains on label maps in
minutes.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gss.config import CompactConfig
from gss.model.tokenizers.vector_quantizer import Quantized, VectorQuantizer, code_logits


class ResidualBlock(nn.Module):
    """x + conv1x1(relu(conv3x3(relu(x)))): one 3x3 convolution a block keeps the cost at token resolution low."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.spatial = nn.Conv2d(width, width, 3, padding=1)
        self.pointwise = nn.Conv2d(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.pointwise(F.relu(self.spatial(F.relu(x))))


class CompactTokenizer(nn.Module):
    """Maskige (B, 3, H, W) in 0..1 <-> tokens (B, H/stride, W/stride) in 0..V-1.

    H and W that are no multiple of the stride are padded by repeating the border; `decode` returns whole tokens, and
    the caller crops. Raises ValueError for anything but three channels.
    """

    def __init__(self, config: CompactConfig) -> None:
        super().__init__()
        self.config = config
        self.stride = config.stride
        pixels = 3 * config.stride**2
        self.encoder = nn.Sequential(
            nn.PixelUnshuffle(config.stride),
            nn.Conv2d(pixels, config.width, 1),
            *[ResidualBlock(config.width) for _ in range(config.encoder_blocks)],
            nn.ReLU(),
            nn.Conv2d(config.width, config.code_dim, 1),
        )
        self.quantizer = VectorQuantizer(config.codes, config.code_dim, decay=config.ema_decay)
        self.decoder = nn.Sequential(
            nn.Conv2d(config.code_dim, config.width, 3, padding=1),
            *[ResidualBlock(config.width) for _ in range(config.decoder_blocks)],
            nn.ReLU(),
            nn.Conv2d(config.width, pixels, 1),
            nn.PixelShuffle(config.stride),
        )

    @property
    def codes(self) -> int:
        """V, the size of the codebook."""
        return self.quantizer.codes

    @property
    def codebook(self) -> Tensor:
        """The vector of each token, the decoder's input, (V, D)."""
        return self.quantizer.codebook

    def encode(self, maskige: Tensor) -> Tensor:
        """maskige (B, 3, H, W) in 0..1 -> tokens (B, ceil(H/stride), ceil(W/stride)) int64."""
        return self.quantizer.tokens(self._latents(maskige))

    def encode_logits(self, maskige: Tensor) -> Tensor:
        """maskige (B, 3, H, W) in 0..1 -> minus the squared distances from all codes, (B, V, h, w), for soft codes."""
        return code_logits(self._latents(maskige).float(), self.codebook)

    def decode(self, tokens: Tensor) -> Tensor:
        """tokens (B, h, w) -> maskige (B, 3, h*stride, w*stride) float in 0..1."""
        return self.decode_vectors(self.quantizer.lookup(tokens))

    def decode_vectors(self, vectors: Tensor) -> Tensor:
        """Code vectors (B, D, h, w), possibly mixtures of codes -> maskige (B, 3, h*stride, w*stride) in 0..1."""
        return torch.sigmoid(self.decoder(vectors).float())

    def forward(self, maskige: Tensor) -> tuple[Tensor, Quantized]:
        """Reconstruction in 0..1 and the quantisation; gradients pass straight through the tokens."""
        quantized = self.quantizer(self._latents(maskige))
        height, width = maskige.shape[-2:]
        return self.decode_vectors(quantized.vectors)[..., :height, :width], quantized

    def _latents(self, maskige: Tensor) -> Tensor:
        if maskige.ndim != 4 or maskige.shape[1] != 3:
            raise ValueError(f"maskige: expected (B, 3, H, W), got {tuple(maskige.shape)}")
        height, width = maskige.shape[-2:]
        bottom, right = -height % self.stride, -width % self.stride
        if bottom or right:
            maskige = F.pad(maskige, (0, right, 0, bottom), mode="replicate")
        return self.encoder(maskige * 2 - 1)
