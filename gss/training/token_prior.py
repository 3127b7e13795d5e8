"""The stage that learns what token grids of label maps look like, for drawing masks without an image."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from gss.model.codec import labels_to_tokens, maskige_labels, token_cells
from gss.model.gss import GSS
from gss.model.views.windows import ALIGNMENT


class TokenPriorTraining(nn.Module):
    """Hidden tokens of label maps are told from the others (Chang et al., "MaskGIT", 2022).

    Of every label map a share cos(pi r / 2) of its tokens is hidden, r uniform in 0..1: all shares that drawing meets.
    The loss is the cross-entropy of the hidden ones. Tokens of cells with an unlabelled pixel are always hidden and
    cost nothing, since nobody knows them. Tokenizer and everything else stay as they are.
    """

    def __init__(self, model: GSS) -> None:
        super().__init__()
        if model.token_prior is None:
            raise ValueError("token_prior: expected a model that has one to train it")
        self.model, self.prior = model, model.token_prior
        model.requires_grad_(False)
        self.prior.requires_grad_(True)

    def train(self, mode: bool = True) -> TokenPriorTraining:
        super().train(mode)
        self.model.eval()
        self.prior.train(mode)
        return self

    def forward(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        labels = batch["label"]
        tokens, known = self.label_tokens(labels)
        share = torch.cos(math.pi / 2 * torch.rand(len(tokens), 1, 1, device=tokens.device))
        hidden = (torch.rand(tokens.shape, device=tokens.device) < share) | ~known
        features = self.prior(torch.where(hidden, self.prior.hidden_token, tokens))
        targets = torch.where(hidden & known, tokens, self.prior.codes)
        loss = self.prior.head.loss(features, targets)
        with torch.no_grad():
            asked = targets != self.prior.codes
            right = (self.prior.head.tokens(features) == targets) & asked
        return {"loss": loss, "token_accuracy": right.sum() / asked.sum().clamp_min(1)}

    @torch.no_grad()
    def label_tokens(self, labels: Tensor) -> tuple[Tensor, Tensor]:
        """labels (B, H, W) -> their tokens (B, h, w), and which of them stand for labelled pixels only."""
        cells = token_cells(labels)
        labelled = (labels != self.model.palette.ignore_index).float()
        bottom, right = (cells[0] * ALIGNMENT - labels.shape[1], cells[1] * ALIGNMENT - labels.shape[2])
        whole = nn.functional.pad(labelled, (0, right, 0, bottom), value=1.0)
        known = nn.functional.avg_pool2d(whole[:, None], ALIGNMENT)[:, 0] == 1
        return labels_to_tokens(self.model, maskige_labels(self.model, labels, cells)), known
