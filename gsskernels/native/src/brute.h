// The nearest of all colours: pixels across lanes, one colour broadcast at a time.
//
// Distances are clamped to the largest finite number, so that an infinite distance beats NaN, which never wins. The
// loop omits the clamp; pixels for which it matters are recognised by their result and computed again one by one.
#pragma once

#include "distance.h"

namespace {

// The definition, one pixel at a time, for distances that are not finite. Returns whether the winner's distance is
// finite.
inline bool nearest_of_any(float r, float g, float b, const Palette& palette, int32_t* first, int32_t* second) {
  float best = INFINITY, second_best = INFINITY;
  *first = *second = 0;
  for (int32_t k = 0; k < palette.num_classes; ++k) {
    float d = squared_distance(r, g, b, palette.colors + 3 * int64_t{k});
    d = d > FLT_MAX ? FLT_MAX : d;
    if (d < best) {
      second_best = best;
      *second = *first;
      best = d;
      *first = k;
    } else if (d < second_best) {
      second_best = d;
      *second = k;
    }
  }
  return best < FLT_MAX;
}

template <bool MARGIN, int VECTORS>
inline __attribute__((always_inline)) void brute_block(const Palette& palette, const Pixels& pixels, int64_t i,
                                                       Found& found) {
  Floats r[VECTORS], g[VECTORS], b[VECTORS];
  Ranking<MARGIN> ranking[VECTORS];
  for (int v = 0; v < VECTORS; ++v) {
    r[v] = load(pixels.color[0] + i + v * LANES);
    g[v] = load(pixels.color[1] + i + v * LANES);
    b[v] = load(pixels.color[2] + i + v * LANES);
  }
  const float* p = palette.colors;
  for (int32_t k = 0; k < palette.num_classes; ++k, p += 3) {
#pragma GCC unroll 4
    for (int v = 0; v < VECTORS; ++v)
      ranking[v].consider(squared_distance(r[v], g[v], b[v], p[0], p[1], p[2]), broadcast(k));
  }
  for (int v = 0; v < VECTORS; ++v) {
    const int64_t at = i + v * LANES;
    Ints first = ranking[v].first, second = ranking[v].second, infinite = {};
    const Ints unusual = ~((MARGIN ? ranking[v].second_best : ranking[v].best) < broadcast(FLT_MAX));
    if (__builtin_expect(any(unusual), 0))
      for (int lane = 0; lane < LANES; ++lane) {
        if (!unusual[lane]) continue;
        int32_t one, two;
        infinite[lane] = nearest_of_any(r[v][lane], g[v][lane], b[v][lane], palette, &one, &two) ? 0 : -1;
        first[lane] = one;
        second[lane] = two;
      }
    store(found.label + at, first);
    if (MARGIN) {
      const Floats margin = wall_distance(pixels, at, palette, first, second);
      store(found.margin + at, infinite ? Floats{} : margin);
    }
  }
}

template <bool MARGIN>
void nearest_of_all(const Palette& palette, const Pixels& pixels, int64_t count, Found& found) {
  constexpr int VECTORS = MARGIN || LANES < 16 ? 2 : 4;
  int64_t i = 0;
  for (; i + VECTORS * LANES <= count; i += VECTORS * LANES) brute_block<MARGIN, VECTORS>(palette, pixels, i, found);
  for (; i < count; i += LANES) brute_block<MARGIN, 1>(palette, pixels, i, found);
}

}  // namespace
