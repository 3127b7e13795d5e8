// Packs the operands of the cross-entropy for the inner loop of multiply.h: float32, lanes side by side, zeros beyond
// the ends.
#pragma once

#include "convert.h"
#include "multiply.h"
#include "parallel.h"

namespace {

// A matrix whose rows lie in two nested loops, such as the positions of a batch of channels-first maps.
struct Rows {
  const void* data;
  int32_t dtype;
  int64_t inner;                     // rows of the inner loop
  int64_t outer_step, inner_step;    // from row to row
  int64_t column_step;

  int64_t at(int64_t row) const { return row / inner * outer_step + row % inner * inner_step; }

  // Whether `count` rows listed in `rows` lie at equal steps.
  bool evenly(const int64_t* rows, int64_t count) const {
    return rows[count - 1] - rows[0] == count - 1 && rows[0] / inner == rows[count - 1] / inner;
  }
};

// out[j * out_step + i] = in[i * in_step + j] for a square of ROWS.
inline void transpose(const float* in, int64_t in_step, float* out, int64_t out_step) {
#if defined(__SSE2__)
  for (int i = 0; i < ROWS; i += 4)
    for (int j = 0; j < ROWS; j += 4) {
      const float* p = in + i * in_step + j;
      float* q = out + j * out_step + i;
      __m128 a = _mm_loadu_ps(p), b = _mm_loadu_ps(p + in_step);
      __m128 c = _mm_loadu_ps(p + 2 * in_step), d = _mm_loadu_ps(p + 3 * in_step);
      _MM_TRANSPOSE4_PS(a, b, c, d);
      _mm_storeu_ps(q, a);
      _mm_storeu_ps(q + out_step, b);
      _mm_storeu_ps(q + 2 * out_step, c);
      _mm_storeu_ps(q + 3 * out_step, d);
    }
#else
  for (int i = 0; i < ROWS; ++i)
    for (int j = 0; j < ROWS; ++j) out[j * out_step + i] = in[i * in_step + j];
#endif
}

// `count` <= ROWS rows of x, `columns` wide, twice: lanes = rows, across[c][row]; and lanes = columns, in squares
// along[c / ROWS][row][c % ROWS], `along_step` from square to square. Either may be null.
inline void pack_rows(const Rows& x, const int64_t* rows, int64_t count, int64_t columns, float* across, float* along,
                      int64_t along_step) {
  alignas(64) float square[ROWS * ROWS], other[ROWS * ROWS];
  const bool lanes_are_rows = x.column_step != 1 && x.evenly(rows, count);
  for (int64_t c = 0; c < columns; c += ROWS) {
    const int64_t width = smaller(ROWS, columns - c);
    if (count < ROWS || width < ROWS) memset(square, 0, sizeof square);
    const int64_t lines = lanes_are_rows ? width : count;
    for (int64_t i = 0; i < lines; ++i) {
      if (lanes_are_rows)
        read_floats(offset(x.data, x.dtype, x.at(rows[0]) + (c + i) * x.column_step), x.dtype, x.inner_step, count,
                    square + i * ROWS);
      else
        read_floats(offset(x.data, x.dtype, x.at(rows[i]) + c * x.column_step), x.dtype, x.column_step, width,
                    square + i * ROWS);
    }
    if (lanes_are_rows ? along != nullptr : across != nullptr) transpose(square, ROWS, other, ROWS);
    const float* const for_across = lanes_are_rows ? square : other;
    const float* const for_along = lanes_are_rows ? other : square;
    if (across) memcpy(across + c * ROWS, for_across, static_cast<size_t>(width) * ROWS * sizeof(float));
    if (along) memcpy(along + c / ROWS * along_step, for_along, sizeof square);
  }
}

// x_gradient[row][c] = lanes of across[c][row].
inline void unpack_rows(const float* across, const int64_t* rows, int64_t count, int64_t columns, float* out,
                        int64_t inner) {
  alignas(64) float square[ROWS * ROWS];
  for (int64_t c = 0; c < columns; c += ROWS) {
    const int64_t width = smaller(ROWS, columns - c);
    if (inner == 1) {
      transpose(across + c * ROWS, ROWS, square, ROWS);
      for (int64_t i = 0; i < count; ++i)
        memcpy(out + rows[i] * columns + c, square + i * ROWS, static_cast<size_t>(width) * sizeof(float));
    } else {
      for (int64_t j = c; j < c + width; ++j)
        for (int64_t i = 0; i < count; ++i)
          out[(rows[i] / inner * columns + j) * inner + rows[i] % inner] = across[j * ROWS + i];
    }
  }
}

struct Matrix {
  const void* data;
  int32_t dtype;
  int64_t row_step, column_step;

  const void* at(int64_t row, int64_t column) const {
    return offset(data, dtype, row * row_step + column * column_step);
  }
};

// panel[n * step + k] = w[row + n][column + k] for n < COLUMNS, k < depth; zeros from `rows` on.
inline void pack_codes(const Matrix& w, int64_t row, int64_t rows, int64_t column, int64_t depth, float* panel,
                       int64_t step) {
  for (int64_t n = 0; n < COLUMNS; ++n) {
    if (n < rows) read_floats(w.at(row + n, column), w.dtype, w.column_step, depth, panel + n * step);
    else memset(panel + n * step, 0, static_cast<size_t>(depth) * sizeof(float));
  }
}

// panel[k * COLUMNS + n] = w[row + k][column + n] for n < COLUMNS, k < depth; zeros from `columns` on.
inline void pack_features(const Matrix& w, int64_t row, int64_t depth, int64_t column, int64_t columns, float* panel) {
  if (w.column_step == 1 && columns >= COLUMNS && (w.dtype == F32 || w.dtype == BF16)) {
    for (int64_t k = 0; k < depth; ++k) {
      const char* p = static_cast<const char*>(w.at(row + k, column));
      float* out = panel + k * COLUMNS;
      if (w.dtype == F32) {
        memcpy(out, p, COLUMNS * sizeof(float));
      } else {
        uint16_t h[COLUMNS];
        memcpy(h, p, sizeof h);
        for (int n = 0; n < COLUMNS; ++n) out[n] = bf16_to_float(h[n]);
      }
    }
    return;
  }
  const int64_t width = smaller(columns, COLUMNS);
  for (int64_t k = 0; k < depth; ++k) {
    float* out = panel + k * COLUMNS;
    read_floats(w.at(row + k, column), w.dtype, w.column_step, width, out);
    for (int64_t n = width; n < COLUMNS; ++n) out[n] = 0;
  }
}

}  // namespace
