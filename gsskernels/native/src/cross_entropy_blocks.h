// One block of codes for a tile of rows: logits, their softmax, and the gradient of the logits.
#pragma once

#include "abi.h"
#include "cross_entropy_pack.h"
#include "exponential.h"

namespace {

constexpr int64_t BLOCK = 384;               // codes of a block: 48 KB of logits a tile
constexpr int64_t DEPTH = 128;               // features summed in registers; long sums would lose precision

enum Reduction : int32_t { NONE = 0, SUM = 1, MEAN = 2 };

struct Problem {
  Rows x;
  Matrix weight;
  const float* bias;  // (V,) or null
  int64_t features, codes;
  double smoothing;
  const float* upstream;  // gradient of the loss, or null for 1
  int64_t upstream_step;
  double factor;  // 1 / rows for the mean
  float *loss, *lse, *x_gradient, *weight_gradient, *bias_gradient;
  int64_t x_gradient_inner;

  bool gradients() const { return x_gradient || weight_gradient || bias_gradient; }
  bool code_gradients() const { return weight_gradient || bias_gradient; }
};

// Running softmax of one tile, a lane a row.
struct Softmax {
  alignas(64) float maximum[ROWS], sum[ROWS], below[ROWS], target[ROWS];  // below = sum of maximum - logit
};

inline int64_t round_up(int64_t a, int64_t b) { return ceil_div(a, b) * b; }

// scores[v][row] = <x_row, w_v> + b_v for a block of `codes` codes of one group of tiles.
inline void block_logits(const Problem& p, const float* across, int64_t tiles, int64_t first, int64_t codes,
                         float* scores, int64_t step, float* panel) {
  const int64_t parts = larger(1, ceil_div(p.features, DEPTH)), depth = ceil_div(p.features, parts);
  for (int64_t c = 0; c == 0 || c < p.features; c += larger(depth, 1)) {
    const int64_t width = smaller(depth, p.features - c), panel_step = width + 16;
    const bool last = c + width >= p.features;
    for (int64_t v = 0; v < codes; v += COLUMNS) {
      pack_codes(p.weight, first + v, codes - v, c, width, panel, panel_step);
      float bias[COLUMNS] = {};
      if (last && p.bias) memcpy(bias, p.bias + first + v, static_cast<size_t>(smaller(COLUMNS, codes - v)) * sizeof(float));
      for (int64_t t = 0; t < tiles; ++t) {
        Floats sums[COLUMNS][2] = {};
        multiply<COLUMNS>(width, across + (t * p.features + c) * ROWS, ROWS, panel, 1, panel_step, sums);
        float* out = scores + t * step + v * ROWS;
#pragma GCC unroll 12
        for (int n = 0; n < COLUMNS; ++n, out += ROWS) {
          if (c > 0) {
            sums[n][0] += load(out);
            sums[n][1] += load(out + LANES);
          }
          store(out, sums[n][0] + bias[n]);
          store(out + LANES, sums[n][1] + bias[n]);
        }
      }
    }
  }
}

// Turns a block of logits of one tile into exp(logit - shift) and adds it to the softmax; shift is the maximum so far.
inline void block_softmax(float* scores, int64_t first, int64_t codes, const int64_t* targets, int64_t rows,
                          bool smoothing, Softmax& s, float* shifts) {
  for (int64_t r = 0; r < rows; ++r)
    if (targets[r] >= first && targets[r] < first + codes) s.target[r] = scores[(targets[r] - first) * ROWS + r];
  for (int half = 0; half < ROWS; half += LANES) {
    const Floats before = load(s.maximum + half), infinite = broadcast(-INFINITY);
    Floats maximum = before;
    for (int64_t v = 0; v < codes; ++v) maximum = larger_of(load(scores + v * ROWS + half), maximum);
    // While every logit is -inf the shift is 0, or the difference would be NaN.
    const Floats shift = maximum > infinite ? maximum : Floats{};
    Floats sum = load(s.sum + half) * exponential(before - shift);
    Floats below = load(s.below + half);
    if (smoothing && first > 0) below += (shift - before) * static_cast<float>(first);
    for (int64_t start = 0; start < codes; start += 64) {  // short sums, then their sum: less rounding
      const int64_t end = smaller(start + 64, codes);
      Floats part{}, part_below{};
      for (int64_t v = start; v < end; ++v) {
        float* score = scores + v * ROWS + half;
        const Floats difference = load(score) - shift;
        const Floats e = exponential(difference);
        store(score, e);
        part += e;
        part_below -= difference;
      }
      sum += part;
      below += part_below;
    }
    store(s.maximum + half, maximum);
    store(s.sum + half, sum);
    store(s.below + half, below);
    store(shifts + half, shift);
  }
}

// Loss and log-sum-exp of the rows of a tile, and the factors of the gradients of their losses.
inline void finish_tile(const Problem& p, const int64_t* rows, int64_t count, const Softmax& s, float* row_loss,
                        float* scale) {
  memset(scale, 0, ROWS * sizeof(float));
  for (int64_t r = 0; r < count; ++r) {
    const double log_sum = logf(s.sum[r]), maximum = s.maximum[r];
    double loss = maximum - s.target[r] + log_sum;
    if (p.smoothing > 0) {
      const double uniform = (s.below[r] + static_cast<double>(p.codes) * log_sum) * (p.smoothing / static_cast<double>(p.codes));
      loss = (1 - p.smoothing) * loss + uniform;
    }
    row_loss[r] = static_cast<float>(loss);
    if (p.lse) p.lse[rows[r]] = static_cast<float>(maximum + log_sum);
    scale[r] = static_cast<float>(p.factor * (p.upstream ? p.upstream[rows[r] * p.upstream_step] : 1));
  }
}

// Turns exp(logit - shift) of a block of codes into G.
inline void block_gradient(const Problem& p, float* scores, int64_t first, int64_t codes, const int64_t* targets,
                           int64_t rows, const Softmax& s, const float* scale, const float* shifts) {
  const Floats smoothing = broadcast(static_cast<float>(p.smoothing / static_cast<double>(p.codes)));
  for (int half = 0; half < ROWS; half += LANES) {
    const Floats maximum = load(s.maximum + half), shift = load(shifts + half), weight = load(scale + half);
    const Floats last = maximum > broadcast(-INFINITY) ? maximum : Floats{};
    const Floats factor = exponential(shift - last) / load(s.sum + half) * weight, uniform = smoothing * weight;
    for (int64_t v = 0; v < codes; ++v) {
      float* score = scores + v * ROWS + half;
      store(score, load(score) * factor - uniform);
    }
  }
  for (int64_t r = 0; r < rows; ++r)
    if (targets[r] >= first && targets[r] < first + codes) {
      // (1 - s) scale, so rounded that a softmax of 1 over one code leaves exactly 0.
      const float uniform = smoothing[0] * scale[r];
      scores[(targets[r] - first) * ROWS + r] -= scale[r] - static_cast<float>(p.codes) * uniform;
    }
  // Lanes without a row are set to zero; infinite weights would leave NaN in them.
  for (int64_t r = rows; r < ROWS; ++r)
    for (int64_t v = 0; v < codes; ++v) scores[v * ROWS + r] = 0;
}

}  // namespace
