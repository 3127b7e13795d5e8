"""A prior over token grids without any image: what label maps look like, drawn in a few rounds.

Stage 1 makes a label map a grid of tokens; this learns their distribution, so that label maps can be drawn from
nothing. It is a masked model: some tokens are hidden, the network says what they could be. Drawing starts with every
token hidden and settles a growing number each round (Chang et al., "MaskGIT: masked generative image transformer",
2022).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

import gsskernels

from .config import TokenPriorConfig
from .inference import ALIGNMENT
from .prior import TokenHead
from .swin import SwinBlock

if TYPE_CHECKING:
    from .model import GSS

# Masks drawn at a time.
BATCH = 8

# A coarse cell is so many tokens a side: a window of the coarse map then spans a good part of a street.
COARSE = 4


class TokenPrior(nn.Module):
    """Tokens (B, h, w), some hidden -> what each may be.

    Token embeddings and positions, a coarse map of 4x4 tokens a cell for what is far apart, the full map for what is
    near, each through shifted-window blocks, and a linear layer over the V tokens.

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

    y and x run from 0 to 1 over `size`, whatever the number of tokens: the sky is at the top of every grid.
    """
    axes = []
    for cells, total in zip(size, padded, strict=True):
        place = (torch.arange(total, device=device) + 0.5) / cells
        angles = place[:, None] * math.pi * 2.0 ** torch.arange(frequencies, device=device)
        axes.append(torch.cat((angles.sin(), angles.cos()), 1))
    down = axes[0][:, None].expand(-1, padded[1], -1)
    across = axes[1][None].expand(padded[0], -1, -1)
    return torch.cat((down, across), 2)


def still_hidden(cells: int, done: float) -> int:
    """How many of `cells` tokens are hidden when the share `done` (0..1) of the rounds is over: a quarter cosine.

    Few are settled in the first rounds, when little is known.
    """
    return int(cells * math.cos(math.pi / 2 * done) + 1e-6)


@torch.inference_mode()
def draw_tokens(
    prior: TokenPrior,
    count: int,
    size: tuple[int, int],
    rounds: int = 12,
    temperature: float = 1.0,
    choice_temperature: float = math.inf,
    seed: int = 0,
) -> Tensor:
    """Token grids (count, h, w) int64 drawn from nothing.

    In every round each hidden token is drawn from what the network says, and some of them are settled, as many as
    `still_hidden` says. In a random order, those settled are a sample of what the network has learned. MaskGIT settles
    the surest instead, and so loses rare classes: on generated street scenes the shares of the classes
    were off by 0.64 in sum of absolute differences with the surest first, by 0.31 with its noise of 4.5, and by 0.15 in
    a random order (the demo recipe, 600 steps, 16 masks), and more rounds did not help.

    Args:
        size: (h, w) tokens.
        temperature: > 0, of the token logits.
        choice_temperature: infinite for the random order; else of the Gumbel noise added to the log-probability of a
            draw, of which the largest are settled. The noise falls to none with the last round; 0 has none at all.
        seed: the same seed gives the same grids on one backend of gsskernels and one device.

    Raises:
        ValueError: a number out of range.
    """
    for name, value in (("count", count), ("rounds", rounds), ("size", min(size))):
        if value < 1:
            raise ValueError(f"{name}: expected at least 1, got {value}")
    if not choice_temperature >= 0:
        raise ValueError(f"choice_temperature: expected 0 or more, got {choice_temperature}")
    prior.eval()
    generator = torch.Generator().manual_seed(seed)
    weight, bias = prior.head.weight, prior.head.bias
    cells = size[0] * size[1]
    tokens = torch.full((count, *size), prior.hidden_token, device=weight.device)
    for step in range(rounds):
        features = prior(tokens)
        own_seed = int(torch.randint(2**63 - 1, (), generator=generator))
        drawn = gsskernels.linear_sample(features, weight, bias, temperature=temperature, seed=own_seed, dim=1)
        hidden = tokens == prior.hidden_token
        left = still_hidden(cells, (step + 1) / rounds)
        noise = -torch.empty(count, *size).exponential_(generator=generator).log().to(tokens.device)
        sureness = noise
        if choice_temperature < math.inf:
            loss = gsskernels.linear_cross_entropy(features, weight, drawn, bias, dim=1, reduction="none")
            sureness = choice_temperature * (1 - (step + 1) / rounds) * noise - loss
        # What was settled before stays: only hidden tokens compete for being left open.
        order = sureness.masked_fill(~hidden, math.inf).flatten(1).argsort(1)
        tokens = torch.where(hidden, drawn, tokens)
        tokens.view(count, cells).scatter_(1, order[:, :left], prior.hidden_token)
    return tokens


@torch.inference_mode()
def draw_masks(
    model: GSS,
    count: int,
    size: tuple[int, int],
    rounds: int = 12,
    temperature: float = 1.0,
    choice_temperature: float = math.inf,
    seed: int = 0,
) -> Tensor:
    """Label maps (count, H, W) uint8 drawn without an image, on the CPU; the arguments are those of `draw_tokens`.

    Args:
        model: one with a `token_prior`.
        size: (H, W) pixels.

    Raises:
        ValueError: a model without a prior over tokens, or a number out of range.
    """
    if model.token_prior is None:
        raise ValueError("model: expected one with a token_prior, which the stage of that name trains")
    if min(size) < 1 or count < 1:
        raise ValueError(f"size, count: expected at least 1, got {size} and {count}")
    model.eval()
    height, width = size
    cells = (-(-height // ALIGNMENT), -(-width // ALIGNMENT))
    seeds = torch.randint(2**63 - 1, (-(-count // BATCH),), generator=torch.Generator().manual_seed(seed)).tolist()
    masks = []
    for first, own_seed in zip(range(0, count, BATCH), seeds, strict=True):
        drawn = min(BATCH, count - first)
        tokens = draw_tokens(model.token_prior, drawn, cells, rounds, temperature, choice_temperature, own_seed)
        painted = model.tokenizer.decode(tokens)
        labels = model.classify(painted, (cells[0] * ALIGNMENT, cells[1] * ALIGNMENT)).labels
        masks.append(labels[:, :height, :width].to(torch.uint8).cpu())
    return torch.cat(masks)
