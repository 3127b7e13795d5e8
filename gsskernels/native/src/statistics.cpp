// Code statistics: the number of rows of each code, and their sum.
//
//   counts[v] = |{n : codes[n] = v}|,   sums[v] = sum over those n of x[n], in ascending n, in float64
//
// Threads divide the features, not the rows: a thread owns some columns of the sums and reads all rows. Every sum is
// then taken in one order whatever the number of threads, nothing is sorted, and a code that has most of the rows costs
// no more than any other. A thread's columns of the table (V x 16 doubles, 1 MB for 8192 codes) stay in its second
// cache; with more than about 50,000 codes they do not fit, and every addition goes to memory.
#include "convert.h"
#include "parallel.h"

namespace {

constexpr int64_t ROWS_AT_A_TIME = 128;
constexpr int64_t WIDEST = 16;  // columns of a task: one cache line of float32

struct Rows {  // x as (outer, features, inner), strides in elements; row number = outer * inner_size + inner
  const void* data;
  int32_t dtype;
  int64_t outer, features, inner, outer_stride, feature_stride, inner_stride;
};

inline void read_numbers(const void* data, int32_t dtype, int64_t stride, int64_t count, float* out) {
  read_floats(data, dtype, stride, count, out);
}
inline void read_numbers(const void* data, int32_t, int64_t stride, int64_t count, double* out) {
  const double* p = static_cast<const double*>(data);
  for (int64_t i = 0; i < count; ++i) out[i] = p[i * stride];
}

// block[r * WIDEST + j] = feature first + j of row start + r. Columns beyond `width` are not written.
template <class Number>
void read_block(const Rows& x, int64_t outer, int64_t start, int64_t rows, int64_t first, int64_t width, Number* block) {
  const int64_t base = outer * x.outer_stride + start * x.inner_stride + first * x.feature_stride;
  if (x.feature_stride == 1) {
    for (int64_t r = 0; r < rows; ++r)
      read_numbers(offset(x.data, x.dtype, base + r * x.inner_stride), x.dtype, 1, width, block + r * WIDEST);
    return;
  }
  Number plane[ROWS_AT_A_TIME];
  for (int64_t j = 0; j < width; ++j) {
    read_numbers(offset(x.data, x.dtype, base + j * x.feature_stride), x.dtype, x.inner_stride, rows, plane);
    for (int64_t r = 0; r < rows; ++r) block[r * WIDEST + j] = plane[r];
  }
}

// ids[n] = codes[n], or num_codes if that is not a code id; also fills the counts.
void read_codes(const void* codes, int32_t dtype, int64_t count, int64_t num_codes, int32_t* ids, int64_t* counts) {
  const auto read = [&](auto* p) {
    for (int64_t n = 0; n < count; ++n) {
      const int64_t id = p[n];
      const bool known = id >= 0 && id < num_codes;
      ids[n] = static_cast<int32_t>(known ? id : num_codes);
      if (known) ++counts[id];
    }
  };
  switch (dtype) {
    case U8: return read(static_cast<const uint8_t*>(codes));
    case I8: return read(static_cast<const int8_t*>(codes));
    case I16: return read(static_cast<const int16_t*>(codes));
    case I32: return read(static_cast<const int32_t*>(codes));
    default: return read(static_cast<const int64_t*>(codes));
  }
}

template <int64_t WIDTH, class Number>
void add_rows(const Number* block, const int32_t* ids, int64_t rows, double* table) {
  for (int64_t r = 0; r < rows; ++r) {
    double* sum = table + ids[r] * WIDTH;
    for (int64_t j = 0; j < WIDTH; ++j) sum[j] += static_cast<double>(block[r * WIDEST + j]);
  }
}

// Columns first..first+width of the sums of every code. The table has one row more, for rows without a code.
template <int64_t WIDTH, class Number>
void sum_columns(const Rows& x, const int32_t* ids, int64_t num_codes, int64_t first, double* table, Number* sums) {
  const int64_t width = smaller(WIDTH, x.features - first);
  memset(table, 0, static_cast<size_t>((num_codes + 1) * WIDTH) * sizeof(double));
  alignas(64) Number block[ROWS_AT_A_TIME * WIDEST];
  memset(block, 0, sizeof block);
  for (int64_t o = 0; o < x.outer; ++o)
    for (int64_t start = 0; start < x.inner; start += ROWS_AT_A_TIME) {
      const int64_t rows = smaller(ROWS_AT_A_TIME, x.inner - start);
      read_block(x, o, start, rows, first, width, block);
      add_rows<WIDTH>(block, ids + o * x.inner + start, rows, table);
    }
  for (int64_t v = 0; v < num_codes; ++v)
    for (int64_t j = 0; j < width; ++j) sums[v * x.features + first + j] = static_cast<Number>(table[v * WIDTH + j]);
}

template <int64_t WIDTH, class Number>
int64_t sum_in_slices(const Rows& x, const int32_t* ids, int64_t num_codes, Number* sums, int threads) {
  const int64_t slices = ceil_div(x.features, WIDTH), table_size = (num_codes + 1) * WIDTH;
  threads = static_cast<int>(smaller(threads, slices));
  Scratch<double> tables(threads * table_size);
  if (!tables.data) return OUT_OF_MEMORY;
  parallel_for(threads, slices, [&](int64_t slice, int thread) {
    sum_columns<WIDTH>(x, ids, num_codes, slice * WIDTH, tables.data + thread * table_size, sums);
  });
  return OK;
}

template <class Number>
int64_t sum_rows(const Rows& x, const int32_t* ids, int64_t num_codes, Number* sums, int threads) {
  threads = worthwhile_threads(threads, x.outer * x.inner * x.features, 1 << 14);
  if (x.features >= WIDEST * threads) return sum_in_slices<16>(x, ids, num_codes, sums, threads);
  if (x.features >= 8 * threads) return sum_in_slices<8>(x, ids, num_codes, sums, threads);
  return sum_in_slices<4>(x, ids, num_codes, sums, threads);
}

}  // namespace

// codes: outer * inner ids in the order of the rows. counts (V,) must come zeroed. sums (V, features) are F64 where x is,
// else F32.
GSS_FUNCTION(code_statistics)
(const void* x, int32_t dtype, int64_t outer, int64_t features, int64_t inner, int64_t outer_stride,
 int64_t feature_stride, int64_t inner_stride, const void* codes, int32_t code_dtype, int64_t num_codes, int64_t* counts,
 void* sums, int32_t threads) {
  Scratch<int32_t> ids(outer * inner);
  if (!ids.data || num_codes >= INT32_MAX) return OUT_OF_MEMORY;
  read_codes(codes, code_dtype, outer * inner, num_codes, ids.data, counts);
  const Rows rows{x, dtype, outer, features, inner, outer_stride, feature_stride, inner_stride};
  if (features == 0) return OK;
  if (dtype == F64) return sum_rows(rows, ids.data, num_codes, static_cast<double*>(sums), threads);
  return sum_rows(rows, ids.data, num_codes, static_cast<float*>(sums), threads);
}
