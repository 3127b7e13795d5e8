// linear_sample: argmax_v (<x, w_v> + b_v) / temperature + gumbel(seed, row, v), one draw from the softmax of the row.
//
// This is the search of affine_argmax.cpp with noise added to the fast scores. Codes that can win are scored again in
// float64 with the noise of the reference, so draws equal those of the reference on every instruction set, except where
// two noisy scores differ by less than a float64 rounding.
#include "affine_search.h"
#include "gumbel.h"

namespace {

struct Draw {
  uint64_t key;
  int64_t num_codes;
  double temperature;
  float of_score, of_noise;  // the larger is 1: noisy = of_score * score + of_noise * noise

  struct Noisy {
    uint64_t start[ROWS];
    float of_score, of_noise;

    inline __attribute__((always_inline)) void operator()(int64_t code, Floats (&sums)[COLUMNS][2]) const {
      Longs rows[4];
      memcpy(rows, start, sizeof rows);
      for (int n = 0; n < COLUMNS; ++n) {
        const uint64_t step = static_cast<uint64_t>(code + n) * GOLDEN;
        for (int j = 0; j < 2; ++j)
          sums[n][j] = sums[n][j] * of_score + fast_gumbel(rows[2 * j] + step, rows[2 * j + 1] + step) * of_noise;
      }
    }
  };

  Noisy scorer(int64_t first_row) const {
    Noisy noisy;
    for (int64_t r = 0; r < ROWS; ++r)
      noisy.start[r] = key + static_cast<uint64_t>(first_row + r) * static_cast<uint64_t>(num_codes) * GOLDEN;
    noisy.of_score = of_score;
    noisy.of_noise = of_noise;
    return noisy;
  }
  void adapt(TileBounds* bounds) const {
    for (int64_t r = 0; r < ROWS; ++r) {
      bounds->scale[r] *= of_score;
      bounds->spread[r] *= of_score;
      bounds->tiny[r] = bounds->tiny[r] * of_score + of_noise * NOISE_ERROR + 0x1p-124f;
    }
  }
  float unit(float unit) const { return unit * of_score; }

  int64_t choose(const Prepared& prepared, const Tile& tile, int64_t r, int64_t row, float* buffer, int64_t*) const {
    const Operands& all = prepared.all;
    const Exact exact(all, all.rows.read(row, buffer), buffer + all.rows.features);
    double best = -INFINITY;
    int64_t found = INT64_MAX;
    const auto visit = [&](int64_t code) {
      double error;
      const double noisy = exact.score(code, &error) / temperature + gumbel(key, row, code, num_codes);
      if (noisy > best || (noisy == best && code < found)) best = noisy, found = code;
    };
    if (tile.bounds->length[r] == INFINITY) {
      for (int64_t code = 0; code < num_codes; ++code) visit(code);
    } else {
      const int64_t size = prepared.table.codes_per_block();
      tile.candidates(r, [&](int64_t block) {
        for (int64_t code = block * size; code < (block + 1) * size; ++code)
          if (prepared.table.bias[code] > -INFINITY) visit(code);
      });
      for (int64_t i = 0; i < prepared.num_always; ++i) visit(prepared.always[i]);
    }
    return found == INT64_MAX ? 0 : found;
  }
};

}  // namespace

GSS_FUNCTION(linear_sample)(const void* x, int64_t num_rows, int64_t outer_stride, int64_t inner, int64_t inner_stride,
                            int64_t feature_stride, const void* codes, int64_t num_codes, int64_t features,
                            int64_t code_stride, int64_t code_feature_stride, const void* bias, int32_t bias_dtype,
                            int64_t bias_stride, int32_t dtype, double temperature, int64_t seed, int32_t threads,
                            int64_t* out) {
  if (num_rows == 0) return OK;
  const Vectors rows = {x, dtype, AS_IS, features, outer_stride, inner, inner_stride, feature_stride};
  const Vectors table = {codes, dtype, AS_IS, features, 0, num_codes, code_stride, code_feature_stride};
  const Operands all = {rows, table, num_rows, num_codes, bias, bias_dtype, bias_stride, false};
  const Draw draw = {noise_key(seed), num_codes, temperature,
                     temperature > 1 ? static_cast<float>(1 / temperature) : 1.0f,
                     temperature > 1 ? 1.0f : static_cast<float>(temperature)};
  const int64_t work = num_rows * num_codes;
  const int workers = worthwhile_threads(threads, work < (int64_t{1} << 40) ? work * (features + 100) : work, 1 << 20);
  return prepare(all, workers, [&](const Prepared& prepared) { return search(prepared, draw, workers, out); });
}
