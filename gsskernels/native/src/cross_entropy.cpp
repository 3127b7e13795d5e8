// Cross-entropy of a linear layer and its gradients, without the N x V logits.
//
//   logit_nv = <x_n, w_v> + b_v      lse_n = log sum_v exp logit_nv      q_n = (1 - s) onehot(target_n) + s / V
//   loss_n = sum_v q_nv (lse_n - logit_nv)
//   G_nv = scale_n (softmax_nv - q_nv)      dx = G w      dw = G^T x      db = sum_n G_n
//
// The forward pass of a scalar loss also computes all gradients, in three products; the logits of a row are replaced
// with its row of G in place. Rows that are not ignored are taken in chunks:
//   1. in tasks of up to TILES tiles of ROWS rows (rows across lanes): logits by blocks of codes, each block turned into
//      exp(logit - maximum so far) while it is in the cache; once the sums are known, G, and with it dx;
//   2. if dw or db is wanted, in tasks of codes: dw and db of the chunk are added to those of earlier chunks.
// Every number is summed in an order that depends on the shapes alone, so the result does not depend on threads.
#include "cross_entropy_blocks.h"

namespace {

constexpr int64_t TILES = 4;               // tiles of rows that share a panel of codes: it is read from L1 TILES - 1 times
constexpr int64_t CHUNK_BYTES = 16 << 20;  // G of a chunk
constexpr int64_t SEGMENT = 512 / ROWS;    // tiles of rows that dw sums in registers

struct Chunk {
  int64_t *rows, *targets;  // of those not ignored
  float* row_loss;
  float* scores;  // G, tile after tile, [v][row]; null if every task has its own
  float* along;   // x for dw: [c / ROWS][row][c % ROWS]
  int64_t count, tiles, tile_step, along_step;
};

inline int64_t tile_step(int64_t codes) {
  const int64_t step = round_up(codes, COLUMNS) * ROWS;
  // Tiles a power of two apart would compete for the same few sets of a cache.
  return codes < 256 ? step : step + 16 * ((8 - step / 16 % 64 + 64) % 64);
}

// Scratch of one task: floats.
struct Layout {
  int64_t across, panel, gradient, shifts, scores, total;

