// Interleaves two 128-bit vectors; every small transposition consists of this step. All processors have one instruction
// for it (punpckl, zip1) for every element size.
#pragma once

#include "simd.h"

#if defined(__clang__) || __GNUC__ >= 12
#define GSS_SHUFFLE(Vector, a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define GSS_SHUFFLE(Vector, a, b, ...) __builtin_shuffle(a, b, Vector{__VA_ARGS__})
#endif

namespace {

typedef uint8_t Bytes16 __attribute__((vector_size(16)));
typedef uint16_t Shorts8 __attribute__((vector_size(16)));
typedef uint32_t Words4 __attribute__((vector_size(16)));
typedef uint64_t Pairs2 __attribute__((vector_size(16)));

// low: a0 b0 a1 b1 ... of the first halves; high: of the second halves.
inline Bytes16 low(Bytes16 a, Bytes16 b) {
  return GSS_SHUFFLE(Bytes16, a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
}
inline Shorts8 low(Shorts8 a, Shorts8 b) { return GSS_SHUFFLE(Shorts8, a, b, 0, 8, 1, 9, 2, 10, 3, 11); }
inline Words4 low(Words4 a, Words4 b) { return GSS_SHUFFLE(Words4, a, b, 0, 4, 1, 5); }
inline Words4 high(Words4 a, Words4 b) { return GSS_SHUFFLE(Words4, a, b, 2, 6, 3, 7); }
inline Pairs2 low(Pairs2 a, Pairs2 b) { return GSS_SHUFFLE(Pairs2, a, b, 0, 2); }
inline Pairs2 high(Pairs2 a, Pairs2 b) { return GSS_SHUFFLE(Pairs2, a, b, 1, 3); }
inline Shorts8 high(Shorts8 a, Shorts8 b) { return GSS_SHUFFLE(Shorts8, a, b, 4, 12, 5, 13, 6, 14, 7, 15); }

}  // namespace
