// The inner loop of every matrix product here: a block of COLUMNS x ROWS sums kept in registers.
//
// Rows lie across lanes and columns are broadcast. Each sum runs over depth in ascending order in one accumulator, so
// two equal columns give equal sums at any position, and results do not depend on how a matrix is cut into blocks.
#pragma once

#include "simd.h"

namespace {

constexpr int ROWS = 2 * LANES;  // rows of a block: two vectors
#if defined(__AVX512F__) || defined(__aarch64__)
constexpr int COLUMNS = 12;  // 24 of 32 registers hold sums
#else
constexpr int COLUMNS = 6;  // 12 of 16
#endif

// sums[n][.] += sum over k of a[k * a_step + row] * b[k * b_step + n * b_column]: row = lane of two vectors.
template <int N>
inline __attribute__((always_inline)) void multiply(int64_t depth, const float* __restrict a, int64_t a_step,
                                                    const float* __restrict b, int64_t b_step, int64_t b_column,
                                                    Floats (&sums)[N][2]) {
  for (int64_t k = 0; k < depth; ++k) {
    const Floats a0 = load(a), a1 = load(a + LANES);
#pragma GCC unroll 12
    for (int n = 0; n < N; ++n) {
      const Floats w = broadcast(b[n * b_column]);
      sums[n][0] = fused(a0, w, sums[n][0]);
      sums[n][1] = fused(a1, w, sums[n][1]);
    }
    a += a_step;
    b += b_step;
  }
}

}  // namespace
