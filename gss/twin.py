"""The discriminative twin: the same encoder and trunk with a per-pixel classifier in place of the token head."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from huggingface_hub import PyTorchModelHubMixin
from torch import Tensor, nn
from torch.nn import functional as F

from .backbones import ImageEncoder
from .config import PriorConfig
from .inference import pad_to_alignment, to_images
from .model import require_architecture
from .palette import Palette
from .prior import Trunk
from .result import Result


class PixelClassifier(nn.Module, PyTorchModelHubMixin, library_name="gss", tags=["semantic-segmentation"]):
    """Class logits at a quarter of the image, resized bilinearly, trained with pixel cross-entropy.

    It exists to be compared with `GSS`: `palette`, `backbone` and `prior` mean the same there.
    """

    architecture = "pixel-classifier"

    def __init__(
        self,
        palette: Mapping[str, Any],
        backbone: Mapping[str, Any],
        prior: Mapping[str, Any],
        architecture: str = "pixel-classifier",
    ) -> None:
        super().__init__()
        require_architecture(architecture, self.architecture)
        self.palette = Palette.from_dict(dict(palette))
        self.prior_config = PriorConfig(**prior)
        self.encoder = ImageEncoder(backbone)
        self.trunk = Trunk(self.encoder.channels, self.prior_config)
        self.classifier = nn.Conv2d(self.prior_config.head_channels, self.palette.num_classes, 1)

    def forward(self, images: Tensor) -> Tensor:
        """images uint8 (B, 3, H, W), any size -> class logits (B, K, H, W) float32."""
        height, width = images.shape[-2:]
        padded = pad_to_alignment(images)
        _, hidden = self.trunk(self.encoder(padded))
        logits = self.classifier(hidden).float()
        resized = F.interpolate(logits, size=padded.shape[-2:], mode="bilinear", align_corners=False)
        return resized[..., :height, :width]

    @torch.inference_mode()
    def predict(self, source: Any) -> Result | list[Result]:
        """Segment an image, or a list or batch of them; see `GSS.predict`.

        The result has no maskige and no tokens; its margin is the difference of the two largest class probabilities.
        """
        images, names, single = to_images(source)
        self.eval()
        device = self.classifier.weight.device
        results = []
        for image, name in zip(images, names, strict=True):
            probability = self(image[None].to(device))[0].softmax(0)
            best = probability.topk(min(2, probability.shape[0]), 0)
            margin = best.values[0] - best.values[1] if len(best.values) > 1 else best.values[0]
            labels = best.indices[0].to(torch.uint8).cpu()
            results.append(Result(image=image, labels=labels, margin=margin.cpu(), palette=self.palette, name=name))
        return results[0] if single else results

    def num_parameters(self) -> dict[str, int]:
        """Learned parameters by part."""
        parts = {"encoder": self.encoder, "trunk": self.trunk, "classifier": self.classifier}
        return {name: sum(p.numel() for p in part.parameters()) for name, part in parts.items()}
