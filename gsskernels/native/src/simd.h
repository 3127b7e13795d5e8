// Vectors of 32-bit lanes, as wide as the instruction set of this compilation. GCC's and Clang's vector types give
// arithmetic, comparisons and `mask ? a : b` on every processor; intrinsics are used only where these do not suffice.
#pragma once

#include <stdint.h>
#include <string.h>

#if defined(__x86_64__) || defined(__i386__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#if defined(__AVX512F__)
#define GSS_VECTOR_BYTES 64
#elif defined(__AVX2__)
#define GSS_VECTOR_BYTES 32
#else
#define GSS_VECTOR_BYTES 16
#endif

namespace {

constexpr int LANES = GSS_VECTOR_BYTES / 4;

typedef float Floats __attribute__((vector_size(GSS_VECTOR_BYTES)));
typedef int32_t Ints __attribute__((vector_size(GSS_VECTOR_BYTES)));
typedef uint32_t Bits __attribute__((vector_size(GSS_VECTOR_BYTES)));  // arithmetic that may wrap
typedef double Doubles __attribute__((vector_size(GSS_VECTOR_BYTES)));

inline Floats load(const float* p) {
  Floats v;
  memcpy(&v, p, sizeof v);
  return v;
}
inline Ints load(const int32_t* p) {
  Ints v;
  memcpy(&v, p, sizeof v);
  return v;
}
inline void store(float* p, Floats v) { memcpy(p, &v, sizeof v); }
inline void store(int32_t* p, Ints v) { memcpy(p, &v, sizeof v); }

inline Floats broadcast(float x) { return x - Floats{}; }  // x + 0 would be an addition, because of -0
inline Ints broadcast(int32_t x) { return Ints{} + x; }

inline Ints lane_numbers() {
  Ints v;
  for (int i = 0; i < LANES; ++i) v[i] = i;
  return v;
}

// a where a > b, else b: a NaN in a never wins, a NaN in b stays. One max instruction on x86.
inline Floats larger_of(Floats a, Floats b) { return a > b ? a : b; }

// a * b + c, rounded once where the processor can.
inline Floats fused(Floats a, Floats b, Floats c) {
#if defined(__AVX512F__)
  return (Floats)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif defined(__FMA__)
  return (Floats)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#elif defined(__aarch64__)
  return (Floats)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b);
#else
  return a * b + c;
#endif
}

inline bool any(Ints mask) {
#if defined(__AVX512F__)
  return _mm512_movepi32_mask((__m512i)mask) != 0;
#elif defined(__AVX2__)
  return !_mm256_testz_si256((__m256i)mask, (__m256i)mask);
#elif defined(__SSE2__)
  return _mm_movemask_epi8((__m128i)mask) != 0;
#else
  bool found = false;
  for (int i = 0; i < LANES; ++i) found |= mask[i] != 0;
  return found;
#endif
}

}  // namespace