  Layout(const Problem& p, int64_t tiles, bool own_scores) {
    int64_t at = 0;
    auto take = [&](int64_t count) { const int64_t start = at; at += round_up(count, 16); return start; };
    across = take(tiles * p.features * ROWS);
    panel = take(COLUMNS * larger(smaller(p.features, DEPTH) + 16, smaller(p.codes, BLOCK)));
    gradient = take(p.x_gradient ? tiles * round_up(p.features, ROWS) * ROWS : 0);
    shifts = take(ceil_div(p.codes, BLOCK) * tiles * ROWS);
    scores = take(!own_scores ? 0 : tiles * (p.gradients() ? tile_step(p.codes) : round_up(smaller(p.codes, BLOCK), COLUMNS) * ROWS));
    total = at;
  }
};

// Computes everything except dw and db for the tiles first_tile .. first_tile + tiles - 1 of a chunk.
inline void group_of_rows(const Problem& p, const Chunk& chunk, int64_t first_tile, int64_t tiles, const Layout& at,
                          float* scratch) {
  float *const across = scratch + at.across, *const panel = scratch + at.panel, *const shifts = scratch + at.shifts;
  float *const gradient = scratch + at.gradient;
  float* const scores = chunk.scores ? chunk.scores + first_tile * chunk.tile_step : scratch + at.scores;
  const bool keeps = p.gradients();
  const int64_t step = keeps ? chunk.tile_step : round_up(smaller(p.codes, BLOCK), COLUMNS) * ROWS;
  const int64_t first_row = first_tile * ROWS;
  const int64_t* const rows = chunk.rows + first_row;
  const int64_t* const targets = chunk.targets + first_row;
  auto rows_of = [&](int64_t t) { return smaller(ROWS, chunk.count - first_row - t * ROWS); };

  Softmax softmax[TILES];
  alignas(64) float scale[TILES][ROWS];
  for (int64_t t = 0; t < tiles; ++t) {
    float* along = chunk.along ? chunk.along + (first_tile + t) * ROWS * ROWS : nullptr;
    pack_rows(p.x, rows + t * ROWS, rows_of(t), p.features, across + t * p.features * ROWS, along, chunk.along_step);
    Softmax& s = softmax[t];
    for (int r = 0; r < ROWS; ++r) s.maximum[r] = -INFINITY, s.sum[r] = s.below[r] = s.target[r] = 0;
  }
  for (int64_t v = 0; v < p.codes; v += BLOCK) {
    const int64_t codes = smaller(BLOCK, p.codes - v);
    float* const block = scores + (keeps ? v * ROWS : 0);
    block_logits(p, across, tiles, v, codes, block, step, panel);
    for (int64_t t = 0; t < tiles; ++t)
      block_softmax(block + t * step, v, codes, targets + t * ROWS, rows_of(t), p.smoothing > 0, softmax[t],
                    shifts + (v / BLOCK * tiles + t) * ROWS);
  }
  for (int64_t t = 0; t < tiles; ++t)
    finish_tile(p, rows + t * ROWS, rows_of(t), softmax[t], chunk.row_loss + first_row + t * ROWS, scale[t]);
  if (!keeps) return;

  const int64_t gradient_step = round_up(p.features, ROWS) * ROWS;
  if (p.x_gradient) memset(gradient, 0, static_cast<size_t>(tiles * gradient_step) * sizeof(float));
  for (int64_t v = 0; v < p.codes; v += BLOCK) {
    const int64_t codes = smaller(BLOCK, p.codes - v);
    for (int64_t t = 0; t < tiles; ++t)
      block_gradient(p, scores + t * step + v * ROWS, v, codes, targets + t * ROWS, rows_of(t), softmax[t], scale[t],
                     shifts + (v / BLOCK * tiles + t) * ROWS);
    if (!p.x_gradient) continue;
    for (int64_t c = 0; c < p.features; c += COLUMNS) {
      pack_features(p.weight, v, codes, c, p.features - c, panel);
      const int64_t width = smaller(COLUMNS, p.features - c);
      for (int64_t t = 0; t < tiles; ++t) {
        Floats sums[COLUMNS][2] = {};
        multiply<COLUMNS>(codes, scores + t * step + v * ROWS, ROWS, panel, COLUMNS, 1, sums);
        float* out = gradient + t * gradient_step + c * ROWS;
        for (int64_t n = 0; n < width; ++n, out += ROWS) {
          store(out, load(out) + sums[n][0]);
          store(out + LANES, load(out + LANES) + sums[n][1]);
        }
      }
    }
  }
  if (p.x_gradient)
    for (int64_t t = 0; t < tiles; ++t)
      unpack_rows(gradient + t * gradient_step, rows + t * ROWS, rows_of(t), p.features, p.x_gradient,
                  p.x_gradient_inner);
}

// dw and db of codes first .. first + codes - 1, of one chunk.
inline void group_of_codes(const Problem& p, const Chunk& chunk, bool first_chunk, int64_t first, int64_t codes) {
  for (int64_t tile = 0; tile < chunk.tiles; tile += SEGMENT) {
    const int64_t tiles = smaller(SEGMENT, chunk.tiles - tile);
    const float* const scores = chunk.scores + tile * chunk.tile_step;
    const bool starts = first_chunk && tile == 0;
    if (p.bias_gradient)
      for (int64_t v = first; v < first + codes; ++v) {
        Floats sum{};
        for (int64_t t = 0; t < tiles; ++t) {
          const float* score = scores + t * chunk.tile_step + v * ROWS;
          sum += load(score) + load(score + LANES);
        }
        float total = 0;
        for (int i = 0; i < LANES; ++i) total += sum[i];
        p.bias_gradient[v] = starts ? total : p.bias_gradient[v] + total;
      }
    if (!p.weight_gradient) continue;
    for (int64_t c = 0; c < p.features; c += ROWS) {
      const int64_t width = smaller(ROWS, p.features - c);
      const float* const along = chunk.along + c / ROWS * chunk.along_step + tile * ROWS * ROWS;
      for (int64_t v = first; v < first + codes; v += COLUMNS) {
        Floats sums[COLUMNS][2] = {};
        for (int64_t t = 0; t < tiles; ++t)
          multiply<COLUMNS>(ROWS, along + t * ROWS * ROWS, ROWS, scores + t * chunk.tile_step + v * ROWS, 1, ROWS, sums);
        const int64_t end = smaller(COLUMNS, first + codes - v);
        for (int64_t n = 0; n < end; ++n) {
          float* out = p.weight_gradient + (v + n) * p.features + c;
          alignas(64) float edge[ROWS] = {};
          if (width < ROWS && !starts) memcpy(edge, out, static_cast<size_t>(width) * sizeof(float));
          float* const place = width < ROWS ? edge : out;
          store(place, starts ? sums[n][0] : sums[n][0] + load(place));
          store(place + LANES, starts ? sums[n][1] : sums[n][1] + load(place + LANES));
          if (width < ROWS) memcpy(out, edge, static_cast<size_t>(width) * sizeof(float));
        }
      }
    }
  }
}

inline int64_t target_at(const void* targets, int32_t dtype, int64_t i) {
  switch (dtype) {
    case U8: return static_cast<const uint8_t*>(targets)[i];
    case I8: return static_cast<const int8_t*>(targets)[i];
    case I16: return static_cast<const int16_t*>(targets)[i];
    case I32: return static_cast<const int32_t*>(targets)[i];
    default: return static_cast<const int64_t*>(targets)[i];
  }
}

// Rows of a chunk: as many as keep G and x within their limit of memory, whatever the number of threads.
inline int64_t chunk_rows(const Problem& p, int64_t rows) {
  const int64_t tiles = p.code_gradients()
                            ? smaller(CHUNK_BYTES / 4 / tile_step(p.codes), CHUNK_BYTES / 8 / (ROWS * (p.features + 1)))
                            : 4096 / ROWS;
  return smaller(round_up(rows, ROWS), ROWS * larger(larger(tiles, 64 / ROWS), TILES));
}

}  // namespace

