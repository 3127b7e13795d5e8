"""Settings of inference: how an image is presented to a model."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass
from typing_extensions import Self

from gss.config.fields import SETTINGS, AtLeast1, Flag, Positive, Size


@dataclass(config=SETTINGS)
class InferenceConfig:
    """Sizes are (height, width) in pixels. The default is one pass over the image as it is.

    Args:
        mode: "whole" scores the image at once, "slide" averages the scores of overlapping windows.
        crop: the window of "slide"; an image side that is smaller is taken whole.
        stride: from one window to the next; at most `crop`, so that no pixel is left out.
        batch: windows scored at a time. More are faster on a GPU and take more memory; the result stays the same.
        box: images are resized to this before they are scored; None leaves their size.
        keep_ratio: fit the image into the box, long side to long side, rather than stretch it; see `fit_box`.
        scales: every image is scored at each of these multiples of the box (without a box, of its own size).
        flip: score the mirrored image too.
        unaligned: sides that are no multiple of 4 have no token grid of their own. "pad" repeats the border up to the
            next multiple and crops the result. "stretch", the official way, leaves the image to the model, which maps
            its larger grid of ceil(side / 4) cells onto the image and so shifts it by up to 3 pixels.

    More than one scale, or flip, is test-time augmentation: class probabilities are averaged over all views.
    """

    mode: Literal["whole", "slide"] = "whole"
    crop: Size = (768, 768)
    stride: Size = (512, 512)
    batch: AtLeast1 = 1
    box: Size | None = None
    keep_ratio: Flag = True
    scales: Annotated[tuple[Positive, ...], Field(min_length=1)] = (1.0,)
    flip: Flag = False
    unaligned: Literal["pad", "stretch"] = "pad"

    @model_validator(mode="after")
    def _no_gaps(self) -> Self:
        if any(step > side for step, side in zip(self.stride, self.crop, strict=True)):
            raise ValueError(f"stride: expected at most the crop {self.crop!r}, got {self.stride!r}")
        return self
