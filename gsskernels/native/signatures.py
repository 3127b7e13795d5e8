"""ctypes signatures of the C functions, one entry a function, arguments in the order of its declaration in src/."""

from ctypes import c_double, c_float, c_int32, c_int64, c_void_p

P, I32, I64, F32, F64 = c_void_p, c_int32, c_int64, c_float, c_double

MAP = (P, I32, I64, I64, I64)  # data, dtype, three strides

SIGNATURES: dict[str, tuple[type, ...]] = {
    "maskige_encode": (
        *(P, I32, I64, I64, I64, I64, I64, I64),  # labels
        *(P, I32, I64, I64, I64, F32, F32, I64, F32, F32, F32),  # palette, affine map, ignored labels
        *(P, I32, I64, I64, I64, I64, I32),  # output, cache, threads
    ),
    "confusion_matrix": (*MAP, *MAP, I64, I64, I64, I64, I64, P, I32),
    "code_statistics": (P, I32, I64, I64, I64, I64, I64, I64, P, I32, I64, P, P, I32),
}
