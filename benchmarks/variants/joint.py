"""X and X^-1 learned through frozen tokens as may have been done where TT collapsed (paper table 1)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gss.config import PosteriorConfig
from gss.model.gss import GSS
from gss.training.posterior import PosteriorTraining


@dataclass(frozen=True)
class Changes:
    """What is done otherwise than in `gss.training.posterior`.

    colors: "cube", the logistic function of the parameters, as there; "clamped", the parameters themselves, which may
        leave the colour cube until the training ends; "linear", the same with nothing to bring them back, as where X is
        a linear layer.
    start: where the colours begin: the "palette", or as the weights of a linear layer over K classes do by default
        ("layer", uniform within 1 / sqrt(K) of black), or standard normal ("normal"). The last two for "linear" only.
    soft: the decoder is trained on mixtures of codes. At the end, as always, it sees one code a token.
    noise: tokens are drawn from the softmax of the logits over this, by hard Gumbel noise; None, where none is added.
    """

    colors: Literal["cube", "clamped", "linear"] = "cube"
    start: Literal["palette", "layer", "normal"] = "palette"
    soft: bool = False
    noise: float | None = None


class ChangedTraining(PosteriorTraining):
    """`PosteriorTraining` with `changes`. Where these are of the tokens, "noisy" is logged too: the share of tokens in
    which another code weighs most than the most likely one.

    Raises ValueError for noise on soft tokens, which `PosteriorConfig.estimator` "gumbel" adds, and for colours that
    start outside the cube and are to be kept inside.
    """

    def __init__(self, model: GSS, class_weights: Tensor, config: PosteriorConfig, changes: Changes) -> None:
        super().__init__(model, class_weights, config)
        if changes.start != "palette" and changes.colors != "linear":
            raise ValueError(f"start: expected 'palette' for {changes.colors!r} colours, got {changes.start!r}")
        if changes.soft and changes.noise is not None:
            raise ValueError(f"noise: expected None for soft tokens, got {changes.noise}")
        self.changes = changes
        self.noisy: Tensor | None = None
        if changes.colors != "cube":
            self.color_logits = nn.Parameter(self.first_colors())

    def first_colors(self) -> Tensor:
        """(K, 3), in 0..1 where they come from the palette."""
        palette = self.model.maskige.colors / 255
        if self.changes.start == "palette":
            return palette
        # drawn on the CPU, whose generator gives the same colours on every machine
        if self.changes.start == "normal":
            return torch.randn(palette.shape).to(palette.device)
        return ((2 * torch.rand(palette.shape) - 1) * len(palette) ** -0.5).to(palette.device)

    def colors(self) -> Tensor:
        if self.changes.colors == "cube":
            return super().colors()
        kept = self.changes.colors == "clamped" and not self.training
        return self.color_logits.clamp(0, 1) if kept else self.color_logits

    def forward(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        values = super().forward(batch)
        return values if self.noisy is None else {**values, "noisy": self.noisy}

    def through_tokens(self, maskige: Tensor) -> Tensor:
        if not self.changes.soft and self.changes.noise is None:
            return super().through_tokens(maskige)
        tokenizer: Any = self.model.tokenizer
        logits: Tensor = tokenizer.encode_logits(maskige)
        temperature = self.config.token_temperature
        if self.changes.noise is not None:
            weights = F.gumbel_softmax(logits / self.changes.noise, tau=temperature, hard=True, dim=1)
        elif self.config.estimator == "gumbel":
            weights = F.gumbel_softmax(logits, tau=temperature, dim=1)
        else:
            weights = (logits / temperature).softmax(1)
        self.noisy = (weights.argmax(1) != logits.argmax(1)).float().mean()
        return tokenizer.decode_vectors(torch.einsum("bvhw,vd->bdhw", weights, tokenizer.codebook))
