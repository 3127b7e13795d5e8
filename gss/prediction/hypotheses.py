"""Several segmentations of one image, drawn from the prior. They differ where the model has more than one reading.

Tokens are drawn cell by cell from p(token | image), since the prior takes them as independent given the image
(arXiv 2303.11316, section 3.2). Each drawn token map is decoded as a whole.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import gsskernels
from gss.io.images import save_image, to_images
from gss.io.labels import write_label
from gss.model.gss import GSS
from gss.model.prior import TokenHead
from gss.model.views.predict import needs_scores
from gss.model.views.windows import pad_to_alignment
from gss.palette import Palette

PIXELS_AT_A_TIME = 1 << 21  # maskige pixels decoded in one batch; a larger draw is decoded alone
MOST_DRAWS = 64  # draws of a cell's token before the most likely one is taken


@dataclass(eq=False)
class Hypotheses:
    """S segmentations of one image.

    labels: uint8 (H, W), the most frequent class of each pixel, the lowest on ties.
    entropy: float32 (H, W), the entropy of the classes of each pixel in nats: 0 where all agree, at most
        log(min(S, K)).
    maps: uint8 (S, H, W), the segmentations.
    tokens: int64 (S, h, w), their tokens.
    distinct: indices of maps that differ most, see `farthest_first`; fewer than asked for where the rest repeat them.
    palette: gives the colours of the files.
    name: the stem of the files that `save` writes.
    """

    labels: Tensor
    entropy: Tensor
    maps: Tensor
    tokens: Tensor
    distinct: tuple[int, ...]
    palette: Palette
    name: str | None = None

    def save(self, directory: str | os.PathLike[str]) -> dict[str, Path]:
        """Write index PNGs NAME_modal.png and NAME_hypothesis_0.png, ..., and NAME_entropy.png.

        The entropy is black where all agree and pale yellow at the largest possible entropy. The directory is made
        where it is missing.

        Returns:
            The paths by kind: "modal", "entropy", "hypothesis_0", ...
        """
        from gss.io.pictures import margin_map

        folder, name = Path(directory), self.name or "result"
        folder.mkdir(parents=True, exist_ok=True)
        pictures = {"modal": self.labels} | {f"hypothesis_{i}": self.maps[k] for i, k in enumerate(self.distinct)}
        paths = {kind: folder / f"{name}_{kind}.png" for kind in (*pictures, "entropy")}
        for kind, labels in pictures.items():
            write_label(paths[kind], labels, self.palette)
        most = math.log(min(len(self.maps), self.palette.num_classes))
        save_image(paths["entropy"], margin_map(self.entropy, most)[0])
        return paths


@torch.inference_mode()
def sample(
    model: GSS,
    image: Any,
    samples: int = 16,
    temperature: float = 1.0,
    seed: int = 0,
    distinct: int = 3,
    threshold: float = 0.0,
) -> Hypotheses:
    """Draw segmentations of an image.

    Drawn tokens are decoded as they are. A model with `decode: consensus` mixes the codes of many tokens in its
    prediction, so its prediction is smoother than any draw.

    Args:
        model: a generative model that makes one pass over an image of this size (no windows, scales or mirroring).
        image: a path, PIL image, uint8 array (H, W, 3) or uint8 tensor (3, H, W).
        samples: S, at least 1. More samples leave the first ones as they are.
        temperature: above 0; the token logits are divided by it. Below 1 draws are closer to the most likely token,
            above 1 they differ more.
        seed: the same seed gives the same draws on one backend of gsskernels and one device.
        distinct: the number of maps that differ most to name.
        threshold: 0 to 1; tokens less likely than this share of the cell's most likely one are not drawn. 0 draws from
            all tokens, 1 only the most likely one.

    Returns:
        `Hypotheses`, on the CPU.

    Raises:
        TypeError: a model without tokens.
        ValueError: a number out of range, several images, or a model that makes more than one pass over the image.
    """
    if not isinstance(model, GSS):
        raise TypeError(f"model: expected a generative model, whose tokens can be drawn, got {type(model).__name__}")
    for name, value in (("samples", samples), ("distinct", distinct)):
        if value < 1:
            raise ValueError(f"{name}: expected at least 1, got {value}")
    if not 0 <= threshold <= 1:
        raise ValueError(f"threshold: expected a share of a probability, 0 to 1, got {threshold}")
    images, names, single = to_images(image)
    if not single:
        raise ValueError(f"image: expected one image, got {len(images)}")
    height, width = images[0].shape[-2:]
    if needs_scores(model.inference, (height, width)):
        raise ValueError(
            f"inference: expected one pass over the image, got {model.inference}; windows and views have tokens of "
            "their own, and draws from them would not fit together"
        )
    model.eval()
    seen = images[0][None].to(model.token_head.free_weight.device)
    if model.inference.unaligned == "pad":
        seen = pad_to_alignment(seen)
    _, hidden = model.trunk(model.encoder(seen))
    tokens = draw_tokens(model.token_head, hidden, samples, temperature, seed, threshold)
    size = (seen.shape[-2], seen.shape[-1])
    at_a_time = max(1, PIXELS_AT_A_TIME // (tokens[0].numel() * model.tokenizer.stride**2))
    maps = torch.cat([model.classify(model.tokenizer.decode(t), size).labels for t in tokens.split(at_a_time)])
    maps = maps[:, :height, :width].contiguous()
    labels, entropy = vote(maps)
    chosen = farthest_first(maps, labels, distinct)
    cpu = (labels.cpu(), entropy.cpu(), maps.cpu(), tokens.cpu())
    return Hypotheses(*cpu, distinct=chosen, palette=model.palette, name=names[0])


def draw_tokens(
    head: TokenHead, hidden: Tensor, samples: int, temperature: float = 1.0, seed: int = 0, threshold: float = 0.0
) -> Tensor:
    """Tokens int64 (S, h, w) drawn for features `hidden` (1, C, h, w) of the trunk; see `sample` for the arguments."""
    # One draw after the other: S copies of the features would cost more memory than the logits that are never stored.
    # The seeds of the draws are drawn too: seed 1 must not repeat the draws of seed 0, shifted by one.
    weight, bias = head.weight.to(hidden.dtype), head.bias.to(hidden.dtype)
    refused = None
    if threshold > 0:
        rows = hidden[0].flatten(1).t()
        refused = Refusal(rows, weight, bias, head.tokens(hidden).flatten(), temperature * math.log(threshold))
    draws = []
    for s in _seeds(seed, samples):
        tokens = gsskernels.linear_sample(hidden, weight, bias, temperature=temperature, seed=s, dim=1)
        draws.append(tokens if refused is None else refused.redrawn(tokens.flatten(), temperature, s).view_as(tokens))
    return torch.cat(draws)


@dataclass
class Refusal:
    """Draws again the tokens that are too unlikely, from all tokens, which is exact.

    The test of a token takes its own logit and the largest one, so the logits of all V tokens are never stored. A
    top-k would need all of them.

    rows: (N, C), features of the cells.
    weight, bias: (V, C) and (V,), the token head.
    best: (N,), the most likely tokens.
    below: at most 0, the least accepted logit minus the best one.
    """

    rows: Tensor
    weight: Tensor
    bias: Tensor
    best: Tensor
    below: float

    def __post_init__(self) -> None:
        self.least = self.logits(self.best) + self.below

    def redrawn(self, tokens: Tensor, temperature: float, seed: int) -> Tensor:
        """The drawn tokens (N,) with unlikely ones drawn again; after `MOST_DRAWS` draws the most likely one."""
        tokens = tokens.clone()
        waiting = (self.logits(tokens) < self.least).nonzero()[:, 0]
        for s in _seeds(seed, MOST_DRAWS):
            if len(waiting) == 0:
                return tokens
            rows = self.rows[waiting]
            drawn = gsskernels.linear_sample(rows, self.weight, self.bias, temperature=temperature, seed=s)
            tokens[waiting] = drawn
            waiting = waiting[self.logits(drawn, waiting) < self.least[waiting]]
        tokens[waiting] = self.best[waiting]
        return tokens

    def logits(self, tokens: Tensor, rows: Tensor | None = None) -> Tensor:
        """Logits (M,) of one token a row: tokens (M,) and the indices (M,) of their rows, by default all rows."""
        features = self.rows if rows is None else self.rows[rows]
        return (features * self.weight[tokens]).sum(1) + self.bias[tokens]


def _seeds(seed: int, count: int) -> list[int]:
    drawn: list[int] = torch.randint(2**63 - 1, (count,), generator=torch.Generator().manual_seed(seed)).tolist()
    return drawn


def vote(maps: Tensor) -> tuple[Tensor, Tensor]:
    """The most frequent class of each pixel, the lowest on ties, and the entropy of its classes in nats.

    Args:
        maps: (S, H, W) integers.

    Returns:
        (H, W) of the dtype of `maps`, and (H, W) float32.

    >>> labels, entropy = vote(torch.tensor([[[7, 3]], [[7, 2]], [[7, 3]], [[7, 2]]]))
    >>> labels.tolist(), [round(nats, 4) for nats in entropy[0].tolist()]
    ([[7, 2]], [0.0, 0.6931])
    """
    # One class at a time and only classes that occur: a photo has a few dozen of 150, and S x K planes never exist.
    samples = len(maps)
    labels = torch.zeros_like(maps[0])
    most = torch.zeros(maps[0].shape, dtype=torch.int32, device=maps.device)
    entropy = torch.zeros(maps[0].shape, device=maps.device)
    for k in maps.unique().tolist():
        count = (maps == k).sum(0, dtype=torch.int32)
        labels.masked_fill_(count > most, k)
        most = torch.maximum(most, count)
        share = count / samples
        entropy -= torch.special.xlogy(share, share)
    return labels, entropy


def farthest_first(maps: Tensor, center: Tensor, count: int) -> tuple[int, ...]:
    """Indices of the maps that differ most: the one nearest to the centre, then always the farthest from those chosen.

    The distance is the share of pixels in which two maps differ (Gonzalez, "Clustering to minimize the maximum
    intercluster distance", 1985).

    Args:
        maps: (S, H, W).
        center: (H, W).
        count: the number of indices. There are fewer where all other maps equal a chosen one.

    >>> farthest_first(torch.tensor([[[0, 0]], [[0, 1]], [[1, 1]]]), torch.tensor([[0, 0]]), 2)
    (0, 2)
    """
    chosen = [int(_differing(maps, center).argmin())]
    distance = _differing(maps, maps[chosen[0]])
    while len(chosen) < count and int(distance.max()) > 0:
        chosen.append(int(distance.argmax()))
        distance = torch.minimum(distance, _differing(maps, maps[chosen[-1]]))
    return tuple(chosen)


def _differing(maps: Tensor, other: Tensor) -> Tensor:
    """The number of pixels in which each of `maps` (S, H, W) differs from `other` (H, W), int64 (S,)."""
    return torch.stack([(one != other).sum() for one in maps])
