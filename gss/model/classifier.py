"""The discriminative twin: the same encoder and trunk with a per-pixel classifier in place of the token head."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from huggingface_hub import PyTorchModelHubMixin
from torch import Tensor, nn
from torch.nn import functional as F

from gss.config import InferenceConfig, PriorConfig
from gss.io.images import to_images
from gss.model.backbones.image_encoder import ImageEncoder
from gss.model.gss import require_architecture
from gss.model.prior import Trunk
from gss.model.result import Result
from gss.model.views.predict import predict_labels
from gss.model.views.scores import whole_scores
from gss.palette import Palette


class PixelClassifier(nn.Module, PyTorchModelHubMixin, library_name="gss", tags=["semantic-segmentation"]):
    """Class logits at a quarter of the image, resized bilinearly, trained with pixel cross-entropy.

    It exists to be compared with `GSS`: `palette`, `backbone`, `prior` and `inference` mean the same there.
    """

    architecture = "pixel-classifier"
    scores_are_votes = False  # `image_scores` are logits

    def __init__(
        self,
        palette: Mapping[str, Any],
        backbone: Mapping[str, Any],
        prior: Mapping[str, Any],
        inference: Mapping[str, Any] | None = None,
        architecture: str = "pixel-classifier",
    ) -> None:
        super().__init__()
        require_architecture(architecture, self.architecture)
        self.palette = Palette.from_dict(dict(palette))
        self.prior_config = PriorConfig(**prior)
        self.inference = InferenceConfig(**(inference or {}))
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

    @torch.inference_mode()
    def predict(self, source: Any, *, certainty: bool = True) -> Result | list[Result]:
        """Segment an image, or a list or batch of them; see `GSS.predict`.

        The result has no maskige, no tokens and, whatever `certainty` says, no certainty; its margin is the difference
        of the two largest class probabilities, 1 where there is only one class.
        """
        images, names, single = to_images(source)
        self.eval()
        device = self.classifier.weight.device
        results = []
        for image, name in zip(images, names, strict=True):
            labels, margin = predict_labels(self.image_scores, image[None].to(device), self.inference)
            labels, margin = labels[0].to(torch.uint8).cpu(), margin[0].clamp_max(1).cpu()
            results.append(Result(image, labels, margin, self.palette, name=name, margin_unit="probability"))
        return results[0] if single else results

    def num_parameters(self) -> dict[str, int]:
        """Learned parameters by part."""
        parts = {"encoder": self.encoder, "trunk": self.trunk, "classifier": self.classifier}
        return {name: sum(p.numel() for p in part.parameters()) for name, part in parts.items()}
