// Prepares a palette: the classes that can win in each cell of a grid over the colour cube.
//
// Class q cannot win in a box if some p is nearer everywhere in it. The difference of squared distances
//   d_q(x) - d_p(x) = (q - p) . (q + p - 2 x)
// is linear in x, so its minimum over the box is at a corner: value at the centre minus sum_i 2 h_i |q_i - p_i|, h the
// half edges. q is dropped where that minimum, in float64, exceeds the rounding error of both float32 distances. Each
// distance carries at most five roundings, so 12 * 2^-24 times the largest squared distance covers both. Boxes are
// wider than cells by a ten-thousandth of an edge, which is more than the error of the float32 arithmetic of cell_of().
//
// Boxes are split in eight, six times, and a child tests only the classes of its parent, so the work is proportional to
// the area of the walls between classes and not to K times the number of cells. Cells with equal lists share one. The
// second-order table drops q only where two classes beat it.
//
// AMD EPYC (Zen 4), one core, 2026-11-26, first and second order: the Cityscapes palette (K = 19) 1.7 and 2.8 ms, ADE20K
// (150) 4.2 and 7.2 ms, MSeg (194) 4.3 and 7.3 ms.
#include <math.h>

#include "abi.h"
#include "cell_lists.h"

namespace {

typedef double Eight __attribute__((vector_size(64)));  // one lane a child
typedef int64_t EightMask __attribute__((vector_size(64)));
typedef int8_t EightBytes __attribute__((vector_size(8)));

constexpr int MAX_BITS = 6;
constexpr int64_t PAIRWISE = 48;  // longer lists are tested against the classes nearest to the children's centres only
constexpr double WIDER = 1e-4;    // of a cell's edge
constexpr int64_t MAX_TESTS = int64_t{1} << 26;   // about half a second: with longer lists cells gain nothing

struct Grid {
  double low[3], edge[3];  // outer corner, edges of the whole grid
  double slack;
};

// Returns false where no grid is possible: colours or distances that are not finite, or so small or large that the
// roundings of float32 distances are not relative.
bool place(const float* palette, int64_t num_classes, Grid* grid) {
  double least[3], most[3];
  bool is_rgb = true, above_one = false;
  for (int c = 0; c < 3; ++c) {
    least[c] = INFINITY;
    most[c] = -INFINITY;
    for (int64_t k = 0; k < num_classes; ++k) {
      const float x = palette[k * 3 + c];
      if (!isfinite(x)) return false;
      if (x < least[c]) least[c] = x;
      if (x > most[c]) most[c] = x;
      is_rgb &= x >= 0 && x <= 255;
      above_one |= x > 1;
    }
  }
  double widest = 0, squared = 0;
  for (int c = 0; c < 3; ++c) widest = fmax(widest, most[c] - least[c]);
  for (int c = 0; c < 3; ++c) {
    if (is_rgb && above_one) {  // integers then lie well inside their cells
      grid->low[c] = -0.5;
      grid->edge[c] = 256;
    } else {  // an axis along which all colours agree still gets an edge
      const double around = fmax((most[c] - least[c]) / 16, widest / 64);
      grid->low[c] = least[c] - around;
      grid->edge[c] = most[c] - least[c] + 2 * around;
    }
    squared += grid->edge[c] * grid->edge[c];
  }
  grid->slack = 12 * 0x1p-24 * squared * 1.01;
  return squared > 1e-20 && squared < 1e30;
}

struct Builder {
  const float* palette;
  int64_t num_classes;
  int order, bits;
  Grid grid;
  Cells* cells;
  Growing<int32_t> ids;         // stack of the lists on the way down
  Growing<int8_t> dropped;      // of the box being split: eight counts a candidate
  Lists lists;
  int64_t tests = 0;
  bool too_big = false;

  bool stopped() const { return too_big || lists.too_big || lists.failed() || ids.failed || dropped.failed; }

  bool run() {
    int32_t* all = ids.extend(num_classes);
    if (!all) return false;
    for (int64_t k = 0; k < num_classes; ++k) all[k] = static_cast<int32_t>(k);
    const int64_t corner[3] = {0, 0, 0};
    descend(0, num_classes, 0, corner);
    return !stopped();
  }

