"""A prior over token grids without an image, to draw label maps.

Stage 1 makes a label map a grid of tokens. This masked model learns the distribution of such grids: some tokens are
hidden, and the network predicts them from the others (Chang et al., "MaskGIT: masked generative image transformer",
2022). `gss.prediction.masks` draws from it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from gss.config import TokenPriorConfig
from gss.model.prior import TokenHead
from gss.model.swin import SwinBlock

if TYPE_CHECKING:
    pass


# A coarse cell is so many tokens a side: a window of the coarse map then spans a good part of a street.
COARSE = 4


class TokenPrior(nn.Module):
    """Tokens (B, h, w), some of them hidden -> features for the logits of each.

    Token embeddings and positions, a coarse map of 4x4 tokens a cell for distant tokens, the full map for near
    ones, each through shifted-window blocks, and a linear layer over the V tokens.

    Raises ValueError where the heads do not divide the channels.
    """

    def __init__(self, codes: int, config: TokenPriorConfig) -> None:
        super().__init__()
        channels = config.channels
        self.codes, self.config = codes, config
        self.embedding = nn.Embedding(codes + 1, channels)  # the last one stands for a hidden token
        nn.init.normal_(self.embedding.weight, std=0.02)
        self.position = nn.Linear(4 * config.frequencies, channels)
        self.merge = nn.Conv2d(channels, 2 * channels, COARSE, stride=COARSE)
        self.coarse_blocks = _blocks(2 * channels, config.coarse_depth, config)
        self.expand = nn.Sequential(
            nn.Conv2d(2 * channels, COARSE**2 * channels, 1),
            nn.PixelShuffle(COARSE),
        )
        self.blocks = _blocks(channels, config.depth, config)
        self.norm = nn.LayerNorm(channels)
        self.head = TokenHead(channels, codes)

    @property
    def hidden_token(self) -> int:
        """The id that stands for a hidden token, V."""
        return self.codes

    def forward(self, tokens: Tensor) -> Tensor:
        """tokens (B, h, w) in 0..V, V for hidden ones -> features (B, C, h, w), which `head` reads."""
        height, width = tokens.shape[-2:]
        tokens = nn.functional.pad(tokens, (0, -width % COARSE, 0, -height % COARSE), value=self.hidden_token)
        positions = grid_positions((height, width), tokens.shape[-2:], self.config.frequencies, tokens.device)
        x = self.embedding(tokens) + self.position(positions)
        coarse = self.merge(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        for block in self.coarse_blocks:
            coarse = block(coarse)
        x = x + self.expand(coarse.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        for block in self.blocks:
            x = block(x)
        return self.norm(x)[:, :height, :width].permute(0, 3, 1, 2)


def _blocks(channels: int, depth: int, config: TokenPriorConfig) -> nn.ModuleList:
    return nn.ModuleList(
        SwinBlock(channels, config.heads, config.window, config.window // 2 if i % 2 else 0) for i in range(depth)
    )


def grid_positions(
    size: tuple[int, int], padded: torch.Size | tuple[int, int], frequencies: int, device: torch.device
) -> Tensor:
    """sin and cos of 2^i pi y and 2^i pi x, i < frequencies, (*padded, 4 * frequencies) float32.

    y and x run from 0 to 1 over `size`, for any number of tokens: the sky is at the top of every grid.
    """
    axes = []
    for cells, total in zip(size, padded, strict=True):
        place = (torch.arange(total, device=device) + 0.5) / cells
        angles = place[:, None] * math.pi * 2.0 ** torch.arange(frequencies, device=device)
        axes.append(torch.cat((angles.sin(), angles.cos()), 1))
    down = axes[0][:, None].expand(-1, padded[1], -1)
    across = axes[1][None].expand(padded[0], -1, -1)
    return torch.cat((down, across), 2)
