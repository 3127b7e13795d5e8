"""The joint transforms that a recipe's augmentation asks for, in their order."""

from __future__ import annotations

from gss.config import AugmentationConfig
from gss.data.official import Pad, ResizeToBox
from gss.data.pairs import Transform
from gss.data.photometric_hsv import PhotometricHSV
from gss.data.transforms import Compose, PhotometricDistortion, RandomCrop, RandomFlip, RandomScale


def augmentation(config: AugmentationConfig) -> Compose:
    """Scale, crop, flip, photometric distortion; images of `config.crop` pixels come out.

    With a `box` it is the official order: images smaller than the crop are padded last, in the mean colour, so that
    padding is neither flipped nor distorted. Without one the crop pads with black.
    """
    crop = (config.crop[0], config.crop[1])
    steps: list[Transform] = []
    if config.box is None:
        steps += [RandomScale(*config.scale), RandomCrop(crop)]
    else:
        steps += [ResizeToBox((config.box[0], config.box[1]), *config.scale), RandomCrop(crop, pad=False)]
    steps.append(RandomFlip(config.flip))
    if config.photometric:
        steps.append(PhotometricHSV() if config.photometric_form == "hsv" else PhotometricDistortion())
    if config.box is not None:
        steps.append(Pad(crop))
    return Compose(tuple(steps))
