// The fast pass: the largest score of every block of codes, for 32 rows (two vectors) at a time.
//
// Rows lie across lanes and weights are broadcast, so the loop needs neither indices nor a horizontal step: twelve
// codes x 32 rows stay in registers over all features, then fold into a running maximum. Fast<float> multiplies
// float32, Fast<Pair> pairs of bfloat16 (vdpbf16ps), twice the rate.
#pragma once

#include "certificate.h"
#include "multiply.h"

namespace {

struct Pair {  // features 2k (low half) and 2k + 1 as bfloat16
  uint32_t bits;
};

template <class Element>
struct Fast;

template <>
struct Fast<float> {
  static constexpr bool BF16 = false;
  static int64_t depth(int64_t features) { return features; }
  static float unit(int64_t features) { return rounding_unit(features + 8, 0x1p-24f); }

  // x in the elements of the fast pass, one after the other; `out` is used only if they are not there already.
  static const uint32_t* encode(const float* x, int64_t, uint32_t*) { return reinterpret_cast<const uint32_t*>(x); }
  static void store_feature(Floats v, int64_t d, float* lanes, Floats*) { store(lanes + d * ROWS, v); }
  static float squared_residue(const float*, int64_t) { return 0; }

  template <int N>
  static inline __attribute__((always_inline)) void multiply_block(int64_t depth, const float* a, const float* b,
                                                                   Floats (&sums)[N][2]) {
    multiply<N>(depth, a, ROWS, b, GROUP, 1, sums);
  }
};

#if defined(__AVX512BF16__)
template <>
struct Fast<Pair> {
  static constexpr bool BF16 = true;
  static int64_t depth(int64_t features) { return ceil_div(features, 2); }
  static float unit(int64_t features) { return rounding_unit(features + 8, 0x1p-23f); }

  static const uint32_t* encode(const float* x, int64_t features, uint32_t* out) {
    uint16_t* halves = reinterpret_cast<uint16_t*>(out);
    for (int64_t d = 0; d < features; ++d) halves[d] = static_cast<uint16_t>(nearest_bf16_bits(bits_of(x[d])) >> 16);
    if (features % 2) halves[features] = 0;
    return out;
  }
  static void store_feature(Floats v, int64_t d, Pair* lanes, Floats* residue) {
    const Ints u = (Ints)v, nearest = (u + 0x7FFF + ((u >> 16) & 1)) & static_cast<int32_t>(0xFFFF0000u);
    const Floats rest = v - (Floats)nearest;
    *residue = fused(rest, rest, *residue);
    int32_t* const place = reinterpret_cast<int32_t*>(lanes + d / 2 * ROWS);
    store(place, d % 2 ? load(place) | nearest : (nearest >> 16) & 0xFFFF);
  }
  static float squared_residue(const float* x, int64_t features) { return squared_bf16_residue(x, features); }

  template <int N>
  static inline __attribute__((always_inline)) void multiply_block(int64_t depth, const Pair* __restrict a,
                                                                   const Pair* __restrict b, Floats (&sums)[N][2]) {
    for (int64_t k = 0; k < depth; ++k) {
      const __m512bh a0 = (__m512bh)_mm512_loadu_si512(a), a1 = (__m512bh)_mm512_loadu_si512(a + LANES);
#pragma GCC unroll 12
      for (int n = 0; n < N; ++n) {
        const __m512bh w = (__m512bh)_mm512_set1_epi32(static_cast<int>(b[n].bits));
        sums[n][0] = (Floats)_mm512_dpbf16_ps((__m512)sums[n][0], a0, w);
        sums[n][1] = (Floats)_mm512_dpbf16_ps((__m512)sums[n][1], a1, w);
      }
      a += ROWS;
      b += GROUP;
    }
  }
};
#endif

// The part of the bounds that depends on the rows of a tile, see certificate.h. A row of infinite length is scored in
// float64 only.
struct TileBounds {
  float length[ROWS], scale[ROWS], spread[ROWS], tiny[ROWS];

