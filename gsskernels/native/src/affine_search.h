// The affine argmax over N rows and V codes, for linear_argmax, nearest_code and linear_sample:
//
//   1. certify the table: for every block of codes, bounds on the error of a fast score (certificate.h)
//   2. fast pass: the largest score of every block for every row of a chunk (fast_scores.h)
//   3. per row: blocks whose largest score plus its error can reach the best score are scored again (Choice)
//
// With many rows, threads take chunks of rows. With few rows, threads share one chunk and take blocks of the table.
#pragma once

#include "fast_scores.h"
#include "rescore.h"

namespace {

constexpr int LISTED = 16;  // candidate blocks stored for a row; where there are more, they are searched again

// One tile after the fast pass.
struct Tile {
  const Certificate* table;
  const TileBounds* bounds;
  const float* maxima;  // [blocks][ROWS]
  float unit;
  alignas(64) float threshold[ROWS];  // the best score is at least this
  int32_t counts[ROWS];
  int32_t listed[ROWS][LISTED];

  Floats error(int64_t block, int lane) const {
    return fused(load(bounds->scale + lane), broadcast(table->length[block]),
                 fused(load(bounds->spread + lane), broadcast(table->residue[block]),
                       load(bounds->tiny + lane) + unit * table->reach[block]));
  }

  void list_candidates() {
    for (int lane = 0; lane < ROWS; lane += LANES) {
      Floats lower = broadcast(-INFINITY);
      for (int64_t b = 0; b < table->blocks; ++b) lower = larger_of(load(maxima + b * ROWS + lane) - error(b, lane), lower);
      store(threshold + lane, lower);
    }
    memset(counts, 0, sizeof counts);
    for (int lane = 0; lane < ROWS; lane += LANES) {
      const Floats lower = load(threshold + lane);
      for (int64_t b = 0; b < table->blocks; ++b) {
        const Floats top = load(maxima + b * ROWS + lane);
        const Ints can = (top + error(b, lane) >= lower) & (top > -INFINITY);
        if (!any(can)) continue;
        for (int r = 0; r < LANES; ++r)
          if (can[r]) {
            int32_t& count = counts[lane + r];
            if (count < LISTED) listed[lane + r][count] = static_cast<int32_t>(b);
            ++count;
          }
      }
    }
  }

  // block(b) for every candidate block of row r, ascending.
  template <class Block>
  void candidates(int64_t r, Block block) const {
    if (counts[r] <= LISTED) {
      for (int32_t i = 0; i < counts[r]; ++i) block(listed[r][i]);
      return;
    }
    const int lane = static_cast<int>(r) / LANES * LANES;
    const int within = static_cast<int>(r) % LANES;
    for (int64_t b = 0; b < table->blocks; ++b) {
      const float top = maxima[b * ROWS + r];
      if (top > -INFINITY && top + error(b, lane)[within] >= threshold[r]) block(b);
    }
  }
};

// The table with its certificate, and the codes that are scored in float64 for every row.
struct Prepared {
  Operands all;
  Certificate table;
  const int64_t* always;
  int64_t num_always;
};

constexpr int64_t CHUNK_ROWS = 512, CHUNK_BYTES = 2 << 20, PANEL_BYTES = 256 << 10;

template <class Element>
struct Shape {
  int64_t features, depth, group_size, chunk_tiles, panel_groups;

