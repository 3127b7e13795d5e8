"""Certainty: how sure the distribution over tokens is of the class of each pixel.

The prior gives every cell a distribution over tokens, and each token has a label patch, the classes it paints on its
own. The mean of the patches by the tokens' probabilities gives every pixel of the cell a distribution over classes. The
certainty of the pixel is minus the entropy of that distribution. The margin of a decoded colour, in contrast, does not
depend on how likely the other tokens were.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def class_entropy(votes: Tensor, classes: int) -> Tensor:
    """Entropy of the classes' probabilities, in nats, 0 to log(K).

    Args:
        votes: (..., pixels * K) floating point, for each pixel of a cell the probabilities of its K classes. A class
            without probability contributes 0.
        classes: K.

    Returns:
        (..., pixels) of the same dtype; slightly below 0 by rounding where one class has all the probability.
    """
    return torch.special.entr(votes).unflatten(-1, (-1, classes)).sum(-1)


def certainty_map(entropy: Tensor, size: tuple[int, int]) -> Tensor:
    """Minus the entropy of every pixel, resized bilinearly, as margins are.

    The entropy of resized probabilities would take K planes of the image's size.

    Args:
        entropy: (B, stride^2, h, w), the pixels of each cell row by row.
        size: (height, width) of the image.

    Returns:
        (B, height, width), at most 0; higher is surer.
    """
    stride = round(entropy.shape[1] ** 0.5)
    certainty = -F.pixel_shuffle(entropy, stride).clamp_min(0)
    return F.interpolate(certainty, size=size, mode="bilinear", align_corners=False)[:, 0]
