"""Random augmentation of an image together with its label map.

Images are uint8 (3, H, W), label maps uint8 (H, W) with 255 for pixels without a class. No function changes its input.
All random numbers come from the CPU generator that is passed in, so an augmentation can be repeated.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch.nn import functional as F

from gss.config import AugmentationConfig
from gss.io.resize import fit_box, resize_images, source_corners

Sample = tuple[torch.Tensor, torch.Tensor]  # image and label map

IGNORE = 255
# ImageNet's mean colour in levels. It becomes zero when the model normalises the image.
MEAN_COLOR = (124, 116, 104)
# A crop in which one class covers this share of the labelled pixels is drawn again.
MAX_CLASS_SHARE = 0.75

# NTSC luma and two chroma axes. A hue change rotates the chroma plane, a saturation change scales it.
_RGB_TO_YIQ = torch.tensor([[0.299, 0.587, 0.114], [0.595716, -0.274453, -0.321263], [0.211456, -0.522591, 0.311135]])
_YIQ_TO_RGB = torch.linalg.inv(_RGB_TO_YIQ)


@dataclass(frozen=True)
class Augmentation:
    """Random scale, crop, flip and colour jitter as a recipe's `AugmentationConfig` sets them.

    With `config.box` the steps follow the official pipeline: the image is fitted into a randomly scaled box and
    resampled as OpenCV does, and images smaller than the crop are padded last, in ImageNet's mean colour. Without a
    box the image is scaled with antialiasing, and padded with black before the crop.

    Example:
        >>> augment = Augmentation(AugmentationConfig(crop=(32, 48)))
        >>> image, label = torch.zeros(3, 40, 60, dtype=torch.uint8), torch.zeros(40, 60, dtype=torch.uint8)
        >>> image, label = augment(image, label, torch.Generator().manual_seed(0))
        >>> tuple(image.shape), tuple(label.shape)
        ((3, 32, 48), (32, 48))
    """

    config: AugmentationConfig

    def __call__(self, image: torch.Tensor, label: torch.Tensor, generator: torch.Generator) -> Sample:
        """The augmented image and label map, both of `config.crop` pixels."""
        config = self.config
        if config.box is None:
            image, label = random_scale(image, label, config.scale, generator)
            image, label = pad_to(image, label, config.crop)
        else:
            image, label = random_box(image, label, config.box, config.scale, generator)
        image, label = random_crop(image, label, config.crop, generator)
        image, label = random_flip(image, label, config.flip, generator)
        if config.photometric:
            image = color_jitter(image, generator)
        return pad_to(image, label, config.crop, MEAN_COLOR)


def random_scale(
    image: torch.Tensor, label: torch.Tensor, scale: tuple[float, float], generator: torch.Generator
) -> Sample:
    """Resize by a factor drawn from [min, max]; the aspect ratio stays."""
    ratio = _uniform(*scale, generator)
    return resize(image, label, (max(1, round(label.shape[0] * ratio)), max(1, round(label.shape[1] * ratio))))


def random_box(
    image: torch.Tensor,
    label: torch.Tensor,
    box: tuple[int, int],
    scale: tuple[float, float],
    generator: torch.Generator,
) -> Sample:
    """Fit into `box` (height, width) times a factor drawn from [min, max]; the aspect ratio stays.

    The scaled sides of the box are cut to whole pixels before the image is fitted into it, see `gss.io.resize.fit_box`.
    Image and labels are resampled as OpenCV does: bilinear without antialiasing, and nearest by the upper left corner.
    """
    factor = _uniform(*scale, generator)
    scaled = max(1, int(box[0] * factor)), max(1, int(box[1] * factor))
    size = fit_box((label.shape[0], label.shape[1]), scaled)
    rows, columns = source_corners(label.shape[0], size[0]), source_corners(label.shape[1], size[1])
    return resize_images(image[None], size)[0], label.index_select(0, rows).index_select(1, columns)


def random_crop(
    image: torch.Tensor,
    label: torch.Tensor,
    size: tuple[int, int],
    generator: torch.Generator,
    max_class_share: float = MAX_CLASS_SHARE,
) -> Sample:
    """A window of at most `size` (height, width); the whole side where the image is smaller.

    A window is drawn again, up to ten times, while one class covers `max_class_share` of its labelled pixels or more,
    or while no pixel of it has a label. Windows that show nothing but road are rare this way.
    """

    def draw() -> tuple[slice, slice]:
        top = _integer(max(label.shape[0] - size[0], 0), generator)
        left = _integer(max(label.shape[1] - size[1], 0), generator)
        return slice(top, top + size[0]), slice(left, left + size[1])

    rows, columns = draw()
    for _ in range(10):
        counts = torch.bincount(label[rows, columns].reshape(-1), minlength=256)[:IGNORE]
        if max_class_share >= 1 or int(counts.max()) < max_class_share * int(counts.sum()):
            break
        rows, columns = draw()
    return image[:, rows, columns].contiguous(), label[rows, columns].contiguous()


def random_flip(image: torch.Tensor, label: torch.Tensor, chance: float, generator: torch.Generator) -> Sample:
    """Mirror left and right with probability `chance`."""
    if _uniform(0.0, 1.0, generator) < chance:
        return image.flip(2), label.flip(1)
    return image, label


def color_jitter(
    image: torch.Tensor,
    generator: torch.Generator,
    *,
    brightness: float = 32.0,
    contrast: tuple[float, float] = (0.5, 1.5),
    saturation: tuple[float, float] = (0.5, 1.5),
    hue: float = 36.0,
    chance: float = 0.5,
) -> torch.Tensor:
    """Change brightness, contrast, saturation and hue, each with probability `chance`: uint8 (3, H, W).

    Args:
        brightness: up to this many levels are added or subtracted.
        contrast, saturation: ranges of the factor.
        hue: largest rotation in degrees; 36 is the usual 18 of OpenCV's 180 hue steps.

    In YIQ all four are affine in RGB, so together they are one 3x4 matrix instead of a round trip through HSV.
    """
    use = (torch.rand(4, generator=generator) < chance).tolist()
    shift = _uniform(-brightness, brightness, generator) if use[0] else 0.0
    gain = _uniform(*contrast, generator) if use[1] else 1.0
    chroma = _uniform(*saturation, generator) if use[2] else 1.0
    angle = math.radians(_uniform(-hue, hue, generator)) if use[3] else 0.0
    if not any(use):
        return image
    cosine, sine = chroma * math.cos(angle), chroma * math.sin(angle)
    turn = torch.tensor([[1.0, 0.0, 0.0], [0.0, cosine, -sine], [0.0, sine, cosine]])
    matrix = gain * (_YIQ_TO_RGB @ turn @ _RGB_TO_YIQ)
    offset = torch.full((3, 1), gain * shift)
    pixels = torch.addmm(offset, matrix, image.reshape(3, -1).to(torch.float32))
    return pixels.clamp_(0, 255).round_().to(torch.uint8).reshape(image.shape)


def resize(image: torch.Tensor, label: torch.Tensor, size: tuple[int, int]) -> Sample:
    """Resize to (height, width): the image bilinear with antialiasing, the labels nearest by pixel centres."""
    if tuple(label.shape) == tuple(size):
        return image, label
    # The vectorised resize of uint8 images works on channels-last memory.
    source = image[None].contiguous(memory_format=torch.channels_last)
    resized = F.interpolate(source, size=size, mode="bilinear", align_corners=False, antialias=True)[0].contiguous()
    rows, columns = _nearest(label.shape[0], size[0]), _nearest(label.shape[1], size[1])
    return resized, label.index_select(0, rows).index_select(1, columns)


def pad_to(
    image: torch.Tensor, label: torch.Tensor, size: tuple[int, int], color: tuple[int, int, int] = (0, 0, 0)
) -> Sample:
    """Pad at the bottom and the right to at least `size` (height, width): the image in `color`, the labels with 255."""
    height, width = label.shape
    bottom, right = max(size[0] - height, 0), max(size[1] - width, 0)
    if not (bottom or right):
        return image, label
    padded = torch.tensor(color, dtype=torch.uint8)[:, None, None].repeat(1, height + bottom, width + right)
    padded[:, :height, :width] = image
    return padded, F.pad(label, (0, right, 0, bottom), value=IGNORE)


def _nearest(old: int, new: int) -> torch.Tensor:
    """The source index whose pixel centre is nearest to each target pixel's centre: int64 (new,)."""
    centers = (torch.arange(new, dtype=torch.float64) + 0.5) * (old / new)
    return centers.floor_().clamp_(max=old - 1).to(torch.int64)


def _uniform(low: float, high: float, generator: torch.Generator) -> float:
    return low + (high - low) * torch.rand((), generator=generator).item()


def _integer(high: int, generator: torch.Generator) -> int:
    """Uniform in 0..high, both included."""
    return int(torch.randint(high + 1, (), generator=generator).item())