  Shape(const Operands& all, int threads) {
    features = all.rows.features;
    depth = Fast<Element>::depth(features);
    group_size = larger(depth, 1) * GROUP;
    const int64_t tile_bytes = larger(depth, 1) * ROWS * 4;
    int64_t rows = smaller(CHUNK_ROWS, larger(CHUNK_BYTES / tile_bytes, 1) * ROWS);
    if (all.num_rows <= rows * threads) rows = larger(smaller(rows, all.num_rows / (2 * threads)), smaller(rows, 128));
    chunk_tiles = ceil_div(rows, ROWS);
    panel_groups = larger(PANEL_BYTES / (group_size * 4), 1);
  }
};

// Rows first..end-1 by chunks. Returns how many blocks had to be scored again, or -1 without memory.
template <class Element, class Choice>
int64_t search_rows(const Prepared& prepared, const Choice& choice, int64_t first, int64_t end, int threads,
                    int64_t* out) {
  const Operands& all = prepared.all;
  const Certificate& table = prepared.table;
  const Shape<Element> shape(all, threads);
  const int64_t features = shape.features, rows = end - first, chunk_rows = shape.chunk_tiles * ROWS;
  const bool by_rows = rows >= chunk_rows * threads || threads == 1;
  const int64_t tiles = by_rows ? smaller(shape.chunk_tiles, ceil_div(rows, ROWS)) : ceil_div(rows, ROWS);
  const int64_t chunks = by_rows ? ceil_div(rows, tiles * ROWS) : 1, slots = smaller(chunks, by_rows ? threads : 1);
  const int64_t panel_size = smaller(shape.panel_groups, table.blocks * table.groups_per_block) * shape.group_size;

  const Scratch<Element> packed(slots * tiles * shape.depth * ROWS + 16), panels(threads * panel_size);
  const Scratch<float> maxima(slots * tiles * table.blocks * ROWS), buffers(threads * (6 * features + 64));
  const Scratch<TileBounds> bounds(slots * tiles);
  const Scratch<int64_t> again(threads), zero_answers(threads);
  if (!packed.data || !panels.data || !maxima.data || !buffers.data || !bounds.data || !again.data || !zero_answers.data)
    return -1;
  for (int t = 0; t < threads; ++t) again.data[t] = 0, zero_answers.data[t] = -1;

  const auto chunk = [&](int64_t start, int64_t count, int slot, int workers) {
    const int64_t chunk_tiles = ceil_div(count, ROWS);
    Element* const x = packed.data + slot * tiles * shape.depth * ROWS;
    float* const top = maxima.data + slot * tiles * table.blocks * ROWS;
    TileBounds* const bound = bounds.data + slot * tiles;
    const auto buffer = [&](int t) { return buffers.data + (slot + t) * (6 * features + 64); };

    parallel_for(workers, chunk_tiles, [&](int64_t t, int worker) {
      const int64_t row = start + t * ROWS, left = count - t * ROWS;
      Element* const tile = x + t * shape.depth * ROWS;
      if (all.rows.inner_stride == 1 && left >= ROWS && row % all.rows.inner + ROWS <= all.rows.inner)
        pack_side_by_side<Element>(all, table, row, tile, bound + t);
      else
        pack_tile<Element>(all, table, row, smaller(ROWS, left), tile, bound + t, buffer(worker));
      choice.adapt(bound + t);
      for (int64_t i = 0; i < table.blocks * ROWS; ++i) top[t * table.blocks * ROWS + i] = -INFINITY;
    });

    const int64_t unit_blocks = larger(1, shape.panel_groups / table.groups_per_block);
    parallel_for(workers, ceil_div(table.blocks, unit_blocks), [&](int64_t u, int worker) {
      Element* const panel = panels.data + (slot + worker) * panel_size;
      const int64_t last = smaller((u + 1) * unit_blocks, table.blocks) * table.groups_per_block;
      for (int64_t g0 = u * unit_blocks * table.groups_per_block; g0 < last; g0 += shape.panel_groups) {
        const int64_t g1 = smaller(g0 + shape.panel_groups, last);
        for (int64_t g = g0; g < g1; ++g)
          pack_group<Element>(all, table, g * GROUP, panel + (g - g0) * shape.group_size, buffer(worker));
        for (int64_t t = 0; t < chunk_tiles; ++t)
          tile_maxima<Element>(x + t * shape.depth * ROWS, panel, shape.depth, table, g0, g1,
                               choice.scorer(start + t * ROWS), top + t * table.blocks * ROWS);
      }
    });

    parallel_for(workers, chunk_tiles, [&](int64_t t, int worker) {
      Tile tile;
      tile.table = &table;
      tile.bounds = bound + t;
      tile.maxima = top + t * table.blocks * ROWS;
      tile.unit = choice.unit(Fast<Element>::unit(features));
      tile.list_candidates();
      for (int64_t r = 0; r < smaller(ROWS, count - t * ROWS); ++r) {
        again.data[slot + worker] += tile.counts[r];
        const int64_t row = start + t * ROWS + r;
        out[row] = choice.choose(prepared, tile, r, row, buffer(worker), zero_answers.data + slot + worker);
      }
    });
  };

  if (by_rows)
    parallel_for(threads, chunks, [&](int64_t i, int slot) {
      chunk(first + i * tiles * ROWS, smaller(tiles * ROWS, rows - i * tiles * ROWS), slot, 1);
    });
  else
    chunk(first, rows, 0, threads);
  int64_t sum = 0;
  for (int t = 0; t < threads; ++t) sum += again.data[t];
  return sum;
}

// Tries bfloat16 first where the processor has it, then float32 if bfloat16 does not separate most blocks.
template <class Choice>
int64_t search(const Prepared& prepared, const Choice& choice, int threads, int64_t* out) {
  int64_t done = 0;
  const int64_t num_rows = prepared.all.num_rows;
#if defined(__AVX512BF16__)
  const int64_t trial = smaller(num_rows, CHUNK_ROWS / 2 * threads);
  const int64_t again = search_rows<Pair>(prepared, choice, 0, trial, threads, out);
  if (again < 0) return OUT_OF_MEMORY;
  done = trial;
  if (again <= trial * (4 + prepared.table.blocks / 16)) {
    if (done < num_rows && search_rows<Pair>(prepared, choice, done, num_rows, threads, out) < 0) return OUT_OF_MEMORY;
    return OK;
  }
#endif
  if (done < num_rows && search_rows<float>(prepared, choice, done, num_rows, threads, out) < 0) return OUT_OF_MEMORY;
  return OK;
}

// Certifies the table and hands it to `then`.
template <class Then>
int64_t prepare(const Operands& all, int threads, Then then) {
#if defined(__AVX512BF16__)
  constexpr bool bf16 = true;
#else
  constexpr bool bf16 = false;
#endif
  const int64_t features = all.codes.features;
  Prepared prepared = {};
  prepared.all = all;
  Certificate& c = prepared.table;
  c.groups_per_block = groups_per_block(all.num_codes);
  c.blocks = ceil_div(all.num_codes, c.codes_per_block());
  const int64_t codes = c.blocks * c.codes_per_block();
  const bool across = features <= ACROSS_FEATURES && codes * features <= ACROSS_TABLE;
  const Scratch<float> numbers(codes + ACROSS + 3 * c.blocks), shift(2 * features);
  const Scratch<float> buffers(threads * 2 * features), transposed(across ? codes / GROUP * features * ACROSS : 0);
  const Scratch<uint8_t> kinds(codes);
  if (!numbers.data || !shift.data || !buffers.data || !transposed.data || !kinds.data) return OUT_OF_MEMORY;
  c.bias = numbers.data;
  c.length = numbers.data + codes + ACROSS;
  c.residue = c.length + c.blocks;
  c.reach = c.residue + c.blocks;
  c.kind = kinds.data;
  c.across = across ? transposed.data : nullptr;
  c.shift = choose_shift(all, shift.data, shift.data + features) ? shift.data : nullptr;
  c.row_shift = all.nearest ? c.shift : nullptr;
  for (int64_t i = codes; i < codes + ACROSS; ++i) c.bias[i] = -INFINITY;
  if (across) memset(transposed.data, 0, static_cast<size_t>(codes / GROUP * features * ACROSS) * sizeof(float));

  const auto certify = [&](int64_t b, int thread) {
    certify_block(all, c, b, bf16, buffers.data + thread * 2 * features);
  };
  parallel_for(threads, c.blocks, certify);
  int64_t exact = 0;
  bool forbidden = false;
  const auto is_always = [&](int64_t v) {
    if (c.kind[v] == EXACT) return true;
    if (c.kind[v] != FORBIDDEN || forbidden) return false;
    return forbidden = true;
  };
  for (int64_t v = 0; v < all.num_codes; ++v) exact += is_always(v);
  const Scratch<int64_t> always(exact);
  if (!always.data) return OUT_OF_MEMORY;
  forbidden = false;
  if (exact > 0)
    for (int64_t v = 0; v < all.num_codes; ++v)
      if (is_always(v)) always.data[prepared.num_always++] = v;
  prepared.always = always.data;
  return then(prepared);
}

}  // namespace
