"""The modules that the stages train. `forward(batch)` returns a dict of scalar tensors: "loss", and others to log.

A batch holds "image" uint8 (B, 3, H, W) and "label" uint8 (B, H, W), 255 = ignore.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import gsskernels
from gss.model.classifier import PixelClassifier
from gss.model.codec import Codec, labels_to_tokens, maskige_labels, token_cells
from gss.model.gss import GSS
from gss.model.tokenizers.compact import CompactTokenizer
from gss.model.views.windows import ALIGNMENT
from gss.training.losses import cross_entropy, palette_distances, upsampled_cross_entropy

Batch = Mapping[str, Tensor]


class StageTraining(nn.Module):
    """Base of the stages with a loss over classes: `class_weights` (K,) scales the loss of each class."""

    channels_last = True
    class_weights: Tensor

    def __init__(self, class_weights: Tensor) -> None:
        super().__init__()
        self.register_buffer("class_weights", class_weights.float(), persistent=False)


class TokenizerTraining(StageTraining):
    """Stage 1: the tokenizer learns to reconstruct the maskige of label maps.

    The loss is the squared colour error over labelled pixels, plus class cross-entropy on the negative squared palette
    distances over a temperature, plus the quantiser's commitment. The log also gets the use of the codebook, see
    `VectorQuantizer.health`.

    Raises:
        ValueError: if the tokenizer is not the compact one.
    """

    def __init__(self, model: Codec, class_weights: Tensor) -> None:
        super().__init__(class_weights)
        if not isinstance(model.tokenizer, CompactTokenizer):
            raise ValueError(f"tokenizer.type: expected 'compact' to train it, got {model.tokenizer.config.type!r}")
        self.config = model.tokenizer.config
        self.palette, self.maskige, self.tokenizer = model.palette, model.maskige, model.tokenizer

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        labels = maskige_labels(self, batch["label"])
        palette = self.palette
        labelled = labels != palette.ignore_index
        colors = self.maskige.colors / 255
        if self.config.any_palette and self.training:
            colors = torch.rand_like(colors)
        ignore = [channel / 255 for channel in palette.ignore_color]
        target = gsskernels.maskige_encode(labels, colors, ignore_index=palette.ignore_index, ignore_color=ignore)
        painted, quantized = self.tokenizer(target.contiguous(memory_format=torch.channels_last))
        color = ((painted - target).square().sum(1) * labelled).sum() / labelled.sum().clamp_min(1)
        loss, parts = color, {"color": color}
        if self.config.classification > 0:  # with many classes it takes most of a step's time
            scores = -palette_distances(painted, colors) / self.config.temperature
            parts["classification"] = cross_entropy(scores, labels, self.class_weights)
            loss = loss + self.config.classification * parts["classification"]
        parts["commitment"] = quantized.commitment
        loss = loss + self.config.commitment * quantized.commitment
        return {"loss": loss, **parts, **self.tokenizer.quantizer.health()}


class PriorTraining(StageTraining):
    """Stage 2: the prior learns the tokens that the frozen tokenizer gives the label map (arXiv 2303.11316, section
    3.3, equation 7).

    Unlabelled pixels take the auxiliary pixel head's current prediction before the maskige is encoded. A cell without
    any labelled pixel is left out of the token loss. `class_weights` scales both losses: a pixel's by its class, a
    cell's by the mean over its labelled pixels.

    Raises:
        ValueError: if the model has no pixel head.
    """

    def __init__(self, model: GSS, class_weights: Tensor) -> None:
        super().__init__(class_weights)
        if model.pixel_head is None:
            raise ValueError("prior.pixel_branch: expected 'shared' or 'separate' to train the prior, got 'none'")
        self.model, self.pixel_head = model, model.pixel_head
        model.requires_grad_(True)
        model.tokenizer.requires_grad_(False)
        if model.inverse is not None:
            model.inverse.requires_grad_(False)
        if model.token_prior is not None:
            model.token_prior.requires_grad_(False)
        if model.prior_config.share_codes:
            model.token_head.code_features.copy_(model.code_patches())

    def train(self, mode: bool = True) -> PriorTraining:
        super().train(mode)
        self.model.tokenizer.eval()
        return self

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        model = self.model
        features = model.encoder(batch["image"])
        fused, hidden = model.trunk(features)
        return self.losses(features, fused, hidden, batch["label"])

    def losses(self, features: Sequence[Tensor], fused: Tensor, hidden: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """The losses from the encoder's feature maps, the trunk's two outputs, and labels (B, H, W) at image size."""
        model = self.model
        resized = maskige_labels(model, labels, hidden.shape[-2:])
        pixel_loss, classes = upsampled_cross_entropy(
            self.pixel_head(features, fused).float(), resized, self.class_weights, model.palette.ignore_index
        )
        tokens = self.completed_tokens(resized, classes)
        # The maskige decides which cells count, as in the official code, unless it is smaller than the image: the
        # resize could then lose the only labelled pixel of a cell.
        stride = model.tokenizer.stride
        weights = self.cell_weights(resized, stride) if stride >= ALIGNMENT else self.cell_weights(labels)
        targets = torch.where(weights > 0, tokens, model.tokenizer.codes)
        token_loss = model.token_head.loss(hidden, targets, weights)
        with torch.no_grad():
            # accuracy on the first image is enough for the log; the whole batch would cost another pass over all codes
            valid = targets[:1] != model.tokenizer.codes
            right = (model.token_head.tokens(hidden[:1].detach()) == targets[:1]) & valid
        config = model.prior_config
        return {
            "loss": config.token_loss * token_loss + config.pixel_loss * pixel_loss,
            "token": token_loss,
            "pixel": pixel_loss,
            "token_accuracy": right.sum() / valid.sum().clamp_min(1),
        }

    @torch.no_grad()
    def completed_tokens(self, labels: Tensor, classes: Tensor) -> Tensor:
        """labels (B, H, W) at maskige size, `classes` (B, H, W) for unlabelled pixels -> tokens (B, h, w)."""
        labelled = labels != self.model.palette.ignore_index
        completed = torch.where(labelled, labels.long(), classes)
        return labels_to_tokens(self.model, completed)

    def cell_weights(self, labels: Tensor, side: int = ALIGNMENT) -> Tensor:
        """labels (B, H, W) in cells of `side` x `side` pixels -> mean class weight of each cell's labelled pixels.

        The result is (B, ceil(H / side), ceil(W / side)), 0 where a cell has no labelled pixel.
        """
        right, bottom = -labels.shape[-1] % side, -labels.shape[-2] % side
        labels = F.pad(labels, (0, right, 0, bottom), value=self.model.palette.ignore_index)
        labelled = labels != self.model.palette.ignore_index
        weight = self.class_weights[torch.where(labelled, labels.long(), 0)] * labelled
        share = F.avg_pool2d(labelled[:, None].float(), side)[:, 0]
        return F.avg_pool2d(weight[:, None], side)[:, 0] / share.clamp_min(1e-6)


class InverseTraining(StageTraining):
    """Stage 3: X^-1 learns to classify decoded maskiges (arXiv 2303.11316, section 3.3; GSS-FT and GSS-FT-W).

    `inverse.source` chooses the maskiges: those predicted from the photo, or those of the labels, encoded and decoded.

    Everything else is frozen and in eval mode. The official code leaves the trunk in train mode while it trains X^-1:
    its batch norm statistics drift, and dropout makes the tokens noisy. `official_parity` does the same.

    Raises:
        ValueError: if X^-1 has nothing to learn.
    """

    def __init__(self, model: GSS, class_weights: Tensor, official_parity: bool = False) -> None:
        super().__init__(class_weights)
        if model.inverse is None:
            raise ValueError("inverse.type: expected 'convolution' or 'window' to train X^-1, got 'nearest'")
        self.model, self.inverse, self.official_parity = model, model.inverse, official_parity
        model.requires_grad_(False)
        self.inverse.requires_grad_(True)

    def train(self, mode: bool = True) -> InverseTraining:
        super().train(mode)
        self.model.eval()
        self.inverse.train(mode)
        if self.official_parity:
            self.model.trunk.train(mode)
        return self

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        if self.model.inverse_config.source == "photo":
            with torch.no_grad():
                features = self.model.encoder(batch["image"])
            return self.losses(features, batch["label"])
        with torch.no_grad():
            maskige = self.reconstructed(batch["label"])
        return {"loss": self.inverse.loss(maskige, batch["label"], self.class_weights)}

    def losses(self, features: Sequence[Tensor], labels: Tensor) -> dict[str, Tensor]:
        """The loss from a photo's feature maps, finest first, and labels (B, H, W) at the photo's size."""
        with torch.no_grad():
            _, maskige = self.model.paint(features)
        return {"loss": self.inverse.loss(maskige, labels, self.class_weights)}

    def reconstructed(self, labels: Tensor) -> Tensor:
        """labels (B, H, W) -> the maskige that their tokens decode to."""
        return self.model.tokenizer.decode(labels_to_tokens(self.model, maskige_labels(self.model, labels)))


class ClassifierTraining(StageTraining):
    """The only stage of the pixel classifier: pixel cross-entropy at the size of the labels."""

    def __init__(self, model: PixelClassifier, class_weights: Tensor) -> None:
        super().__init__(class_weights)
        self.model = model

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        logits = self.model(batch["image"])
        labels = batch["label"]
        labelled = labels != self.model.palette.ignore_index
        loss = cross_entropy(logits, labels, self.class_weights)
        with torch.no_grad():
            right = ((logits.argmax(1) == labels) & labelled).sum() / labelled.sum().clamp_min(1)
        return {"loss": loss, "pixel_accuracy": right}


class TokenPriorTraining(nn.Module):
    """The prior over token grids of label maps, for drawing masks without an image (Chang et al., "MaskGIT", 2022).

    It learns to predict hidden tokens of a label map from the others. A share cos(pi r / 2) of the tokens is hidden,
    with r uniform in 0..1, which covers all shares that occur in drawing. The loss is the cross-entropy of the hidden
    tokens. Tokens of cells with an unlabelled pixel are unknown: they are always hidden and left out of the loss. The
    rest of the model is frozen.

    Raises:
        ValueError: if the model has no such prior.
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

    def forward(self, batch: Batch) -> dict[str, Tensor]:
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
        """labels (B, H, W) -> their tokens (B, h, w), and a mask of the tokens whose cell is labelled everywhere."""
        cells = token_cells(labels)
        labelled = (labels != self.model.palette.ignore_index).float()
        bottom, right = (cells[0] * ALIGNMENT - labels.shape[1], cells[1] * ALIGNMENT - labels.shape[2])
        whole = F.pad(labelled, (0, right, 0, bottom), value=1.0)
        known = F.avg_pool2d(whole[:, None], ALIGNMENT)[:, 0] == 1
        return labels_to_tokens(self.model, maskige_labels(self.model, labels, cells)), known
