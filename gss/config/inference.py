"""How an image is presented to a model at test time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from gss.config.ranges import AT_LEAST_1, RULES, Rule, require_in_range


@dataclass
class InferenceConfig:
    """Sizes are (height, width) in pixels. The default is one pass over the image as it is.

    Args:
        mode: "whole" scores the image at once, "slide" averages the scores of overlapping windows.
        crop: the window of "slide"; an image side that is smaller is taken whole.
        stride: from one window to the next; at most `crop`, so that no pixel is left out.
        batch: windows scored at a time. More are faster on a GPU and take more memory; the result stays the same.
        box: images are resized to this before they are scored, None leaves their size.
        keep_ratio: fit the image into the box, long side to long side, rather than stretch it; see `fit_box`.
        scales: every image is scored at each of these multiples of the box (without a box, of its own size).
        flip: score the mirrored image too.
        unaligned: sides that are no multiple of 4 have no token grid of their own. "pad" repeats the border up to the
            next multiple and crops the result. "stretch", the official way, leaves the image to the model, which maps
            its larger grid of ceil(side / 4) cells onto the image and so shifts it by up to 3 pixels.

    More than one scale, or flip, is test-time augmentation: class probabilities are averaged over all views.
    """

    mode: Literal["whole", "slide"] = "whole"
    crop: tuple[int, int] = (768, 768)
    stride: tuple[int, int] = (512, 512)
    batch: int = 1
    box: tuple[int, int] | None = None
    keep_ratio: bool = True
    scales: tuple[float, ...] = (1.0,)
    flip: bool = False
    unaligned: Literal["pad", "stretch"] = "pad"

    def __post_init__(self) -> None:
        # lists come from JSON; a wrong length is for validate() to name
        for name in ("crop", "stride", "box", "scales"):
            value = getattr(self, name)
            setattr(self, name, tuple(value) if isinstance(value, list) else value)

    def validate(self) -> None:
        """Raises ValueError for the first setting that cannot work: its name, what was expected and what came."""
        require_in_range(self)
        if any(step > side for step, side in zip(self.stride, self.crop, strict=True)):
            raise ValueError(f"stride: expected at most the crop {self.crop!r}, got {self.stride!r}")


def _is_size(value: Any) -> bool:
    return isinstance(value, (tuple, list)) and len(value) == 2 and min(value) >= 1


SIZE: Rule = ("a height and a width of at least 1", _is_size)

RULES[InferenceConfig] = {
    "mode": ("'whole' or 'slide'", lambda value: value in ("whole", "slide")),
    "crop": SIZE,
    "stride": SIZE,
    "batch": AT_LEAST_1,
    "box": SIZE,
    "scales": ("one or more ratios above 0", lambda value: len(value) >= 1 and min(value) > 0),
    "unaligned": ("'pad' or 'stretch'", lambda value: value in ("pad", "stretch")),
}