// x: rows in two nested loops (see Rows). loss: null, a scalar (SUM, MEAN), or (rows,) (NONE). upstream: null or the
// gradient of the loss, (rows,) with step 1 or a scalar with step 0. lse and every gradient: null where not wanted.
// x_gradient is contiguous with the features before its last `x_gradient_inner` rows. If a target is out of bounds,
// *found becomes 1, *out_of_bounds the target, and nothing is computed.
GSS_FUNCTION(linear_cross_entropy)
(const void* x, int32_t dtype, int64_t rows, int64_t features, int64_t codes, int64_t x_inner, int64_t x_outer_step,
 int64_t x_inner_step, int64_t x_column_step, const void* weight, int64_t weight_row_step, int64_t weight_column_step,
 const void* bias, int32_t bias_dtype, int64_t bias_step, const void* targets, int32_t target_dtype,
 int64_t ignore_index, double smoothing, int32_t reduction, const float* upstream, int64_t upstream_step, float* loss,
 float* lse, float* x_gradient, int64_t x_gradient_inner, float* weight_gradient, float* bias_gradient,
 int64_t* out_of_bounds, int64_t threads_allowed) {
  int64_t counted = 0;
  for (int64_t i = 0; i < rows; ++i) {
    const int64_t target = target_at(targets, target_dtype, i);
    if (target == ignore_index) continue;
    if (target < 0 || target >= codes) {
      out_of_bounds[0] = 1, out_of_bounds[1] = target;
      return OK;
    }
    ++counted;
  }

  Scratch<float> bias_floats(bias ? codes : 0);
  if (!bias_floats.data) return OUT_OF_MEMORY;
  if (bias) read_floats(bias, bias_dtype, bias_step, codes, bias_floats.data);
  const Problem p{{x, dtype, larger(x_inner, 1), x_outer_step, x_inner_step, x_column_step},
                  {weight, dtype, weight_row_step, weight_column_step},
                  bias ? bias_floats.data : nullptr, features, codes, smoothing, upstream, upstream_step,
                  reduction == MEAN ? 1.0 / static_cast<double>(counted) : 1.0,
                  loss, lse, x_gradient, weight_gradient, bias_gradient, larger(x_gradient_inner, 1)};

  Chunk chunk{};
  const int64_t most = chunk_rows(p, counted), most_tiles = most / ROWS;
  const int threads = worthwhile_threads(static_cast<int>(threads_allowed), counted * codes * (features + 16), 1 << 20);
  // Few tiles are divided among the threads; several tiles per task avoid reading the codes again.
  const int64_t own = p.gradients() && !p.code_gradients() ? larger(1, (4 << 20) / (4 * tile_step(codes))) : TILES;
  const int64_t group = larger(1, smaller(smaller(TILES, own), ceil_div(most_tiles, threads)));
  const Layout layout(p, group, !p.code_gradients());
  const int workers = static_cast<int>(larger(1, smaller(threads, ceil_div(most_tiles, group))));
  Scratch<float> scratch(workers * layout.total), scores(p.code_gradients() ? most_tiles * tile_step(codes) : 0);
  Scratch<float> along(weight_gradient ? most * round_up(features, ROWS) : 0), row_loss(most);
  Scratch<int64_t> row_numbers(most), row_targets(most);
  if (!scratch.data || !scores.data || !along.data || !row_loss.data || !row_numbers.data || !row_targets.data)
    return OUT_OF_MEMORY;
  chunk.rows = row_numbers.data, chunk.targets = row_targets.data, chunk.row_loss = row_loss.data;
  chunk.scores = p.code_gradients() ? scores.data : nullptr;
  chunk.along = weight_gradient ? along.data : nullptr;
  chunk.tile_step = tile_step(codes), chunk.along_step = most * ROWS;

  if (counted < rows) {  // ignored rows
    if (x_gradient) memset(x_gradient, 0, static_cast<size_t>(rows * features) * sizeof(float));
    if (lse) memset(lse, 0, static_cast<size_t>(rows) * sizeof(float));
    if (loss && reduction == NONE) memset(loss, 0, static_cast<size_t>(rows) * sizeof(float));
  }
  if (counted == 0) {
    if (weight_gradient) memset(weight_gradient, 0, static_cast<size_t>(codes * features) * sizeof(float));
    if (bias_gradient) memset(bias_gradient, 0, static_cast<size_t>(codes) * sizeof(float));
  }

  double total = 0;
  for (int64_t next = 0, done = 0; done < counted; done += chunk.count) {
    for (chunk.count = 0; chunk.count < most && next < rows; ++next) {
      const int64_t target = target_at(targets, target_dtype, next);
      if (target == ignore_index) continue;
      chunk.rows[chunk.count] = next, chunk.targets[chunk.count++] = target;
    }
    chunk.tiles = ceil_div(chunk.count, ROWS);
    parallel_for(workers, ceil_div(chunk.tiles, group), [&](int64_t task, int thread) {
      const int64_t tile = task * group;
      group_of_rows(p, chunk, tile, smaller(group, chunk.tiles - tile), layout, scratch.data + thread * layout.total);
    });
    if (p.code_gradients()) {
      const int64_t share = larger(1, smaller(8, ceil_div(ceil_div(codes, COLUMNS), 4 * threads))) * COLUMNS;
      parallel_for(threads, ceil_div(codes, share), [&](int64_t task, int) {
        group_of_codes(p, chunk, done == 0, task * share, smaller(share, codes - task * share));
      });
    }
    for (int64_t i = 0; i < chunk.count; ++i) {
      total += chunk.row_loss[i];
      if (loss && reduction == NONE) loss[chunk.rows[i]] = chunk.row_loss[i];
    }
  }
  if (loss && reduction != NONE) *loss = static_cast<float>(reduction == MEAN ? total / static_cast<double>(counted) : total);
  return OK;
}
