"""How an image is presented to a model at test time."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from gss.config.settings import CHECKED, Count, Flag, Positive, Size


@dataclass(config=CHECKED)
class InferenceConfig:
    """Views of a test image. Sizes are (height, width) in pixels. The default is one pass over the image as it is.

    With more than one scale, or with `flip`, class probabilities are averaged over all views (test-time augmentation).
    """

    # "whole" scores the image at once; "slide" averages the scores of overlapping windows.
    mode: Literal["whole", "slide"] = "whole"
    # The window of "slide". An image side that is smaller is taken whole.
    crop: Size = (768, 768)
    # Step from one window to the next, at most `crop`, so that no pixel is left out.
    stride: Size = (512, 512)
    # Windows scored at a time. More are faster on a GPU and take more memory; the result stays the same.
    batch: Count = 1
    # Images are resized to this before they are scored; None keeps their size.
    box: Size | None = None
    # Fit the image into the box, long side to long side, rather than stretch it; see `fit_box`.
    keep_ratio: Flag = True
    # Every image is scored at each of these multiples of the box, or of its own size without a box.
    scales: Annotated[tuple[Positive, ...], Field(min_length=1)] = (1.0,)
    # Score the mirrored image too.
    flip: Flag = False
    # Images with a side that is not a multiple of 4: "pad" repeats the border up to the next multiple and crops the
    # result. "stretch", the official way, lets the model map its grid of ceil(side / 4) cells onto the image, which
    # shifts the result by up to 3 pixels.
    unaligned: Literal["pad", "stretch"] = "pad"

    @model_validator(mode="after")
    def _windows_overlap(self) -> InferenceConfig:
        if any(step > side for step, side in zip(self.stride, self.crop, strict=True)):
            raise ValueError(f"stride: expected at most the crop {self.crop!r}, got {self.stride!r}")
        return self
