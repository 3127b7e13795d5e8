// The certificate of a block of codes: a bound on the error of its fast scores.
//
// x' and w' are the operands of the fast pass, shifted but not rounded; x^ and w^ are the rounded values it multiplies:
//   |<x', w'> - <x^, w^>| <= |x' - x^| |w'| + |x^| |w' - w^|                      (Cauchy-Schwarz)
//   rounding of the sum   <= (D + 8) * unit * (|x'| |w'| + |b'|)                  (unit: 2^-24, bf16 2^-23)
//   values flushed to 0   <= 2^-125 * (D + sqrt(D) * (|x'| + |w'|))
// A block stores the largest |w'|, |w' - w^| and |b'| of its codes, which give one error for a block and a row.
//
// Shift: subtracting one vector m from every code changes all scores of a row alike, so it changes no argmax, and for
// nearest_code m may be subtracted from the rows as well. Without the shift, the differences between codes far from the
// origin would be lost in the rounding of their common offset.
#pragma once

#include "operands.h"

namespace {

constexpr int GROUP = 12;                                        // codes are packed by twelve
constexpr int ACROSS = (GROUP + LANES - 1) / LANES * LANES;      // a group with codes across lanes
constexpr int64_t MOST_BLOCKS = 1024;                            // of a table; the size of a block follows
constexpr int64_t ACROSS_FEATURES = 64, ACROSS_TABLE = 1 << 19;  // where the transposed table pays

// The treatment of a code in the fast pass. NEVER: a finite row cannot choose it (NaN). EXACT: infinite or too large,
// scored in float64 for every row. FORBIDDEN: its bias is -inf; the first such code is the answer where there is no other.
enum Kind : uint8_t { PLAIN = 0, NEVER = 1, EXACT = 2, FORBIDDEN = 3 };

struct Certificate {
  int64_t groups_per_block, blocks;
  const float *shift, *row_shift;   // D floats or null, subtracted from the codes and from the rows
  float* bias;         // b' by code, padded to whole blocks; -inf for every code that is not PLAIN
  float *length, *residue, *reach;  // by block: the largest |w'|, |w' - w^|, |b'|
  uint8_t* kind;                    // by code
  float* across;                    // w' transposed by group, or null: [group][D][ACROSS]
  int64_t codes_per_block() const { return groups_per_block * GROUP; }
};

inline int64_t groups_per_block(int64_t num_codes) { return ceil_div(ceil_div(num_codes, GROUP), MOST_BLOCKS); }

// Writes w' of a code to `buffer`, which may be the code itself if there is no shift.
inline const float* shifted(const Vectors& vectors, int64_t i, const float* shift, float* buffer) {
  const float* x = vectors.read(i, buffer);
  if (!shift) return x;
  for (int64_t d = 0; d < vectors.features; ++d) buffer[d] = x[d] - shift[d];
  return buffer;
}

// sum (x[i] - bf16(x[i]))^2
inline float squared_bf16_residue(const float* x, int64_t count) {
  Floats sum{};
  int64_t i = 0;
  for (; i + LANES <= count; i += LANES) {
    const Floats v = load(x + i);
    const Ints u = (Ints)v;
    const Floats rest = v - (Floats)((u + 0x7FFF + ((u >> 16) & 1)) & static_cast<int32_t>(0xFFFF0000u));
    sum = fused(rest, rest, sum);
  }
  float all = sum_of(sum);
  for (; i < count; ++i) {
    const float rest = x[i] - float_of(nearest_bf16_bits(bits_of(x[i])));
    all += rest * rest;
  }
  return all;
}

inline double squared_length_in_double(const float* x, int64_t count, const float* shift) {
  double sums[8] = {};
  int64_t i = 0;
  for (; i + 8 <= count; i += 8)
    for (int j = 0; j < 8; ++j) {
      const double v = static_cast<double>(x[i + j]) - (shift ? static_cast<double>(shift[i + j]) : 0.0);
      sums[j] += v * v;
    }
  for (; i < count; ++i) {
    const double v = static_cast<double>(x[i]) - (shift ? static_cast<double>(shift[i]) : 0.0);
    sums[0] += v * v;
  }
  return ((sums[0] + sums[1]) + (sums[2] + sums[3])) + ((sums[4] + sums[5]) + (sums[6] + sums[7]));
}

// Fills the certificate of one block. `buffer` holds 2 D floats.
inline void certify_block(const Operands& all, const Certificate& c, int64_t block, bool bf16, float* buffer) {
  const int64_t features = all.codes.features, first = block * c.codes_per_block();
  float length = 0, residue = 0, reach = 0;
  for (int64_t code = first; code < first + c.codes_per_block(); ++code) {
    const bool exists = code < all.num_codes;
    Kind kind = NEVER;
    double bias = 0;
    const float* w = nullptr;
    if (exists) {
      w = all.codes.read(code, buffer);
      bias = all.nearest ? -0.5 * squared_length_in_double(w, features, c.shift) : all.bias_of(code);
      if (c.shift) {
        float* moved = buffer + features;
        for (int64_t d = 0; d < features; ++d) moved[d] = w[d] - c.shift[d];
        w = moved;
      }
      const float squared = squared_length(w, features);
      kind = PLAIN;
      if (!(squared <= LARGEST_LENGTH_SQUARED) || !(fabs(bias) <= LARGEST_BIAS)) {
        bool nan = isnan(bias) && !all.nearest, finite = true;
        for (int64_t d = 0; d < features; ++d) nan |= isnan(w[d]), finite &= static_cast<bool>(isfinite(w[d]));
        kind = nan ? NEVER : finite && bias == -INFINITY && !all.nearest ? FORBIDDEN : EXACT;
      } else {
        length = fmaxf(length, length_at_most(squared, features));
        if (bf16) residue = fmaxf(residue, length_at_most(squared_bf16_residue(w, features), features));
        reach = fmaxf(reach, static_cast<float>(fabs(bias)));
      }
      c.kind[code] = kind;
    }
    c.bias[code] = kind == PLAIN ? static_cast<float>(bias) : -INFINITY;
    if (c.across) {
      float* out = c.across + (code / GROUP) * features * ACROSS + code % GROUP;
      for (int64_t d = 0; d < features; ++d) out[d * ACROSS] = kind == PLAIN ? w[d] : 0.0f;
    }
  }
  c.length[block] = length;
  c.residue[block] = residue;
  c.reach[block] = reach * (1 + 0x1p-20f);
}

// The mean of a few codes, if the codes are nearer to it than to the origin. The result is correct for any vector.
inline bool choose_shift(const Operands& all, float* shift, float* buffer) {
  const int64_t features = all.codes.features, sample = smaller(all.num_codes, 64);
  double lengths = 0, mean_length = 0;
  for (int64_t d = 0; d < features; ++d) shift[d] = 0;
  for (int64_t s = 0; s < sample; ++s) {
    const float* w = all.codes.read(s * all.num_codes / sample, buffer);
    lengths += squared_length_in_double(w, features, nullptr) / static_cast<double>(sample);
    for (int64_t d = 0; d < features; ++d) shift[d] += w[d] / static_cast<float>(sample);
  }
  mean_length = squared_length_in_double(shift, features, nullptr);
  return sample > 1 && mean_length <= LARGEST_BIAS && mean_length > 0.5 * lengths;
}

// A bound on the error of a row's fast scores: error(block) = scale * length + spread * residue + unit * reach + tiny.
struct RowBound {
  float scale, spread, tiny;
};

inline RowBound row_bound(float length, float residue, int64_t features, float unit) {
  const float root = sqrtf(static_cast<float>(features));
  return {residue + length * unit + root * 0x1p-125f, (length + residue) * (1 + 0x1p-10f),
          0x1p-124f * (static_cast<float>(features + 4) + root * length)};
}

// (D + 8) roundings of relative size `each`, and the roundings of the bound itself.
inline float rounding_unit(int64_t roundings, float each) {
  const float n = static_cast<float>(roundings) * each;
  return n / (1 - n) * (1 + 0x1p-10f);
}

}  // namespace
