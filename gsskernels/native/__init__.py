"""The CPU backend: every operation of `gsskernels.reference` in C++, for several instruction sets.

Importing this module loads the library. If that fails, the ImportError tells the reason and what to do.
"""

from gsskernels.native import library as library  # first: its ImportError tells why the library cannot be loaded
from gsskernels.native.affine_argmax import linear_argmax, nearest_code
from gsskernels.native.cross_entropy import linear_cross_entropy, linear_cross_entropy_backward
from gsskernels.native.decode import label_resize, maskige_decode, maskige_evaluate
from gsskernels.native.encode import maskige_encode
from gsskernels.native.sample import linear_sample
from gsskernels.native.statistics import code_statistics, confusion_matrix

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
