"""The discriminative twin: the same encoder and trunk with a per-pixel classifier in place of the token head."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from huggingface_hub import PyTorchModelHubMixin
from torch import Tensor, nn
from torch.nn import functional as F

from gss.config import InferenceConfig, PriorConfig, as_config
from gss.model.backbones.image_encoder import ImageEncoder
from gss.model.prior import Trunk
from gss.model.segmenter import Segmenter
from gss.model.views.scores import whole_scores
from gss.palette import Palette


class PixelClassifier(Segmenter, PyTorchModelHubMixin, library_name="gss", tags=["semantic-segmentation"]):
    """Class logits at a quarter of the image, resized bilinearly, trained with pixel cross-entropy.

    The baseline of `GSS`; `palette`, `backbone`, `prior` and `inference` mean the same there.
    """

    architecture = "pixel-classifier"

    def __init__(
        self,
        palette: Palette | Mapping[str, Any],
        backbone: Mapping[str, Any],
        prior: PriorConfig | Mapping[str, Any],
        inference: InferenceConfig | Mapping[str, Any] | None = None,
        architecture: str = "pixel-classifier",
    ) -> None:
        super().__init__(palette, inference, architecture)
        self.prior_config = as_config(PriorConfig, prior, "prior")
        self._hub_mixin_config = {
            "architecture": architecture,
            "palette": self.palette.to_dict(),
            "backbone": dict(backbone),
            "prior": asdict(self.prior_config),
            "inference": asdict(self.inference),
        }
        self.encoder = ImageEncoder(backbone)
        self.trunk = Trunk(self.encoder.channels, self.prior_config)
        self.classifier = nn.Conv2d(self.prior_config.head_channels, self.palette.num_classes, 1)

    def forward(self, images: Tensor) -> Tensor:
        """images uint8 (B, 3, H, W), any size -> class logits (B, K, H, W) float32."""
        return whole_scores(self.image_scores, images, unaligned=self.inference.unaligned)

    def image_scores(self, images: Tensor, size: tuple[int, int]) -> Tensor:
        """images uint8 (B, 3, H, W) -> class logits (B, K, *size) float32."""
        _, hidden = self.trunk(self.encoder(images))
        return F.interpolate(self.classifier(hidden).float(), size=size, mode="bilinear", align_corners=False)

    def num_parameters(self) -> dict[str, int]:
        """Learned parameters by part."""
        parts = {"encoder": self.encoder, "trunk": self.trunk, "classifier": self.classifier}
        return {name: sum(p.numel() for p in part.parameters()) for name, part in parts.items()}
