"""The part that both models share: a photo in, a `Result` out."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, TypeAlias, overload

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from gss.config import InferenceConfig, as_config
from gss.io.images import to_images
from gss.model.result import Result
from gss.model.views.predict import predict_labels
from gss.palette import Palette

Photo: TypeAlias = str | os.PathLike[str] | Image.Image | np.ndarray | Tensor


class Segmenter(nn.Module):
    """Base of `GSS` and `PixelClassifier`.

    Args:
        palette: a `Palette`, or the mapping of `Palette.to_dict`.
        inference: how `predict` looks at an image: an `InferenceConfig` or a mapping of its fields.
        architecture: the value of that key in config.json.

    Raises ValueError for the config.json of another class.
    """

    architecture: str

    def __init__(
        self,
        palette: Palette | Mapping[str, Any],
        inference: InferenceConfig | Mapping[str, Any] | None,
        architecture: str,
    ) -> None:
        super().__init__()
        if architecture != self.architecture:
            raise ValueError(
                f"architecture: expected {self.architecture!r}, got {architecture!r}; gss.load picks the right class"
            )
        self.palette = palette if isinstance(palette, Palette) else Palette.from_dict(palette)
        self.inference = as_config(InferenceConfig, inference, "inference")

    @property
    def scores_are_votes(self) -> bool:
        """Whether `image_scores` are shares of pixels, adding up to 1 over the classes, and not logits."""
        return False

    def image_scores(self, images: Tensor, size: tuple[int, int]) -> Tensor:
        """images uint8 (B, 3, H, W) -> class scores (B, K, *size) float32, logits or shares of pixels."""
        raise NotImplementedError

    @overload
    def predict(self, source: Photo, *, certainty: bool = True) -> Result: ...

    @overload
    def predict(self, source: list[Any] | tuple[Any, ...], *, certainty: bool = True) -> list[Result]: ...

    @torch.inference_mode()
    def predict(self, source: Any, *, certainty: bool = True) -> Result | list[Result]:
        """Segment an image, or each of a list of images, as `inference` says.

        Args:
            source: a path, PIL image, uint8 array (H, W, 3) or uint8 tensor (3, H, W), of any size; or a list of these.
                A uint8 tensor (B, 3, H, W) counts as a list.
            certainty: whether to compute `Result.certainty` where that is possible. It costs nothing with
                `prior.decode` "consensus" and a second pass over the token logits with "argmax".

        Returns:
            One `Result`, or a list of them for a list. An image that was looked at more than once (windows, scales,
            mirrored) or at another size has no single maskige, no tokens and no certainty; its margin is the lead of
            the best class in probability. So it is for a `PixelClassifier`.

        Raises TypeError or ValueError for anything that is no image, and FileNotFoundError.
        """
        images, names, single = to_images(source)
        self.eval()
        results = [self.segment(image, name, certainty) for image, name in zip(images, names, strict=True)]
        return results[0] if single else results

    def segment(self, image: Tensor, name: str | None, certainty: bool) -> Result:
        """The result of one image uint8 (3, H, W), from its class scores."""
        device = next(self.parameters()).device
        labels, margin = predict_labels(self.image_scores, image[None].to(device), self.inference)
        labels, margin = labels[0].to(torch.uint8).cpu(), margin[0].float().clamp_max(1).cpu()  # one class: lead +inf
        return Result(image, labels, margin, self.palette, name=name, margin_unit="probability")
