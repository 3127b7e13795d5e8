"""Every operation in plain PyTorch: the definition of the correct result, and the backend where no faster one exists.

The public functions (`gsskernels.maskige`, `gsskernels.codebook`) document and validate the arguments.
"""

from gsskernels.reference.codebook import (
    code_statistics,
    linear_argmax,
    linear_sample,
    nearest_code,
)
from gsskernels.reference.cross_entropy import linear_cross_entropy, linear_cross_entropy_backward
from gsskernels.reference.maskige import (
    confusion_matrix,
    label_resize,
    maskige_decode,
    maskige_encode,
    maskige_evaluate,
)

__all__ = [
    "code_statistics",
    "confusion_matrix",
    "label_resize",
    "linear_argmax",
    "linear_cross_entropy",
    "linear_cross_entropy_backward",
    "linear_sample",
    "maskige_decode",
    "maskige_encode",
    "maskige_evaluate",
    "nearest_code",
]
