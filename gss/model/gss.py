"""GSS: a photo becomes tokens, tokens become a maskige, the maskige's colours become classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from huggingface_hub import PyTorchModelHubMixin
from torch import Tensor, nn

from gss.config import CompactConfig, InferenceConfig, InverseConfig, PriorConfig, TokenPriorConfig, tokenizer_config
from gss.io.images import to_images
from gss.model.backbones.image_encoder import ImageEncoder
from gss.model.certainty import certainty_map
from gss.model.inverse import Inverse
from gss.model.maskige import DecodedMaskige, Maskige
from gss.model.prior import PixelHead, TokenHead, Trunk
from gss.model.result import MarginUnit, Result
from gss.model.token_prior import TokenPrior
from gss.model.tokenizers.protocol import build_tokenizer
from gss.model.views.predict import needs_scores, predict_labels
from gss.model.views.windows import pad_to_alignment
from gss.palette import Palette

if TYPE_CHECKING:
    pass


# Values of the matrix of what tokens paint, (V, K * stride^2): 32 MiB, and a pass over it for every cell.
MOST_PAINTED = 1 << 23


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


class GSS(nn.Module, PyTorchModelHubMixin, library_name="gss", tags=["semantic-segmentation", "generative"]):
    """Generative semantic segmentation (arXiv 2303.11316).

    The arguments are plain mappings, so that `save_pretrained` writes them to config.json and `from_pretrained`
    rebuilds the model from the folder alone.

    Args:
        palette: `Palette.to_dict()`.
        backbone: see `gss.model.backbones.image_encoder.ImageEncoder`.
        tokenizer: `type` and the fields of `gss.config.CompactConfig` or `gss.config.DalleConfig`.
        prior: the fields of `gss.config.PriorConfig`.
        inverse: the fields of `gss.config.InverseConfig`; the nearest palette colour by default.
        inference: the fields of `gss.config.InferenceConfig`: how `predict` looks at an image.
        token_prior: the fields of `gss.config.TokenPriorConfig`; None for a model that draws no masks without an image.
    """

    architecture = "gss"

    def __init__(
        self,
        palette: Mapping[str, Any],
        backbone: Mapping[str, Any],
        tokenizer: Mapping[str, Any],
        prior: Mapping[str, Any],
        inverse: Mapping[str, Any] | None = None,
        inference: Mapping[str, Any] | None = None,
        token_prior: Mapping[str, Any] | None = None,
        architecture: str = "gss",
    ) -> None:
        super().__init__()
        require_architecture(architecture, self.architecture)
        self.palette = Palette.from_dict(dict(palette))
        self.prior_config = PriorConfig(**prior)
        self.tokenizer_config = tokenizer_config(tokenizer)
        self.inverse_config = InverseConfig(**(inverse or {}))
        self.inference = InferenceConfig(**(inference or {}))
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
        self.token_prior = (
            TokenPrior(self.tokenizer.codes, TokenPriorConfig(**token_prior)) if token_prior is not None else None
        )

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
        if certainty and self._paints_little():
            entropy = head.class_entropy(hidden, self._cell_patches(), classes)
        return Painted(tokens, tokenizer.decode(tokens), entropy)

    def _paints_little(self) -> bool:
        """Whether what the tokens paint is a matrix small enough to be made for the certainty alone."""
        values = self.tokenizer.codes * self.palette.num_classes * self.tokenizer.stride**2
        return isinstance(self.tokenizer_config, CompactConfig) and values <= MOST_PAINTED

    def _cell_patches(self) -> Tensor:
        return self.token_head.code_features if self.prior_config.share_codes else self.code_patches()

    def classify(self, maskige: Tensor, size: tuple[int, int] | None = None) -> DecodedMaskige:
        """X^-1: a painted maskige (B, 3, h, w) in 0..1 -> labels and margin (B, *size), by default at its own size."""
        if self.inverse is None:
            return self.maskige.decode(maskige, size)
        return self.inverse.decode(maskige, size)

    def class_scores(self, maskige: Tensor, size: tuple[int, int]) -> Tensor:
        """X^-1 before it decides, (B, K, *size) float32: what windows and scales are averaged in.

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
        assert isinstance(self._hub_mixin_config, dict)  # what save_pretrained writes
        self._hub_mixin_config["palette"] = palette.to_dict()

    @torch.no_grad()
    def code_patches(self) -> Tensor:
        """What each token paints on its own: class of every pixel of its cell, one-hot, (V, K * stride^2) float32.

        Painted in the middle of a 3x3 block of the same token, since the decoder looks at a token's neighbours.
        """
        stride, codes = self.tokenizer.stride, self.tokenizer.codes
        blocks = torch.arange(codes, device=self.maskige.colors.device)[:, None, None].expand(codes, 3, 3)
        middle = slice(stride, 2 * stride)
        labels = self.maskige.decode(self.tokenizer.decode(blocks)).labels[:, middle, middle]
        return nn.functional.one_hot(labels.long(), self.palette.num_classes).flatten(1).float()

    @torch.inference_mode()
    def predict(self, source: Any, *, certainty: bool = True) -> Result | list[Result]:
        """Segment an image, or a list or batch of them, as `inference` says.

        Args:
            source: a path, PIL image, uint8 array (H, W, 3), uint8 tensor (3, H, W); a list of these; or a uint8
                tensor (B, 3, H, W). Any size.
            certainty: whether to give the result one where that is possible. It is found on the way with `prior.decode`
                "consensus", and costs a second pass over the token logits with "argmax".

        Returns:
            A `Result`, or a list of them if several images came. Where an image was looked at more than once (windows,
            scales, mirrored) or at another size, it has no single maskige, no tokens and no certainty, and its margin
            is the lead of the best class in probability.
        """
        images, names, single = to_images(source)
        self.eval()
        device = self.token_head.free_weight.device
        results = []
        for image, name in zip(images, names, strict=True):
            batch = image[None].to(device)
            painted: dict[str, Tensor] = {}
            unit: MarginUnit = "probability"
            if needs_scores(self.inference, (image.shape[-2], image.shape[-1])):
                labels, margin = predict_labels(self.image_scores, batch, self.inference)
                margin = margin.clamp_max(1)  # with one class there is no second
            else:
                tokens, maskige, labels, margin, sure = self(batch, certainty)
                painted = {"maskige": (maskige[0] * 255).round().to(torch.uint8).cpu(), "tokens": tokens[0].cpu()}
                if sure is not None:
                    painted["certainty"] = sure[0].float().cpu()
                unit = "levels" if self.inverse is None else "probability"
            labels, margin = labels[0].to(torch.uint8).cpu(), margin[0].float().cpu()
            results.append(Result(image, labels, margin, self.palette, name=name, margin_unit=unit, **painted))
        return results[0] if single else results

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


def require_architecture(got: str, expected: str) -> None:
    if got != expected:
        raise ValueError(f"architecture: expected {expected!r}, got {got!r}; gss.load picks the right class")