  // The box `corner` of the 2^level boxes along each axis, with the candidates ids[begin .. begin+count).
  void descend(int64_t begin, int64_t count, int level, const int64_t (&corner)[3]) {
    if (stopped()) return;
    if (level == bits || count <= order) {
      fill(begin, count, level, corner);
      return;
    }
    if (!split(begin, count, level, corner)) return;
    const int64_t stack = ids.size;
    int64_t child_begin[9];
    for (int child = 0; child < 8; ++child) {
      child_begin[child] = ids.size;
      int32_t* kept = ids.extend(count);
      if (!kept) return;
      int64_t size = 0;
      for (int64_t i = 0; i < count; ++i) {
        kept[size] = ids.data[begin + i];
        size += dropped.data[i * 8 + child] < order;
      }
      ids.size = child_begin[child] + size;
    }
    child_begin[8] = ids.size;
    for (int child = 0; child < 8; ++child) {
      const int64_t inner[3] = {2 * corner[0] + (child & 1), 2 * corner[1] + (child >> 1 & 1),
                                2 * corner[2] + (child >> 2 & 1)};
      descend(child_begin[child], child_begin[child + 1] - child_begin[child], level + 1, inner);
    }
    ids.size = stack;
  }

  // dropped[i][child] = how many classes, counted up to 2, are proved nearer than candidate i all over that child.
  bool split(int64_t begin, int64_t count, int level, const int64_t (&corner)[3]) {
    dropped.size = 0;
    if (!dropped.extend(count * 8)) return false;
    memset(dropped.data, 0, static_cast<size_t>(count * 8));
    double center[3], quarter[3], half[3];
    for (int c = 0; c < 3; ++c) {
      const double edge = grid.edge[c] / static_cast<double>(int64_t{1} << level);
      center[c] = grid.low[c] + (static_cast<double>(corner[c]) + 0.5) * edge;
      quarter[c] = edge / 4;
      half[c] = edge / 4 + WIDER * grid.edge[c] / static_cast<double>(int64_t{1} << bits);
    }
    int64_t pivots[16], num_pivots = 0;
    if (count > PAIRWISE) num_pivots = nearest_to_children(begin, count, center, quarter, pivots);
    const int64_t outer = num_pivots > 0 ? num_pivots : count;
    tests += outer * count;
    if (tests > MAX_TESTS) too_big = true;
    const Eight sign[3] = {{-1, 1, -1, 1, -1, 1, -1, 1}, {-1, -1, 1, 1, -1, -1, 1, 1}, {-1, -1, -1, -1, 1, 1, 1, 1}};
    for (int64_t n = 0; n < outer; ++n) {
      const int64_t i = num_pivots > 0 ? pivots[n] : n;
      const float* p = palette + 3 * int64_t{ids.data[begin + i]};
      for (int64_t j = num_pivots > 0 ? 0 : i + 1; j < count; ++j) {
        if (j == i) continue;
        const float* q = palette + 3 * int64_t{ids.data[begin + j]};
        double at_center = 0, swing = grid.slack;
        Eight moved = {};
        for (int c = 0; c < 3; ++c) {
          const double gap = static_cast<double>(q[c]) - p[c];
          at_center += gap * (static_cast<double>(q[c]) + p[c] - 2 * center[c]);
          swing += 2 * half[c] * fabs(gap);
          moved -= sign[c] * (2 * quarter[c] * gap);
        }
        if (p[0] == q[0] && p[1] == q[1] && p[2] == q[2]) {  // the lower class takes every tie
          if (num_pivots == 0 || i < j) beaten(j, EightMask{} - 1);
          continue;
        }
        beaten(j, moved > swing - at_center);
        if (num_pivots == 0) beaten(i, moved < -swing - at_center);
      }
    }
    return true;
  }

  void beaten(int64_t i, const EightMask& where) {
    int8_t* counts = dropped.data + i * 8;
    EightBytes now;
    memcpy(&now, counts, 8);
    const EightBytes more = __builtin_convertvector(where, EightBytes);
    now -= more & (now < 2);  // both are -1 where true
    memcpy(counts, &now, 8);
  }

  // The `order` candidates nearest to each child's centre, without repetition.
  int64_t nearest_to_children(int64_t begin, int64_t count, const double* center, const double* quarter,
                              int64_t* pivots) {
    int64_t found = 0;
    for (int child = 0; child < 8; ++child) {
      double best = INFINITY, second = INFINITY;
      int64_t first = 0, runner_up = 0;
      for (int64_t i = 0; i < count; ++i) {
        double d = 0;
        for (int c = 0; c < 3; ++c) {
          const double x = center[c] + (child >> c & 1 ? quarter[c] : -quarter[c]);
          const double gap = palette[3 * int64_t{ids.data[begin + i]} + c] - x;
          d += gap * gap;
        }
        if (d < best) {
          second = best;
          runner_up = first;
          best = d;
          first = i;
        } else if (d < second) {
          second = d;
          runner_up = i;
        }
      }
      for (int n = 0; n < order; ++n) {
        const int64_t candidate = n == 0 ? first : runner_up;
        bool known = false;
        for (int64_t other = 0; other < found; ++other) known |= pivots[other] == candidate;
        if (!known) pivots[found++] = candidate;
      }
    }
    return found;
  }

