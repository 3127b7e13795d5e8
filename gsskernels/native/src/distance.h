// Distances between pixels and colours, in exactly the documented order of float32 operations.
#pragma once

#include <float.h>
#include <math.h>

#include "cells.h"
#include "lanes.h"
#include "rows.h"

namespace {

struct Palette {
  const float* colors;  // (K, 3)
  int32_t num_classes;
  const Cells* cells;  // null: brute force. Of order 2 if margins are asked for.
};

// The result for up to SEGMENT pixels.
struct Found {
  alignas(64) int32_t label[SEGMENT + LANES];
  alignas(64) float margin[SEGMENT + LANES];
};

inline float squared_distance(float r, float g, float b, const float* p) {
  const float x = r - p[0], y = g - p[1], z = b - p[2];
  return x * x + y * y + z * z;
}

inline Floats squared_distance(Floats r, Floats g, Floats b, float pr, float pg, float pb) {
  const Floats x = r - pr, y = g - pg, z = b - pb;
  return x * x + y * y + z * z;
}

inline Floats gather(const float* base, Ints index) {
#if defined(__AVX512F__)
  return (Floats)_mm512_mask_i32gather_ps(_mm512_setzero_ps(), ALL_LANES, (__m512i)index, base, 4);
#elif defined(__AVX2__)
  return (Floats)_mm256_i32gather_ps(base, (__m256i)index, 4);
#else
  Floats v;
  for (int i = 0; i < LANES; ++i) v[i] = base[index[i]];
  return v;
#endif
}

inline Floats square_root(Floats x) {
#if defined(__AVX512F__)
  return (Floats)_mm512_maskz_sqrt_ps(ALL_LANES, (__m512)x);
#elif defined(__AVX2__)
  return (Floats)_mm256_sqrt_ps((__m256)x);
#elif defined(__SSE2__)
  return (Floats)_mm_sqrt_ps((__m128)x);
#else
  for (int i = 0; i < LANES; ++i) x[i] = sqrtf(x[i]);
  return x;
#endif
}

// Distance from the plane halfway between the nearest colour p and the next one q; 0 where they coincide.
inline Floats wall_distance(const Floats (&x)[3], const Floats (&p)[3], const Floats (&q)[3]) {
  Floats along = {}, length = {};
  for (int c = 0; c < 3; ++c) {
    along += (p[c] - q[c]) * (x[c] - (p[c] + q[c]) * 0.5f);
    length += (p[c] - q[c]) * (p[c] - q[c]);
  }
  const Floats distance = length > Floats{} ? along / square_root(length) : Floats{};
  return distance < Floats{} ? Floats{} : distance;
}

inline Floats wall_distance(const Pixels& pixels, int64_t i, const Palette& palette, Ints first, Ints second) {
  Floats x[3], p[3], q[3];
  for (int c = 0; c < 3; ++c) {
    x[c] = load(pixels.color[c] + i);
    p[c] = gather(palette.colors + c, first * 3);
    q[c] = gather(palette.colors + c, second * 3);
  }
  return wall_distance(x, p, q);
}

// The nearest and the second nearest class so far, one pixel per lane. Candidates come in ascending class order.
template <bool MARGIN>
struct Ranking {
  Floats best = broadcast(INFINITY), second_best = broadcast(INFINITY);
  Ints first = {}, second = {};

  void consider(Floats d, Ints label) {
    const Ints wins = d < best;
    if (MARGIN) {
      const Ints runs_up = d < second_best;
      second = wins ? first : runs_up ? label : second;
      second_best = wins ? best : runs_up ? d : second_best;
    }
    first = wins ? label : first;
    best = wins ? d : best;
  }
};

}  // namespace
