// Reads and writes strided elements of every dtype as float or as 64-bit class ids.
#pragma once

#include <math.h>

#include "abi.h"
#include "simd.h"

namespace {

inline uint32_t bits_of(float x) {
  uint32_t u;
  memcpy(&u, &x, 4);
  return u;
}
inline float float_of(uint32_t u) {
  float x;
  memcpy(&x, &u, 4);
  return x;
}

inline float bf16_to_float(uint16_t h) { return float_of(static_cast<uint32_t>(h) << 16); }

// Nearest, ties to even; NaN stays NaN.
inline uint16_t float_to_bf16(float x) {
  const uint32_t u = bits_of(x);
  if ((u & 0x7FFFFFFFu) > 0x7F800000u) return static_cast<uint16_t>((u >> 16) | 0x40u);
  return static_cast<uint16_t>((u + 0x7FFFu + ((u >> 16) & 1u)) >> 16);
}

inline float fp16_to_float(uint16_t h) {
#if defined(__F16C__)
  return _cvtsh_ss(h);
#else
  const uint32_t sign = static_cast<uint32_t>(h & 0x8000u) << 16, rest = h & 0x7FFFu;
  if (rest >= 0x7C00u) return float_of(sign | 0x7F800000u | ((rest & 0x3FFu) << 13));
  // Exponents are rebiased by a multiplication, which also normalises the subnormal numbers of fp16.
  return float_of(sign | bits_of(float_of(rest << 13) * float_of(0x77800000u)));
#endif
}

// Nearest, ties to even; overflow to infinity; NaN stays NaN.
inline uint16_t float_to_fp16(float x) {
#if defined(__F16C__)
  return static_cast<uint16_t>(_cvtss_sh(x, 0));
#else
  const uint32_t u = bits_of(x), sign = (u >> 16) & 0x8000u, rest = u & 0x7FFFFFFFu;
  if (rest > 0x7F800000u) return static_cast<uint16_t>(sign | 0x7E00u);
  if (rest >= 0x477FF000u) return static_cast<uint16_t>(sign | 0x7C00u);
  if (rest < 0x38800000u) {  // subnormal in fp16: let the addition of 0.5 round at the last bit
    return static_cast<uint16_t>(sign | (bits_of(float_of(rest) + 0.5f) - 0x3F000000u));
  }
  return static_cast<uint16_t>(sign | ((rest - 0x38000000u + 0xFFFu + ((rest >> 13) & 1u)) >> 13));
#endif
}

inline int64_t dtype_bytes(int32_t dtype) {
  switch (dtype) {
    case U8: case I8: return 1;
    case I16: case F16: case BF16: return 2;
    case I32: case F32: return 4;
    default: return 8;
  }
}

inline float element_as_float(const void* data, int32_t dtype, int64_t i) {
  switch (dtype) {
    case U8: return static_cast<const uint8_t*>(data)[i];
    case I8: return static_cast<const int8_t*>(data)[i];
    case I16: return static_cast<const int16_t*>(data)[i];
    case I32: return static_cast<float>(static_cast<const int32_t*>(data)[i]);
    case I64: return static_cast<float>(static_cast<const int64_t*>(data)[i]);
    case F16: return fp16_to_float(static_cast<const uint16_t*>(data)[i]);
    case BF16: return bf16_to_float(static_cast<const uint16_t*>(data)[i]);
    case F32: return static_cast<const float*>(data)[i];
    default: return static_cast<float>(static_cast<const double*>(data)[i]);
  }
}

// out[i] = data[i * stride] as float, for i in 0..count-1.
inline void read_floats(const void* data, int32_t dtype, int64_t stride, int64_t count, float* __restrict out) {
#define GSS_READ(T, expression)                                                     \
  {                                                                                 \
    const T* __restrict p = static_cast<const T*>(data);                            \
    if (stride == 1)                                                                \
      for (int64_t i = 0; i < count; ++i) { const T e = p[i]; out[i] = expression; } \
    else                                                                            \
      for (int64_t i = 0; i < count; ++i) { const T e = p[i * stride]; out[i] = expression; } \
    return;                                                                         \
  }
  switch (dtype) {
    case U8: GSS_READ(uint8_t, e)
    case F16: GSS_READ(uint16_t, fp16_to_float(e))
    case BF16: GSS_READ(uint16_t, bf16_to_float(e))
    case F32: GSS_READ(float, e)
    case F64: GSS_READ(double, static_cast<float>(e))
    default:
      for (int64_t i = 0; i < count; ++i) out[i] = element_as_float(data, dtype, i * stride);
  }
#undef GSS_READ
}

inline const void* offset(const void* data, int32_t dtype, int64_t elements) {
  return static_cast<const char*>(data) + elements * dtype_bytes(dtype);
}

}  // namespace
