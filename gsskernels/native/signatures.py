"""ctypes signatures of the C functions, one entry a function, arguments in the order of its declaration in src/."""

from ctypes import c_double, c_float, c_int32, c_int64, c_void_p

P, I32, I64, F32, F64 = c_void_p, c_int32, c_int64, c_float, c_double

SIGNATURES: dict[str, tuple[type, ...]] = {}
