// The nearest of a list of candidates, with four colours across lanes; with AVX-512, four pixels with a list each.
#pragma once

#include "distance.h"

namespace {

struct Candidates {
  const Block* begin;
  int64_t count;
};

// The list of a word that is neither a class nor OUTSIDE.
inline Candidates candidates_of(const Cells& cells, int32_t word) {
  const int32_t list = word - cells.pure;
  if (list < cells.short_lists) return {cells.blocks + list, 1};
  const int32_t* at = cells.long_begin + (list - cells.short_lists);
  return {cells.blocks + at[0], at[1] - at[0]};
}

inline Four distances_to(const Block& block, float r, float g, float b) {
  Four p[3];
  memcpy(p, block.color, sizeof p);
  const Four x = r - p[0], y = g - p[1], z = b - p[2];
  return x * x + y * y + z * z;
}

// The smallest of four and the first position that holds it.
inline float least_of(Four d, int* place) {
#if defined(__SSE2__)
  const __m128 v = (__m128)d;
  __m128 m = _mm_min_ps(v, _mm_shuffle_ps(v, v, _MM_SHUFFLE(1, 0, 3, 2)));
  m = _mm_min_ps(m, _mm_shuffle_ps(m, m, _MM_SHUFFLE(2, 3, 0, 1)));
  *place = __builtin_ctz(static_cast<unsigned>(_mm_movemask_ps(_mm_cmpeq_ps(v, m))) | 8u);
  return _mm_cvtss_f32(m);
#else
  int least = 0;
  for (int i = 1; i < 4; ++i) least = d[i] < d[least] ? i : least;
  *place = least;
  return d[least];
#endif
}

inline int32_t nearest_candidate(Candidates list, float r, float g, float b) {
  int place;
  float best = least_of(distances_to(*list.begin, r, g, b), &place);
  int32_t label = list.begin->label[place];
  for (int64_t n = 1; n < list.count; ++n) {
    const float d = least_of(distances_to(list.begin[n], r, g, b), &place);
    if (d < best) {
      best = d;
      label = list.begin[n].label[place];
    }
  }
  return label;
}

inline void two_nearest_candidates(Candidates list, float r, float g, float b, int32_t* first, int32_t* second) {
  float best = INFINITY, second_best = INFINITY;
  int32_t one = 0, two = 0;
  for (const Block* block = list.begin; block < list.begin + list.count; ++block) {
    const Four d = distances_to(*block, r, g, b);
    for (int i = 0; i < 4; ++i) {
      const bool wins = d[i] < best, runs_up = d[i] < second_best;
      two = wins ? one : runs_up ? block->label[i] : two;
      second_best = wins ? best : runs_up ? d[i] : second_best;
      one = wins ? block->label[i] : one;
      best = wins ? d[i] : best;
    }
  }
  *first = one;
  *second = two;
}

#if defined(__AVX512F__)

inline __m512 side_by_side(const float* a, const float* b, const float* c, const float* d) {
  const __m256 ab = _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_load_ps(a)), _mm_load_ps(b), 1);
  const __m256 cd = _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_load_ps(c)), _mm_load_ps(d), 1);
  return _mm512_insertf32x8(_mm512_castps256_ps512(ab), cd, 1);
}

// In every group of four bits, the lowest that is set.
inline __mmask16 lowest_of_four(unsigned m) {
  return static_cast<__mmask16>(m & ~((m & 0x7777u) << 1 | (m & 0x3333u) << 2 | (m & 0x1111u) << 3));
}

// Four pixels, each against its own block: colours and labels of the blocks, distances, positions of the smallest.
struct FourPixels {
  __m512 color[3], distance;
  __m512i label;
  __mmask16 first, second;

  template <bool MARGIN>
  inline __attribute__((always_inline)) void rank(const Block* const (&block)[4], const float* const (&pixel)[3]) {
    const __m512i repeat = _mm512_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3);
    for (int c = 0; c < 3; ++c) {
      color[c] = side_by_side(block[0]->color[c], block[1]->color[c], block[2]->color[c], block[3]->color[c]);
      const __m512 four = _mm512_castps128_ps512(_mm_loadu_ps(pixel[c]));
      const __m512 gap = _mm512_sub_ps(_mm512_maskz_permutexvar_ps(ALL_LANES, repeat, four), color[c]);
      const __m512 square = _mm512_mul_ps(gap, gap);
      distance = c == 0 ? square : _mm512_add_ps(distance, square);
    }
    const auto of = [&](int n) { return reinterpret_cast<const float*>(block[n]->label); };
    label = _mm512_castps_si512(side_by_side(of(0), of(1), of(2), of(3)));
    // Smallest: of each pair, then of both. Second smallest: the smaller of the pairs' larger values, or the larger of
    // the pairs' smaller values.
    constexpr int NEIGHBOUR = 0xB1, OTHER_PAIR = 0x4E;
    const __m512 swapped = _mm512_maskz_permute_ps(ALL_LANES, distance, NEIGHBOUR);
    const __m512 low = _mm512_maskz_min_ps(ALL_LANES, distance, swapped);
    const __m512 other_low = _mm512_maskz_permute_ps(ALL_LANES, low, OTHER_PAIR);
    const __m512 least = _mm512_maskz_min_ps(ALL_LANES, low, other_low);
    first = lowest_of_four(_mm512_cmp_ps_mask(distance, least, _CMP_EQ_OQ));
    if (!MARGIN) return;
    const __m512 high = _mm512_maskz_max_ps(ALL_LANES, distance, swapped);
    const __m512 other_high = _mm512_maskz_permute_ps(ALL_LANES, high, OTHER_PAIR);
    const __m512 next = _mm512_maskz_min_ps(ALL_LANES, _mm512_maskz_max_ps(ALL_LANES, low, other_low),
                                            _mm512_maskz_min_ps(ALL_LANES, high, other_high));
    second = lowest_of_four(_mm512_cmp_ps_mask(distance, next, _CMP_EQ_OQ) & ~static_cast<unsigned>(first));
  }
};

// The four elements at a mask of FourPixels.
inline void take(__mmask16 where, __m512 from, float* out) {
  _mm_storeu_ps(out, _mm512_maskz_extractf32x4_ps(0xF, _mm512_maskz_compress_ps(where, from), 0));
}
inline void take(__mmask16 where, __m512i from, int32_t* out) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(out),
                   _mm512_maskz_extracti32x4_epi32(0xF, _mm512_maskz_compress_epi32(where, from), 0));
}

#endif

}  // namespace
