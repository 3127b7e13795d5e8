// linear_argmax and nearest_code: argmax_v <x, w_v> + b_v, without storing the N x V scores.
#include "affine_search.h"

namespace {

struct Argmax {
  struct Plain {
    inline __attribute__((always_inline)) void operator()(int64_t, Floats (&)[COLUMNS][2]) const {}
  };
  Plain scorer(int64_t) const { return {}; }
  void adapt(TileBounds*) const {}
  float unit(float unit) const { return unit; }

  int64_t choose(const Prepared& prepared, const Tile& tile, int64_t r, int64_t row, float* buffer,
                 int64_t* zero_answer) const {
    const Operands& all = prepared.all;
    const Certificate& table = prepared.table;
    const int64_t features = all.rows.features;
    float* const more = buffer + features;
    if (tile.bounds->length[r] == INFINITY) return first_best_of_all(Exact(all, all.rows.read(row, buffer), more));

    const float* x = shifted(all.rows, row, table.row_shift, buffer);
    const float unit = group_scores_unit(table, features);
    const RowBound bound = row_bound(tile.bounds->length[r], 0, features, unit);
    Survivors survivors;
    tile.candidates(r, [&](int64_t block) {
      const float error = bound.scale * table.length[block] + unit * table.reach[block] + bound.tiny;
      const int64_t first = block * table.codes_per_block();
      for (int64_t code = first; code < first + table.codes_per_block(); code += GROUP) {
        alignas(64) float scores[ACROSS];
        group_scores(all, table, x, code, more, scores);
        for (int64_t n = 0; n < GROUP; ++n)
          if (scores[n] > -INFINITY) survivors.add(code + n, scores[n], error);
      }
    });
    survivors.drop();
    if (survivors.count <= 1 && !survivors.overflow && prepared.num_always == 0)
      return survivors.count ? survivors.codes[0] : 0;

    x = all.rows.read(row, buffer);
    const Exact exact(all, x, more);
    if (!survivors.overflow)
      return first_best(exact, survivors.count, [&](int64_t i) { return survivors.codes[i]; }, prepared.num_always,
                        [&](int64_t i) { return prepared.always[i]; });
    if (exact.length > 0) return first_best_of_all(exact);
    // All rows of zeros have the same answer: for them the score of a code is its bias.
    if (*zero_answer < 0) *zero_answer = first_best_of_all(exact);
    return *zero_answer;
  }
};

}  // namespace

GSS_FUNCTION(affine_argmax)(const void* x, int64_t num_rows, int64_t outer_stride, int64_t inner, int64_t inner_stride,
                            int64_t feature_stride, const void* codes, int64_t num_codes, int64_t features,
                            int64_t code_stride, int64_t code_feature_stride, const void* bias, int32_t bias_dtype,
                            int64_t bias_stride, int32_t nearest, int32_t dtype, int32_t rounding, int32_t threads,
                            int64_t* out) {
  if (num_rows == 0) return OK;
  const Vectors rows = {x, dtype, rounding, features, outer_stride, inner, inner_stride, feature_stride};
  const Vectors table = {codes, dtype, rounding, features, 0, num_codes, code_stride, code_feature_stride};
  const Operands all = {rows, table, num_rows, num_codes, bias, bias_dtype, bias_stride, nearest != 0};
  const int64_t work = num_rows * num_codes;
  const int workers = worthwhile_threads(threads, work < (int64_t{1} << 40) ? work * (features + 8) : work, 1 << 20);
  return prepare(all, workers, [&](const Prepared& prepared) { return search(prepared, Argmax{}, workers, out); });
}