  // Writes the word of this list into all cells of the box.
  void fill(int64_t begin, int64_t count, int level, const int64_t (&corner)[3]) {
    const bool is_pure = order == 1 && count == 1 && cells->pure > 0;
    const int64_t list = is_pure ? 0 : lists.number_of(ids.data + begin, count);
    if (stopped()) return;
    // Lists are numbered in the order they were found; Lists::write renumbers them.
    const uint16_t word = static_cast<uint16_t>(is_pure ? ids.data[begin] : cells->pure + list);
    const int64_t side = int64_t{1} << (bits - level);
    for (int64_t r = corner[0] * side; r < (corner[0] + 1) * side; ++r)
      for (int64_t g = corner[1] * side; g < (corner[1] + 1) * side; ++g) {
        uint16_t* row = cells->words + (((r << bits) | g) << bits) + corner[2] * side;
        for (int64_t b = 0; b < side; ++b) row[b] = word;
      }
  }
};

void destroy(Cells* cells) {
  if (!cells) return;
  free(cells->words);
  free(cells->blocks);
  free(cells->long_begin);
  free(cells);
}

// Returns OK and leaves *made null if brute force is faster for this palette.
int64_t build(const float* palette, int64_t num_classes, int order, int bits, Grid grid, Cells** made) {
  *made = nullptr;
  Cells* cells = static_cast<Cells*>(calloc(1, sizeof(Cells)));
  if (!cells) return OUT_OF_MEMORY;
  cells->bits = bits;
  cells->order = order;
  cells->pure = order == 1 && num_classes <= 32768 ? static_cast<int32_t>(num_classes) : 0;
  cells->num_words = int64_t{1} << (3 * bits);
  cells->words = static_cast<uint16_t*>(malloc(static_cast<size_t>(cells->num_words + 32) * sizeof(uint16_t)));
  for (int c = 0; c < 3; ++c) {
    cells->per_unit[c] = static_cast<float>(static_cast<double>(int64_t{1} << bits) / grid.edge[c]);
    cells->low[c] = static_cast<float>(grid.low[c] + 0.5 / cells->per_unit[c]);
    // The grid is from now on defined by these float32 numbers.
    grid.edge[c] = static_cast<double>(int64_t{1} << bits) / cells->per_unit[c];
    grid.low[c] = cells->low[c] - 0.5 / cells->per_unit[c];
  }
  Builder builder{palette, num_classes, order, bits, grid, cells, {}, {}, {palette, cells->pure}};
  if (!cells->words || !builder.run() || !builder.lists.write(cells)) {
    destroy(cells);
    return builder.too_big || builder.lists.too_big ? OK : OUT_OF_MEMORY;
  }
  for (int64_t i = 0; i < 32; ++i) cells->words[cells->num_words + i] = OUTSIDE;
  *made = cells;
  return OK;
}

}  // namespace

// palette (K, 3) contiguous. *cells: a handle for maskige_decode, which the caller gives to release_cells, or null
// where brute force is better for this palette (colours that are not finite, or lists that would be too long).
GSS_FUNCTION(prepare_cells)(const float* palette, int64_t num_classes, int32_t order, void** cells) {
  *cells = nullptr;
  Grid grid;
  if (num_classes > INT32_MAX / 4 || (order == 2 && num_classes < 2) || !place(palette, num_classes, &grid)) return OK;
  Cells* made = nullptr;
  for (int bits = MAX_BITS; bits >= MAX_BITS - 1 && !made; --bits) {
    const int64_t status = build(palette, num_classes, order, bits, grid, &made);
    if (status != OK) return status;
  }
  *cells = made;
  return OK;
}

GSS_FUNCTION(release_cells)(void* cells) {
  destroy(static_cast<Cells*>(cells));
  return OK;
}

// facts: cells along an axis, lists of at most four classes, longer lists, bytes, cells in per mille with one class.
GSS_FUNCTION(describe_cells)(const void* handle, int64_t* facts) {
  const Cells* cells = static_cast<const Cells*>(handle);
  int64_t pure = 0;
  for (int64_t i = 0; i < cells->num_words; ++i) pure += cells->words[i] < cells->pure;
  facts[0] = int64_t{1} << cells->bits;
  facts[1] = cells->short_lists;
  facts[2] = cells->num_long;
  facts[3] = cells->num_words * 2 + cells->num_blocks * static_cast<int64_t>(sizeof(Block)) + cells->num_long * 4;
  facts[4] = pure * 1000 / cells->num_words;
  return OK;
}
