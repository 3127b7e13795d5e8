"""Label maps drawn without an image, from the prior over tokens."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

import gsskernels
from gss.model.token_prior import TokenPrior
from gss.model.views.windows import ALIGNMENT

if TYPE_CHECKING:
    from gss.model.gss import GSS

BATCH = 8  # masks drawn at a time


def still_hidden(cells: int, done: float) -> int:
    """The number of `cells` tokens still hidden after the share `done` (0..1) of the rounds: a quarter cosine.

    Few tokens are settled in the first rounds, when little is known (MaskGIT, arXiv 2202.04200, section 3.3).

    >>> [still_hidden(100, done) for done in (0, 0.5, 1)]
    [100, 70, 0]
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
    """Draw token grids without an image.

    Each round draws every hidden token from the distribution that the network predicts, and settles as many as
    `still_hidden` says. Settled in a random order, the tokens are a sample of the learned distribution. MaskGIT settles
    the surest first and so loses rare classes, see docs/confidence.md.

    Args:
        prior: the prior over tokens.
        count: the number of grids.
        size: (h, w) tokens.
        rounds: the number of rounds.
        temperature: above 0, divides the token logits.
        choice_temperature: infinite for the random order. Otherwise the tokens with the largest log-probability plus
            Gumbel noise are settled, and this is the factor of the noise. It falls to 0 in the last round; 0 is no
            noise.
        seed: the same seed gives the same grids on one backend of gsskernels and one device.

    Returns:
        int64 (count, h, w).

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
        # Settled tokens stay: only hidden ones compete for being left open.
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
    """Draw label maps without an image.

    Args:
        model: a model with a `token_prior`.
        size: (H, W) pixels.
        count, rounds, temperature, choice_temperature, seed: as in `draw_tokens`.

    Returns:
        uint8 (count, H, W), on the CPU.

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
