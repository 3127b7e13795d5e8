"""Fused tensor operations for segmentation as image generation (GSS, arXiv 2303.11316).

Nearest colour, nearest code and most likely token are one operation, the affine argmax ``argmax_v <x, w_v> + b_v``: a
colour or a code is a vector, and a token is a row of a linear layer. The package needs torch and numpy, and works
without `gss`.
"""

from importlib import metadata

from gsskernels import _autograd as _autograd  # registers the gradients
from gsskernels import _vmap as _vmap  # registers the rules for torch.func.vmap
from gsskernels.codebook import code_statistics, linear_argmax, linear_cross_entropy, linear_sample, nearest_code
from gsskernels.maskige import confusion_matrix, label_resize, maskige_decode, maskige_encode, maskige_evaluate

try:
    __version__ = metadata.version("gss")
except metadata.PackageNotFoundError:  # imported from a source tree that was never installed
    __version__ = "0+source"

__all__ = [
    "code_statistics",
    "confusion_matrix",
    "label_resize",
    "linear_argmax",
    "linear_cross_entropy",
    "linear_sample",
    "maskige_decode",
    "maskige_encode",
    "maskige_evaluate",
    "nearest_code",
]
