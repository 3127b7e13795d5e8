"""GSS: a photo becomes tokens, tokens become a maskige, the maskige's colours become classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from huggingface_hub import PyTorchModelHubMixin
from torch import Tensor, nn

from gss.config import (
    CompactConfig,
    InferenceConfig,
    InverseConfig,
    PriorConfig,
    TokenizerConfig,
    TokenPriorConfig,
    as_config,
    tokenizer_config,
)
from gss.model.backbones.image_encoder import ImageEncoder
from gss.model.certainty import certainty_map
from gss.model.inverse import Inverse
from gss.model.maskige import DecodedMaskige, Maskige
from gss.model.prior import PixelHead, TokenHead, Trunk
from gss.model.result import Result
from gss.model.segmenter import Segmenter
from gss.model.token_prior import TokenPrior
from gss.model.tokenizers.protocol import build_tokenizer
from gss.model.views.predict import needs_scores
from gss.model.views.windows import pad_to_alignment
from gss.palette import Palette

if TYPE_CHECKING:
    pass


# Largest size of the matrix of label patches, (V, K * stride^2), for the certainty: 32 MiB, read once for every cell.
MOST_PATCH_VALUES = 1 << 23


class Painted(NamedTuple):
    """tokens (B, h, w) int64; maskige (B, 3, h*stride, w*stride) in 0..1; entropy (B, stride^2, h, w) or None."""

    tokens: Tensor
    maskige: Tensor
    entropy: Tensor | None


class Prediction(NamedTuple):
    """tokens and maskige as painted; labels (B, H, W) uint8; margin and certainty (B, H, W), see `Result`."""

    tokens: Tensor
    maskige: Tensor
    labels: Tensor
    margin: Tensor
    certainty: Tensor | None


class GSS(Segmenter, PyTorchModelHubMixin, library_name="gss", tags=["semantic-segmentation", "generative"]):
    """Generative semantic segmentation (arXiv 2303.11316).

    Each configuration may be a mapping of its fields, as config.json holds them: `save_pretrained` writes them there,
    and `from_pretrained` rebuilds the model from the folder alone.

    Args:
        palette: classes and colours.
        backbone: see `gss.model.backbones.image_encoder.ImageEncoder`.
        tokenizer: the configuration of a tokenizer; in a mapping, `type` names which.
        prior: trunk and token head.
        inverse: X^-1; the nearest palette colour by default.
        inference: how `predict` looks at an image.
        token_prior: None for a model that draws no masks without an image.

    Raises ValueError for settings that are out of range or do not fit each other.

    >>> import torch, gss
    >>> recipe = gss.load_recipe("demo")
    >>> model = GSS(gss.Palette.named("scenes"), recipe.backbone, recipe.tokenizer, recipe.prior)
    >>> result = model.predict(torch.zeros(3, 64, 96, dtype=torch.uint8))
    >>> result.labels.shape, result.tokens.shape
    (torch.Size([64, 96]), torch.Size([16, 24]))
    """

    architecture = "gss"

    def __init__(
        self,
        palette: Palette | Mapping[str, Any],
        backbone: Mapping[str, Any],
        tokenizer: TokenizerConfig | Mapping[str, Any],
        prior: PriorConfig | Mapping[str, Any],
        inverse: InverseConfig | Mapping[str, Any] | None = None,
        inference: InferenceConfig | Mapping[str, Any] | None = None,
        token_prior: TokenPriorConfig | Mapping[str, Any] | None = None,
        architecture: str = "gss",
    ) -> None:
        super().__init__(palette, inference, architecture)
        self.prior_config = as_config(PriorConfig, prior, "prior")
        self.tokenizer_config = tokenizer_config(tokenizer)
        self.inverse_config = as_config(InverseConfig, inverse, "inverse")
        token_prior_config = None if token_prior is None else as_config(TokenPriorConfig, token_prior, "token_prior")
        self._hub_mixin_config = {
            "architecture": architecture,
            "palette": self.palette.to_dict(),
            "backbone": dict(backbone),
            "tokenizer": asdict(self.tokenizer_config),
            "prior": asdict(self.prior_config),
            "inverse": asdict(self.inverse_config),
            "inference": asdict(self.inference),
            "token_prior": None if token_prior_config is None else asdict(token_prior_config),
        }
        classes = self.palette.num_classes
        if self.prior_config.decode == "consensus" and not isinstance(self.tokenizer_config, CompactConfig):
            kind = self.tokenizer_config.type
            raise ValueError(f"prior.decode: expected 'argmax' for the many codes of {kind!r}, got 'consensus'")
        self.maskige = Maskige(self.palette)
        self.tokenizer = build_tokenizer(self.tokenizer_config)
        self.encoder = ImageEncoder(backbone)
        self.trunk = Trunk(self.encoder.channels, self.prior_config)
        patch = classes * self.tokenizer.stride**2 if self.prior_config.share_codes else 0
        self.token_head = TokenHead(self.prior_config.head_channels, self.tokenizer.codes, patch)
        # Training only: fills unlabelled areas, so that every maskige pixel has a colour (paper section 3.3).
        branch = self.prior_config.pixel_branch
        self.pixel_head = PixelHead(self.encoder.channels, classes, self.prior_config) if branch != "none" else None
        self.inverse = Inverse(classes, self.inverse_config) if self.inverse_config.type != "nearest" else None
        if self.prior_config.share_codes:
            self.token_head.code_features.copy_(self.code_patches())
        self.token_prior = None if token_prior_config is None else TokenPrior(self.tokenizer.codes, token_prior_config)

    def forward(self, images: Tensor, certainty: bool = True) -> Prediction:
        """images uint8 (B, 3, H, W), any size -> Prediction at that size, in one pass over the image as it is.

        `certainty` as in `predict`.
        """
        height, width = images.shape[-2:]
        seen = pad_to_alignment(images) if self.inference.unaligned == "pad" else images
        size = (seen.shape[-2], seen.shape[-1])
        _, hidden = self.trunk(self.encoder(seen))
        tokens, maskige, entropy = self._paint(hidden, certainty)
        decoded = self.classify(maskige, size)
        kept = (slice(None), slice(height), slice(width))
        sure = certainty_map(entropy, size)[kept] if entropy is not None else None
        return Prediction(tokens, maskige, decoded.labels[kept], decoded.margin[kept], sure)

    def paint(self, features: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Feature maps, finest first -> tokens (B, h, w) and the maskige (B, 3, h*stride, w*stride) they decode to."""
        _, hidden = self.trunk(features)
        tokens, maskige, _ = self._paint(hidden, certainty=False)
        return tokens, maskige

    def _paint(self, hidden: Tensor, certainty: bool) -> Painted:
        head, tokenizer, classes = self.token_head, self.tokenizer, self.palette.num_classes
        if self.prior_config.decode == "consensus":
            found = head.consensus(hidden, self._cell_patches(), tokenizer.codebook, classes)
            return Painted(found.tokens, tokenizer.decode_vectors(found.codes), found.entropy if certainty else None)
        tokens = head.tokens(hidden)
        entropy = None
        if certainty and self._has_small_patches():
            entropy = head.class_entropy(hidden, self._cell_patches(), classes)
        return Painted(tokens, tokenizer.decode(tokens), entropy)

    def _has_small_patches(self) -> bool:
        """Whether the matrix of label patches is small enough to be made for the certainty alone."""
        values = self.tokenizer.codes * self.palette.num_classes * self.tokenizer.stride**2
        return isinstance(self.tokenizer_config, CompactConfig) and values <= MOST_PATCH_VALUES

    def _cell_patches(self) -> Tensor:
        return self.token_head.code_features if self.prior_config.share_codes else self.code_patches()

    def classify(self, maskige: Tensor, size: tuple[int, int] | None = None) -> DecodedMaskige:
        """X^-1: a painted maskige (B, 3, h, w) in 0..1 -> labels and margin (B, *size), by default at its own size."""
        if self.inverse is None:
            return self.maskige.decode(maskige, size)
        return self.inverse.decode(maskige, size)

    def class_scores(self, maskige: Tensor, size: tuple[int, int]) -> Tensor:
        """The class scores of X^-1, (B, K, *size) float32, which windows and scales are averaged in.

        For the nearest colour the share of each class among the pixels that fall together, for a learned X^-1 logits.
        """
        if self.inverse is None:
            return self.maskige.votes(maskige, size)
        return self.inverse.scores(maskige, size)

    def set_palette(self, palette: Palette) -> None:
        """Paint and read in other colours from now on, also where the model is saved.

        Raises ValueError for a palette of other classes.
        """
        if palette.class_names != self.palette.class_names:
            raise ValueError(f"palette: expected the model's {self.palette.num_classes} classes, got {palette.name!r}")
        self.palette = palette
        self.maskige = Maskige(palette).to(self.maskige.colors.device)
        assert isinstance(self._hub_mixin_config, dict)  # save_pretrained writes it to config.json
        self._hub_mixin_config["palette"] = palette.to_dict()

    @torch.no_grad()
    def code_patches(self) -> Tensor:
        """The label patch of each token: the class of each pixel of its cell, one-hot, (V, K * stride^2) float32.

        Painted in the middle of a 3x3 block of the same token, since the decoder looks at a token's neighbours.
        """
        stride, codes = self.tokenizer.stride, self.tokenizer.codes
        blocks = torch.arange(codes, device=self.maskige.colors.device)[:, None, None].expand(codes, 3, 3)
        middle = slice(stride, 2 * stride)
        labels = self.maskige.decode(self.tokenizer.decode(blocks)).labels[:, middle, middle]
        return nn.functional.one_hot(labels.long(), self.palette.num_classes).flatten(1).float()

    def segment(self, image: Tensor, name: str | None, certainty: bool) -> Result:
        """The result of one image uint8 (3, H, W); from a single pass over it where `inference` asks for no more."""
        if needs_scores(self.inference, (image.shape[-2], image.shape[-1])):
            return super().segment(image, name, certainty)
        found = self(image[None].to(self.token_head.free_weight.device), certainty)
        return Result(
            image,
            found.labels[0].to(torch.uint8).cpu(),
            found.margin[0].float().cpu(),
            self.palette,
            maskige=(found.maskige[0] * 255).round().to(torch.uint8).cpu(),
            tokens=found.tokens[0].cpu(),
            name=name,
            margin_unit="levels" if self.inverse is None else "probability",
            certainty=None if found.certainty is None else found.certainty[0].float().cpu(),
        )

    @property
    def scores_are_votes(self) -> bool:
        """Whether `class_scores` are shares of pixels, adding up to 1 over the classes, and not logits."""
        return self.inverse is None

    def image_scores(self, images: Tensor, size: tuple[int, int]) -> Tensor:
        """images uint8 (B, 3, H, W) -> class scores (B, K, *size), see `class_scores`."""
        return self.class_scores(self.paint(self.encoder(images))[1], size)

    def num_parameters(self) -> dict[str, int]:
        """Learned parameters by part, codebook included."""
        parts: tuple[str, ...] = ("tokenizer", "encoder", "trunk", "token_head")
        if self.inverse is not None:
            parts += ("inverse",)
        if self.token_prior is not None:
            parts += ("token_prior",)
        counts = {name: sum(p.numel() for p in getattr(self, name).parameters()) for name in parts}
        if isinstance(self.tokenizer_config, CompactConfig):
            counts["tokenizer"] += self.tokenizer.codebook.numel()  # a buffer, moved by averages instead of gradients
        return counts
