"""The GPU backend: every operation of `gsskernels.reference` in Triton, one family of operations per file.

Importing this module needs triton and compiles nothing: a kernel is compiled at its first launch, with meta-parameters
from `gsskernels.triton.plan`, and kept in Triton's cache. With TRITON_INTERPRET=1 set before the import, kernels run as
Python on CPU tensors, for tests; only then does ``backend="triton"`` accept CPU tensors.
"""

from gsskernels.triton.affine_argmax import linear_argmax, nearest_code
from gsskernels.triton.confusion import confusion_matrix
from gsskernels.triton.cross_entropy import linear_cross_entropy, linear_cross_entropy_backward
from gsskernels.triton.decode import maskige_decode
from gsskernels.triton.encode import maskige_encode
from gsskernels.triton.evaluate import maskige_evaluate
from gsskernels.triton.launch import INTERPRETED as INTERPRETED
from gsskernels.triton.resize import label_resize
from gsskernels.triton.sample import linear_sample
from gsskernels.triton.statistics import code_statistics

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
