// Standard Gumbel noise as a pure function of (seed, row, code): -log(-log(u)), u = (h + 1/2) 2^-52 with h the upper 52
// bits of a SplitMix64 hash (Steele, Lea, Flood, 2014), the numbers of gsskernels/reference/codebook.py.
//
// Computed in float64 for the few codes that can win, and in float32 with an error below NOISE_ERROR for all others. u
// keeps its relative precision near 0 and near 1, because the distance to the nearer end is converted.
#pragma once

#include "certificate.h"

namespace {

constexpr uint64_t GOLDEN = 0x9E3779B97F4A7C15u, MIX_1 = 0xBF58476D1CE4E5B9u, MIX_2 = 0x94D049BB133111EBu;
constexpr float NOISE_ERROR = 4e-5f;  // with the rounding of adding noise of at most 37 to a score; measured: 4e-6

typedef uint64_t Longs __attribute__((vector_size(GSS_VECTOR_BYTES)));
typedef int32_t HalfInts __attribute__((vector_size(GSS_VECTOR_BYTES / 2)));

template <class T>
inline T mix(T z) {
  z = (z ^ (z >> 30)) * MIX_1;
  z = (z ^ (z >> 27)) * MIX_2;
  return z ^ (z >> 31);
}

inline uint64_t noise_key(int64_t seed) { return mix(static_cast<uint64_t>(seed) + GOLDEN); }

inline double gumbel(uint64_t key, int64_t row, int64_t code, int64_t num_codes) {
  const uint64_t position = static_cast<uint64_t>(row) * static_cast<uint64_t>(num_codes) + static_cast<uint64_t>(code);
  const uint64_t bits = mix(mix(key + position * GOLDEN) + GOLDEN);
  return -log(-log((static_cast<double>(bits >> 12) + 0.5) * 0x1p-52));
}

// log(x) for normal x > 0, to about 1e-7 relative to the larger of |log x| and |x - 1|.
inline __attribute__((always_inline)) Floats natural_log(Floats x) {
  const Ints u = (Ints)x;
  const Ints exponent = (u - 0x3F3504F3) >> 23;  // x = 2^exponent * m, m from sqrt(1/2) to sqrt(2)
  const Floats f = (Floats)(u - (exponent << 23)) - 1.0f;
  Floats p = broadcast(-0.0785954595f);
  const float coefficients[] = {0.128816217f, -0.131287679f, 0.141811967f, -0.166245535f,
                                0.200022861f, -0.250008106f, 0.333333164f};
#pragma GCC unroll 7
  for (const float coefficient : coefficients) p = fused(p, f, broadcast(coefficient));
  const Floats squared = f * f, e = __builtin_convertvector(exponent, Floats);
  return fused(e, broadcast(0.693147182f), fused(squared, fused(p, f, broadcast(-0.5f)), f));
}

inline __attribute__((always_inline)) Ints joined(HalfInts a, HalfInts b) {
  Ints out;
  memcpy(&out, &a, sizeof a);
  memcpy(reinterpret_cast<char*>(&out) + sizeof a, &b, sizeof b);
  return out;
}

// Noise of LANES rows for one code; `a` and `b` are key + position * GOLDEN of the rows.
inline __attribute__((always_inline)) Floats fast_gumbel(Longs a, Longs b) {
  a = mix(mix(a) + GOLDEN);
  b = mix(mix(b) + GOLDEN);
  const Ints high = joined(__builtin_convertvector(a >> 32, HalfInts), __builtin_convertvector(b >> 32, HalfInts));
  const Ints low = joined(__builtin_convertvector(a & 0xFFFFFFFFu, HalfInts),
                          __builtin_convertvector(b & 0xFFFFFFFFu, HalfInts));
  const Ints upper_half = high >> 31;  // all ones where u > 1/2
  // t = min(u, 1 - u), from 31 + 20 bits.
  const Floats t = __builtin_convertvector(high ^ upper_half, Floats) * 0x1p-32f +
                   (__builtin_convertvector(((low ^ upper_half) >> 12) & 0xFFFFF, Floats) + 0.5f) * 0x1p-52f;
  const Floats y = upper_half ? 1.0f - t : t;
  const Floats lost = upper_half ? (1.0f - y) - t : Floats{};  // what rounding 1 - t lost
  const Floats exponential = -(natural_log(y) + lost * (2.0f - y));
  return -natural_log(exponential);
}

}  // namespace
