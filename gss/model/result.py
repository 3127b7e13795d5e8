"""The result of a prediction: classes, margin, certainty, and the pictures of them."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, Protocol

import torch
from PIL import Image

from gss.io.images import save_image
from gss.io.labels import write_label
from gss.io.pictures import overlay, to_pillow
from gss.io.strip import strip
from gss.palette import Palette

# Unit of a margin: levels of 0..255 to the wall between two colours, or the lead of the best class over the second in
# probability.
MarginUnit = Literal["levels", "probability"]

INTEGERS = (torch.uint8, torch.int16, torch.int32, torch.int64)


class Calibrated(Protocol):
    """A function from the scores of a result to probabilities, see `gss.prediction.calibration.Calibration`."""

    @property
    def score(self) -> Literal["certainty", "margin"]: ...

    @property
    def unit(self) -> str: ...

    def confidence(self, score: torch.Tensor) -> torch.Tensor: ...


@dataclass(eq=False)
class Result:
    """One segmented image.

    image: uint8 (3, H, W), the photo, RGB.
    labels: uint8 (H, W), the class id of every pixel; 255 where `abstain` left it open.
    margin: float32 (H, W), how sure the decision is: for a GSS model the distance from the decoded colour to the wall
        between the winning and the runner-up colour, in palette units (levels of 0..255); 0 is undecided.
    margin_unit: "levels", or "probability" where the margin is the lead of the best class over the second.
    maskige: uint8 (3, h, w), the image the tokens decode to, or None for a model that paints none.
    tokens: integer (ht, wt), the codebook indices the model predicted, or None likewise.
    name: the stem of the files `save` writes.
    certainty: float32 (H, W), minus the entropy, in nats, of the class probabilities that the tokens' distribution
        gives each pixel; 0 is sure. It finds errors better than the margin. None where the image was looked at more
        than once, where tokens paint too much for it (all tokenizers but the compact one, and that with very many codes
        and classes), and for a model without tokens.

    Raises TypeError or ValueError for another dtype or shape.

    >>> photo, labels = torch.zeros(3, 2, 2, dtype=torch.uint8), torch.zeros(2, 2, dtype=torch.uint8)
    >>> result = Result(photo, labels, torch.ones(2, 2), Palette.named("camvid"))
    >>> result.overlay().size
    (2, 2)
    """

    image: torch.Tensor
    labels: torch.Tensor
    margin: torch.Tensor
    palette: Palette
    maskige: torch.Tensor | None = None
    tokens: torch.Tensor | None = None
    name: str | None = None
    margin_unit: MarginUnit = "levels"
    certainty: torch.Tensor | None = None

    def __post_init__(self) -> None:
        size = tuple(self.image.shape[1:])
        _check("image", self.image, "uint8", torch.uint8, "(3, H, W)", _is_rgb(self.image))
        _check("labels", self.labels, "uint8", torch.uint8, f"{size}", self.labels.shape == size)
        _check("margin", self.margin, "float32", torch.float32, f"{size}", self.margin.shape == size)
        if self.certainty is not None:
            _check("certainty", self.certainty, "float32", torch.float32, f"{size}", self.certainty.shape == size)
        if self.maskige is not None:
            _check("maskige", self.maskige, "uint8", torch.uint8, "(3, h, w)", _is_rgb(self.maskige))
        if self.tokens is not None:
            dtype = self.tokens.dtype if self.tokens.dtype in INTEGERS else None
            _check("tokens", self.tokens, "integers", dtype, "(ht, wt)", self.tokens.ndim == 2)

    def confidence(self, calibration: Calibrated) -> torch.Tensor:
        """The probability that each pixel's class is right, float32 (H, W), from the score that was calibrated.

        Raises ValueError where that was the certainty and there is none here, or margins of another unit.
        """
        if calibration.score == "certainty":
            if self.certainty is None:
                raise ValueError(
                    "calibration: expected one of margins, since this result has no certainty, got one of certainties; "
                    "`gss evaluate --calibration --score margin` fits one"
                )
            return calibration.confidence(self.certainty)
        if calibration.unit != self.margin_unit:
            raise ValueError(
                f"calibration: expected one of margins in {self.margin_unit}, got one of margins in {calibration.unit}"
            )
        return calibration.confidence(self.margin)

    def abstain(self, calibration: Calibrated, threshold: float) -> Result:
        """The same result with the ignore label, 255, where the confidence is below `threshold` (0..1).

        Raises ValueError for a threshold outside 0..1, and the errors of `confidence`.
        """
        if not 0 <= threshold <= 1:
            raise ValueError(f"threshold: expected a probability, 0 to 1, got {threshold}")
        unsure = self.confidence(calibration) < threshold
        return replace(self, labels=self.labels.masked_fill(unsure, self.palette.ignore_index))

    def overlay(self) -> Image.Image:
        """The photo with the classes blended over it and their borders drawn, at the photo's size."""
        return overlay(self.image, self.labels, self.palette)

    def strip(self) -> Image.Image:
        """Photo, tokens, maskige, overlay with legend, margin and certainty side by side; panels without data are left
        out."""
        return strip(
            self.image,
            self.labels,
            self.margin,
            self.palette,
            tokens=self.tokens,
            maskige=self.maskige,
            certainty=self.certainty,
        )

    def save(self, directory: str | os.PathLike[str]) -> dict[str, Path]:
        """Writes NAME_labels.png (index PNG in the palette's colours) and NAME_{overlay,maskige,strip}.png.

        Returns the paths by kind: "labels", "overlay", "maskige" (only where there is one), "strip". NAME is
        `self.name`, or "result" without one. The directory is made where it is missing.
        """
        folder = Path(directory)
        folder.mkdir(parents=True, exist_ok=True)
        name = self.name or "result"
        kinds = ["labels", "overlay", "strip"] if self.maskige is None else ["labels", "overlay", "maskige", "strip"]
        paths = {kind: folder / f"{name}_{kind}.png" for kind in kinds}
        write_label(paths["labels"], self.labels, self.palette)
        save_image(paths["overlay"], self.overlay())
        if self.maskige is not None:
            save_image(paths["maskige"], to_pillow(self.maskige))
        save_image(paths["strip"], self.strip())
        return paths


def _is_rgb(image: torch.Tensor) -> bool:
    return image.ndim == 3 and image.shape[0] == 3


def _check(name: str, value: torch.Tensor, kind: str, dtype: torch.dtype | None, shape: str, fits: bool) -> None:
    message = f"{name}: expected {kind} {shape}, got {value.dtype} {tuple(value.shape)}"
    if value.dtype != dtype:
        raise TypeError(message)
    if not fits:
        raise ValueError(message)
