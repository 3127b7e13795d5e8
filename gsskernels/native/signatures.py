"""ctypes signatures of the C functions, with arguments in the order of the declarations in src/."""

from ctypes import c_double, c_float, c_int32, c_int64, c_void_p

P, I32, I64, F32, F64 = c_void_p, c_int32, c_int64, c_float, c_double

MAP = (P, I32, I64, I64, I64)  # data, dtype, three strides

SIGNATURES: dict[str, tuple[type, ...]] = {
    "maskige_encode": (
        *(P, I32, I64, I64, I64, I64, I64, I64),  # labels
        *(P, I32, I64, I64, I64, F32, F32, I64, F32, F32, F32),  # palette, affine map, ignored labels
        *(P, I32, I64, I64, I64, I64, I32),  # output, cache, threads
    ),
    "prepare_cells": (P, I64, I32, P),
    "release_cells": (P,),
    "describe_cells": (P, P),
    "maskige_decode": (P, I32, *(I64,) * 7, P, I64, P, I64, I64, I32, P, P, I32),
    "maskige_evaluate": (P, I32, *(I64,) * 7, P, I64, P, I64, I64, I32, P, I32, *(I64,) * 4, P, I32),
    "label_resize": (P, I32, *(I64,) * 8, I64, I64, P, I32),
    "confusion_matrix": (*MAP, *MAP, I64, I64, I64, I64, I64, P, I32),
    "code_statistics": (P, I32, I64, I64, I64, I64, I64, I64, P, I32, I64, P, P, I32),
    "affine_argmax": (P, *(I64,) * 5, P, *(I64,) * 4, P, I32, I64, I32, I32, I32, I32, P),
    "linear_cross_entropy": (
        *(P, I32, I64, I64, I64, I64, I64, I64, I64),  # x, dtype, rows, features, codes, steps of x
        *(P, I64, I64, P, I32, I64),  # weight and bias with steps
        *(P, I32, I64, F64, I32),  # targets, dtype, ignore_index, smoothing, reduction
        *(P, I64, P, P, P, I64, P, P, P, I64),  # upstream, loss, lse, gradients, out_of_bounds, threads
    ),
    "linear_sample": (P, *(I64,) * 5, P, *(I64,) * 4, P, I32, I64, I32, F64, I64, I32, P),
}
