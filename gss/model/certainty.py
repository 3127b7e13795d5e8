"""How sure the tokens are of a pixel's class, before anything is drawn or decoded.

The prior gives every cell a distribution over tokens. If each token counts with its probability for the class that it
paints alone, every pixel of the cell has a distribution over classes; minus its entropy is the pixel's certainty. The
margin of a decoded colour knows only how cleanly that colour lies, not how many other tokens were nearly as likely.
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
        (..., pixels) of the same dtype; below 0 by a rounding error where one class has all the probability.
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
