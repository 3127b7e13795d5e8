// The second pass scores the few codes that can still win in float32 with a tighter bound, and then in float64 by the
// rule of gsskernels/reference/codebook.py: the lowest index whose score plus its rounding error reaches the best
// score.
#pragma once

#include "certificate.h"

namespace {

typedef float HalfFloats __attribute__((vector_size(GSS_VECTOR_BYTES / 2)));

// <x, w> and |w|^2 in float64, products exact.
inline void dot_in_double(const float* x, const float* w, int64_t count, double* dot, double* squared) {
  constexpr int WIDTH = LANES / 2;
  Doubles d0{}, d1{}, s0{}, s1{};
  int64_t i = 0;
  for (; i + LANES <= count; i += LANES) {
    HalfFloats x0, x1, w0, w1;
    memcpy(&x0, x + i, sizeof x0);
    memcpy(&x1, x + i + WIDTH, sizeof x1);
    memcpy(&w0, w + i, sizeof w0);
    memcpy(&w1, w + i + WIDTH, sizeof w1);
    const Doubles a0 = __builtin_convertvector(x0, Doubles), a1 = __builtin_convertvector(x1, Doubles);
    const Doubles b0 = __builtin_convertvector(w0, Doubles), b1 = __builtin_convertvector(w1, Doubles);
    d0 += a0 * b0;
    d1 += a1 * b1;
    s0 += b0 * b0;
    s1 += b1 * b1;
  }
  d0 += d1;
  s0 += s1;
  double d = 0, s = 0;
  for (int k = 0; k < WIDTH; ++k) d += d0[k], s += s0[k];
  for (; i < count; ++i) {
    const double wide = w[i];
    d += x[i] * wide;
    s += wide * wide;
  }
  *dot = d;
  *squared = s;
}

// Scores of one row in float64, with the rounding error that the reference allows.
struct Exact {
  const Operands* all;
  const float* x;
  double length;  // |x|, 0 if it is not finite
  float* buffer;  // D floats

  Exact(const Operands& all, const float* x, float* buffer) : all(&all), x(x), buffer(buffer) {
    const double root = sqrt(squared_length_in_double(x, all.rows.features, nullptr));
    length = isfinite(root) ? root : 0;
  }
  double score(int64_t code, double* error) const {
    const int64_t features = all->codes.features;
    double dot, squared;
    dot_in_double(x, all->codes.read(code, buffer), features, &dot, &squared);
    const double bias = all->nearest ? -0.5 * squared : all->bias_of(code), root = sqrt(squared);
    const double rounding = 4 * static_cast<double>(features + 2) * 0x1p-52;
    *error = rounding * ((isfinite(bias) ? fabs(bias) : 0) + length * (isfinite(root) ? root : 0));
    return bias + dot;
  }
};

// The first of `count` ascending codes, and of `others`, that can reach the best score; 0 if all scores are NaN.
template <class Code, class OtherCode>
int64_t first_best(const Exact& exact, int64_t count, Code code, int64_t others, OtherCode other) {
  double best = -INFINITY, error;
  for (int64_t i = 0; i < count; ++i) {
    const double score = exact.score(code(i), &error);
    if (score > best) best = score;
  }
  for (int64_t i = 0; i < others; ++i) {
    const double score = exact.score(other(i), &error);
    if (score > best) best = score;
  }
  int64_t found = INT64_MAX;
  for (int64_t i = 0; i < count && found == INT64_MAX; ++i)
    if (exact.score(code(i), &error) + error >= best) found = code(i);
  for (int64_t i = 0; i < others && other(i) < found; ++i)
    if (exact.score(other(i), &error) + error >= best) found = other(i);
  return found == INT64_MAX ? 0 : found;
}

inline int64_t first_best_of_all(const Exact& exact) {
  return first_best(exact, exact.all->num_codes, [](int64_t i) { return i; }, 0, [](int64_t i) { return i; });
}

// <x, w> for four codes at a time in float32, features across lanes: D / LANES + 8 roundings each.
inline void four_dots(const float* x, const float* const (&w)[4], int64_t count, float* out) {
  Floats sums[4] = {};
  int64_t i = 0;
  for (; i + LANES <= count; i += LANES) {
    const Floats v = load(x + i);
#pragma GCC unroll 4
    for (int n = 0; n < 4; ++n) sums[n] = fused(v, load(w[n] + i), sums[n]);
  }
  for (int n = 0; n < 4; ++n) {
    float rest = sum_of(sums[n]);
    for (int64_t k = i; k < count; ++k) rest += x[k] * w[n][k];
    out[n] = rest;
  }
}

inline float group_scores_unit(const Certificate& c, int64_t features) {
  return rounding_unit(c.across ? features + 12 : features / LANES + 2 * LANES + 12, 0x1p-24f);
}

// Scores of the GROUP codes from `first` on. `x` is shifted like the table; `buffer` holds 4 D floats.
inline void group_scores(const Operands& all, const Certificate& c, const float* x, int64_t first, float* buffer,
                         float* scores) {
  const int64_t features = all.codes.features;
  if (c.across) {
    const float* w = c.across + first / GROUP * features * ACROSS;
    Floats sums[ACROSS / LANES];
    for (int j = 0; j < ACROSS / LANES; ++j) sums[j] = load(c.bias + first + j * LANES);  // past the group: not read
    for (int64_t d = 0; d < features; ++d)
      for (int j = 0; j < ACROSS / LANES; ++j)
        sums[j] = fused(broadcast(x[d]), load(w + d * ACROSS + j * LANES), sums[j]);
    for (int j = 0; j < ACROSS / LANES; ++j) store(scores + j * LANES, sums[j]);
    return;
  }
  for (int64_t n0 = 0; n0 < GROUP; n0 += 4) {
    const float* w[4];
    for (int64_t n = 0; n < 4; ++n)
      w[n] = shifted(all.codes, smaller(first + n0 + n, all.num_codes - 1), c.shift, buffer + n * features);
    four_dots(x, w, features, scores + n0);
    for (int64_t n = n0; n < n0 + 4; ++n)
      scores[n] = c.bias[first + n] == -INFINITY ? -INFINITY : scores[n] + c.bias[first + n];
  }
}

// Codes whose float32 score can still be the best, in ascending order.
struct Survivors {
  static constexpr int CAPACITY = 256;
  int count = 0;
  bool overflow = false;
  float best = -INFINITY;
  int64_t codes[CAPACITY];
  float highest[CAPACITY];  // score + error

  void drop() {
    int kept = 0;
    for (int i = 0; i < count; ++i)
      if (highest[i] >= best) codes[kept] = codes[i], highest[kept++] = highest[i];
    count = kept;
  }
  void add(int64_t code, float score, float error) {
    if (!(score + error >= best)) return;
    if (score - error > best) best = score - error;
    if (count == CAPACITY) drop();
    if (count == CAPACITY) {
      overflow = true;
      return;
    }
    codes[count] = code;
    highest[count++] = score + error;
  }
};

}  // namespace