  void set(int64_t r, float squared, float squared_residue, int64_t features, float unit) {
    length[r] = squared <= LARGEST_LENGTH_SQUARED ? length_at_most(squared, features) : INFINITY;
    const RowBound b = row_bound(length[r], length_at_most(squared_residue, features), features, unit);
    scale[r] = b.scale, spread[r] = b.spread, tiny[r] = b.tiny;
  }
};

// out[k * step + i] = in[i][k] for four vectors.
inline void transpose_four(const uint32_t* const (&in)[4], int64_t depth, uint32_t* out, int64_t step) {
  int64_t k = 0;
#if defined(__SSE2__)
  for (; k + 4 <= depth; k += 4) {
    __m128 a = _mm_loadu_ps(reinterpret_cast<const float*>(in[0] + k)), b = _mm_loadu_ps(reinterpret_cast<const float*>(in[1] + k));
    __m128 c = _mm_loadu_ps(reinterpret_cast<const float*>(in[2] + k)), d = _mm_loadu_ps(reinterpret_cast<const float*>(in[3] + k));
    _MM_TRANSPOSE4_PS(a, b, c, d);
    float* o = reinterpret_cast<float*>(out + k * step);
    _mm_storeu_ps(o, a), _mm_storeu_ps(o + step, b), _mm_storeu_ps(o + 2 * step, c), _mm_storeu_ps(o + 3 * step, d);
  }
#endif
  for (; k < depth; ++k)
    for (int i = 0; i < 4; ++i) out[k * step + i] = in[i][k];
}

// Vectors first..first+3 into four lanes of `out`, as [depth][step]; zeros for those from `count` on, and for codes that
// are not PLAIN. seen(i, x) is called with each vector's floats. `buffer` holds 6 D + 64 floats.
template <class Element, class Seen>
void pack_four(const Vectors& vectors, const float* shift, const uint8_t* kind, int64_t first, int64_t count,
               Element* out, int64_t step, float* buffer, Seen seen) {
  const int64_t features = vectors.features, depth = Fast<Element>::depth(features);
  uint32_t* const zeros = reinterpret_cast<uint32_t*>(buffer + features);
  uint32_t* const encoded = zeros + features;
  const uint32_t* in[4];
  for (int64_t i = 0; i < 4; ++i) {
    if (i >= count || (kind && kind[first + i] != PLAIN)) {
      memset(zeros, 0, static_cast<size_t>(features) * sizeof(uint32_t));
      in[i] = zeros;
      continue;
    }
    // Floats stay where they were read, so each of the four needs its own place.
    float* const place = Fast<Element>::BF16 ? buffer : reinterpret_cast<float*>(encoded + i * depth);
    const float* x = shifted(vectors, first + i, shift, place);
    seen(i, x);
    in[i] = Fast<Element>::encode(x, features, encoded + i * depth);
  }
  transpose_four(in, depth, reinterpret_cast<uint32_t*>(out), step);
}

// A tile of `count` rows from `first` on as [depth][ROWS]; lanes without a row are zero.
template <class Element>
void pack_tile(const Operands& all, const Certificate& c, int64_t first, int64_t count, Element* tile,
               TileBounds* bounds, float* buffer) {
  const int64_t features = all.rows.features;
  const float unit = Fast<Element>::unit(features);
  for (int64_t r = 0; r < ROWS; r += 4)
    pack_four<Element>(all.rows, c.row_shift, nullptr, first + r, count - r, tile + r, ROWS, buffer,
                       [&](int64_t i, const float* x) {
                         bounds->set(r + i, squared_length(x, features),
                                     Fast<Element>::squared_residue(x, features), features, unit);
                       });
  for (int64_t r = count; r < ROWS; ++r) bounds->set(r, 0, 0, features, unit);
}

// The same for a full tile whose rows lie side by side, as in channels-first maps: nothing to transpose.
template <class Element>
void pack_side_by_side(const Operands& all, const Certificate& c, int64_t first, Element* tile, TileBounds* bounds) {
  const Vectors& rows = all.rows;
  const float unit = Fast<Element>::unit(rows.features);
  Floats length[2] = {}, residue[2] = {};
  float squared[ROWS], squared_residue[ROWS];
  Vectors lane = rows;  // ROWS rows as one vector of a feature
  lane.features = ROWS;
  lane.feature_stride = 1;
  for (int64_t d = 0; d < rows.features; ++d) {
    alignas(64) float place[ROWS];
    lane.data = offset(rows.data, rows.dtype, d * rows.feature_stride);
    const float* x = lane.read(first, place);
    const float shift = c.row_shift ? c.row_shift[d] : 0.0f;
    for (int j = 0; j < 2; ++j) {
      const Floats v = load(x + j * LANES) - broadcast(shift);
      length[j] = fused(v, v, length[j]);
      Fast<Element>::store_feature(v, d, tile + j * LANES, &residue[j]);
    }
  }
  for (int j = 0; j < 2; ++j) store(squared + j * LANES, length[j]), store(squared_residue + j * LANES, residue[j]);
  for (int64_t r = 0; r < ROWS; ++r) bounds->set(r, squared[r], squared_residue[r], rows.features, unit);
}

// GROUP codes from `first` on as [depth][GROUP].
template <class Element>
void pack_group(const Operands& all, const Certificate& c, int64_t first, Element* panel, float* buffer) {
  for (int64_t n = 0; n < GROUP; n += 4)
    pack_four<Element>(all.codes, c.shift, c.kind, first + n, all.num_codes - first - n, panel + n, GROUP, buffer,
                       [](int64_t, const float*) {});
}

// maxima[block][row] = the largest of itself and the block's scores, for the groups first..end-1 and one tile.
//
// Not inlined: with the variables of the caller GCC 12 would spill the sums.
template <class Element, class Score>
__attribute__((noinline)) void tile_maxima(const Element* tile, const Element* panel, int64_t depth,
                                           const Certificate& c, int64_t first, int64_t end, const Score score,
                                           float* maxima) {
  for (int64_t g = first; g < end; ++g) {
    float* const top = maxima + g / c.groups_per_block * ROWS;
    for (int64_t n0 = 0; n0 < GROUP; n0 += COLUMNS) {
      const int64_t code = g * GROUP + n0;
      Floats sums[COLUMNS][2];
#pragma GCC unroll 12
      for (int n = 0; n < COLUMNS; ++n) sums[n][0] = sums[n][1] = broadcast(c.bias[code + n]);
      Fast<Element>::template multiply_block<COLUMNS>(depth, tile, panel + n0, sums);
      score(code, sums);
      Floats top0 = load(top), top1 = load(top + LANES);
#pragma GCC unroll 12
      for (int n = 0; n < COLUMNS; ++n) {
        top0 = larger_of(sums[n][0], top0);
        top1 = larger_of(sums[n][1], top1);
      }
      store(top, top0);
      store(top + LANES, top1);
    }
    panel += larger(depth, 1) * GROUP;
  }
}

}  // namespace
