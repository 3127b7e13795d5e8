// The operands of an affine argmax: N rows and V codes of D features, any dtype up to float32 and any strides.
#pragma once

#include "convert.h"
#include "parallel.h"

namespace {

// The rounding of operands for a precision; gsskernels/native/affine_argmax.py holds the same numbers.
enum Rounding : int32_t { AS_IS = 0, TO_TF32 = 1, TO_BF16 = 2 };

inline uint32_t nearest_bf16_bits(uint32_t u) { return (u + 0x7FFFu + ((u >> 16) & 1u)) & 0xFFFF0000u; }

inline void round_all(float* x, int64_t count, int32_t rounding) {
  if (rounding == AS_IS) return;
  const uint32_t half = rounding == TO_TF32 ? 0xFFFu : 0x7FFFu, mask = rounding == TO_TF32 ? ~0x1FFFu : 0xFFFF0000u;
  const int shift = rounding == TO_TF32 ? 13 : 16;
  for (int64_t i = 0; i < count; ++i) {
    const uint32_t u = bits_of(x[i]);
    const uint32_t nearest = (u + half + ((u >> shift) & 1u)) & mask;
    x[i] = float_of((u & 0x7F800000u) == 0x7F800000u ? u : nearest);
  }
}

// Vector i starts at (i / inner) * outer_stride + (i % inner) * inner_stride.
struct Vectors {
  const void* data;
  int32_t dtype, rounding;
  int64_t features, outer_stride, inner, inner_stride, feature_stride;

  const void* start(int64_t i) const {
    return offset(data, dtype, (i / inner) * outer_stride + (i % inner) * inner_stride);
  }
  bool as_they_lie() const { return dtype == F32 && feature_stride == 1 && rounding == AS_IS; }

  // The features of vector i as float: in place if they are contiguous floats, else copied to `buffer`.
  const float* read(int64_t i, float* buffer) const {
    if (as_they_lie()) return static_cast<const float*>(start(i));
    read_floats(start(i), dtype, feature_stride, features, buffer);
    round_all(buffer, features, rounding);
    return buffer;
  }
};

struct Operands {
  Vectors rows, codes;
  int64_t num_rows, num_codes;
  const void* bias;  // null for none
  int32_t bias_dtype;
  int64_t bias_stride;
  bool nearest;  // the bias is -|code|^2 / 2

  double bias_of(int64_t code) const {
    if (!bias) return 0;
    if (bias_dtype == F64) return static_cast<const double*>(bias)[code * bias_stride];
    return element_as_float(bias, bias_dtype, code * bias_stride);
  }
};

inline float sum_of(Floats v) {
  float parts[LANES];
  store(parts, v);
  for (int half = LANES / 2; half > 0; half /= 2)
    for (int i = 0; i < half; ++i) parts[i] += parts[i + half];
  return parts[0];
}

// sum x[i]^2 in float32.
inline float squared_length(const float* x, int64_t count) {
  Floats sum{};
  int64_t i = 0;
  for (; i + LANES <= count; i += LANES) {
    const Floats v = load(x + i);
    sum = fused(v, v, sum);
  }
  float rest = sum_of(sum);
  for (; i < count; ++i) rest += x[i] * x[i];
  return rest;
}

// An upper bound of the length from the float32 sum of `count` squares; squares below 2^-126 may be missing in the sum.
inline float length_at_most(float squared, int64_t count) {
  const float root = sqrtf(static_cast<float>(count));
  return sqrtf(squared) * (1 + static_cast<float>(count + 8) * 0x1p-24f) + root * 0x1p-62f;
}

// Lengths and biases beyond these could overflow float32 sums: such vectors are scored in float64 only.
constexpr float LARGEST_LENGTH_SQUARED = 0x1p+120f;
constexpr double LARGEST_BIAS = 0x1p+120;

}  // namespace
