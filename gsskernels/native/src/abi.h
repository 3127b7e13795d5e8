// The C ABI of the library: conventions that all exported functions share.
//
// Each source file of this folder is compiled once per instruction set (GSS_ISA: baseline, avx2, avx512, avx512bf16),
// and its functions are exported as gss_<isa>_<name>. `gss_best_isa()` (dispatch.cpp) says which of them this
// processor can run; the caller binds to that set once. No header of Python or torch is used, so one build serves
// every version of both.
//
// Conventions: tensors are raw pointers with sizes, strides count elements (never negative), dtypes are `DType`, the
// caller allocates outputs, and `threads` is the largest number of threads that a call may use. Results never depend on
// `threads`. Functions return a status: OK, or the reason why nothing was computed.
#pragma once

#include <stdint.h>

#define GSS_JOIN_(a, b, c, d) a##b##c##d
#define GSS_JOIN(a, b, c, d) GSS_JOIN_(a, b, c, d)
#define GSS_FUNCTION(name) \
  extern "C" __attribute__((visibility("default"))) int64_t GSS_JOIN(gss_, GSS_ISA, _, name)

namespace {

enum Status : int64_t { OK = 0, OUT_OF_MEMORY = -1, UNSUPPORTED_DTYPE = -2 };

// The numbers are part of the ABI; gsskernels/native/library.py holds the same numbers.
enum DType : int32_t { U8 = 0, I8 = 1, I16 = 2, I32 = 3, I64 = 4, F16 = 5, BF16 = 6, F32 = 7, F64 = 8 };

}  // namespace
