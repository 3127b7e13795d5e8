"""Latent posterior learning: a palette learned through frozen tokens (arXiv 2303.11316, section 3.2, GSS-TF/TT)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import gsskernels
from gss.config import PosteriorConfig
from gss.model.codec import maskige_labels
from gss.model.gss import GSS
from gss.palette import Palette
from gss.training.losses import cross_entropy, palette_distances
from gss.training.stages import Batch, StageTraining

# Learned colours keep this far from the faces of the colour cube at the start, where the logistic function is flat.
INSET = 0.02


class PosteriorTraining(StageTraining):
    """Trains the palette, and X^-1 if it is a network, so that labels survive the frozen tokenizer.

    Labels are painted in the learned colours, encoded, decoded, and classified. The loss is class cross-entropy, with
    the nearest learned colour as X^-1 (GSS-TF) or the network (GSS-TT). Gradients pass the choice of the code by a
    relaxation, `PosteriorConfig.estimator`.

    With `spread` > 0, pairs of colours nearer than that (in units of the colour cube's side) are pushed apart. Without
    it, a learned X^-1 may come to rely on colours that are nearly the same, and the tokenizer mixes these up.
    """

    def __init__(self, model: GSS, class_weights: Tensor, config: PosteriorConfig) -> None:
        super().__init__(class_weights)
        self.model, self.config = model, config
        model.requires_grad_(False)
        self.inverse = model.inverse
        if self.inverse is not None:
            self.inverse.requires_grad_(True)
        self.color_logits = nn.Parameter((model.maskige.colors / 255).clamp(INSET, 1 - INSET).logit())

    def train(self, mode: bool = True) -> PosteriorTraining:
        super().train(mode)
        self.model.eval()
        if self.inverse is not None:
            self.inverse.train(mode)
        return self

    def colors(self) -> Tensor:
        """The learned palette, (K, 3) in 0..1."""
        return torch.sigmoid(self.color_logits)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        palette = self.model.palette
        labels = maskige_labels(self.model, batch["label"])
        colors = self.colors()
        ignore = [channel / 255 for channel in palette.ignore_color]
        target = gsskernels.maskige_encode(labels, colors, ignore_index=palette.ignore_index, ignore_color=ignore)
        painted = self.through_tokens(target)
        if self.inverse is None:
            scores = -palette_distances(painted, colors) / self.config.temperature
            loss = cross_entropy(scores, labels, self.class_weights)
        else:
            loss = self.inverse.loss(painted, labels, self.class_weights)
        nearest = _nearest_distances(colors)
        crowding = (self.config.spread - nearest).clamp_min(0).square().sum()
        return {
            "loss": loss + self.config.spread_weight * crowding,
            "classification": loss,
            "smallest_distance": 255 * nearest.min().detach(),
        }

    def through_tokens(self, maskige: Tensor) -> Tensor:
        """The maskige (B, 3, H, W) encoded and decoded, with a gradient."""
        tokenizer: Any = self.model.tokenizer
        logits: Tensor = tokenizer.encode_logits(maskige)
        if self.config.estimator == "gumbel":
            weights = F.gumbel_softmax(logits, tau=self.config.token_temperature, hard=True, dim=1)
        else:
            soft = (logits / self.config.token_temperature).softmax(1)
            hard = torch.zeros_like(soft).scatter_(1, logits.argmax(1, keepdim=True), 1.0)
            weights = hard + soft - soft.detach()
        return tokenizer.decode_vectors(torch.einsum("bvhw,vd->bdhw", weights, tokenizer.codebook))

    def learned_palette(self) -> Palette:
        """The palette with the colours rounded to 0..255. Raises ValueError if two classes have the same colour."""
        levels = (255 * self.colors().detach()).round().long().tolist()
        old = self.model.palette
        try:
            return Palette(f"{old.name}-learned", old.class_names, tuple(map(tuple, levels)), old.ignore_color)
        except ValueError as error:
            raise ValueError(
                f"posterior: the learned palette cannot be used, {error}; posterior.spread keeps colours apart"
            ) from error

    def finish(self) -> None:
        """Give the model the learned palette; later stages paint with it."""
        self.model.set_palette(self.learned_palette())


def _nearest_distances(colors: Tensor) -> Tensor:
    """colors (K, 3) -> the distance (K,) of each from the nearest other one."""
    apart = torch.cdist(colors, colors, compute_mode="donot_use_mm_for_euclid_dist")
    itself = torch.eye(len(colors), dtype=torch.bool, device=colors.device)
    return apart.masked_fill(itself, torch.inf).amin(1)
