// Confusion matrix: how often each target class was predicted as each class.
//
//   matrix[t][p] = |{i : target_i = t, prediction_i = p}|, for t and p in 0..K-1 and t not the ignore index
//
// Each thread counts into its own table and the tables are added. Counts are integers, so the result does not depend on
// how pixels are shared among threads. Neighbouring pixels are mostly equal, and a vector of equal pairs is one
// addition. Where K is so large that tables for all threads would not fit, threads share one table and add to it
// atomically.
#include "counts.h"

namespace {

constexpr int64_t SEGMENT = 2048;
constexpr int64_t MOST_TABLE_BYTES = 1 << 26;  // of all threads together

struct Labels {
  const void* data;
  int32_t dtype;
  int64_t image_stride, row_stride, column_stride;
};

// The pairs of one segment of a row; a pixel that is not counted has the target K.
void read_pairs(const Labels& target, const Labels& prediction, int64_t image, int64_t row, int64_t column,
                int64_t count, int64_t num_classes, int64_t ignore_index, int32_t* targets, int32_t* predictions) {
  const auto at = [&](const Labels& l) {
    return offset(l.data, l.dtype, image * l.image_stride + row * l.row_stride + column * l.column_stride);
  };
  read_targets(at(target), target.dtype, target.column_stride, count, num_classes, ignore_index, targets);
  read_targets(at(prediction), prediction.dtype, prediction.column_stride, count, num_classes, -1, predictions);
  for (int64_t i = 0; i < count; ++i) {
    const bool counted = predictions[i] < num_classes;
    targets[i] = counted ? targets[i] : static_cast<int32_t>(num_classes);
    predictions[i] = counted ? predictions[i] : 0;
  }
}

}  // namespace

// Both label maps as (images, height, width) with their strides; matrix (K, K) must come zeroed.
GSS_FUNCTION(confusion_matrix)
(const void* prediction, int32_t prediction_dtype, int64_t prediction_image_stride, int64_t prediction_row_stride,
 int64_t prediction_column_stride, const void* target, int32_t target_dtype, int64_t target_image_stride,
 int64_t target_row_stride, int64_t target_column_stride, int64_t images, int64_t height, int64_t width,
 int64_t num_classes, int64_t ignore_index, int64_t* matrix, int32_t threads) {
  const Labels predictions{prediction, prediction_dtype, prediction_image_stride, prediction_row_stride,
                           prediction_column_stride};
  const Labels targets{target, target_dtype, target_image_stride, target_row_stride, target_column_stride};
  threads = worthwhile_threads(threads, images * height * width, 1 << 14);
  const int64_t cells = num_classes * num_classes, table_cells = cells + num_classes;
  const bool shared = threads * table_cells * static_cast<int64_t>(sizeof(int64_t)) > MOST_TABLE_BYTES;
  Scratch<int64_t> tables(shared ? 0 : threads * table_cells);
  if (!tables.data) return OUT_OF_MEMORY;
  if (!shared) memset(tables.data, 0, static_cast<size_t>(threads * table_cells) * sizeof(int64_t));

  // A task is some rows, or a part of one long row.
  const int64_t segments = ceil_div(width, SEGMENT), pieces = images * height * segments;
  const int64_t group = larger(1, smaller(64, pieces / (8 * threads)));
  parallel_for(threads, ceil_div(pieces, group), [&](int64_t task, int thread) {
    int32_t t[SEGMENT], p[SEGMENT];
    for (int64_t piece = task * group; piece < smaller(pieces, (task + 1) * group); ++piece) {
      const int64_t column = piece % segments * SEGMENT, row = piece / segments % height;
      const int64_t count = smaller(SEGMENT, width - column);
      read_pairs(targets, predictions, piece / segments / height, row, column, count, num_classes, ignore_index, t, p);
      if (shared)
        count_pairs_shared(t, p, count, num_classes, matrix);
      else
        count_pairs(t, p, count, num_classes, tables.data + thread * table_cells);
    }
  });
  if (!shared)
    for (int64_t thread = 0; thread < threads; ++thread)
      for (int64_t i = 0; i < cells; ++i) matrix[i] += tables.data[thread * table_cells + i];
  return OK;
}
