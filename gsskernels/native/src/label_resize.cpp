// Resizes label maps by vote, see resize.h. Ignored labels and labels outside the classes vote together as class K,
// which loses ties.
//
// A thread takes a band of output rows and keeps two source rows, converted and spread over the output's columns; where
// all four neighbours are equal (one comparison for a vector of labels) there is no vote.
//
// AMD EPYC (Zen 4), 2 cores, 2026-11-26: 1024x2048 to 512x1024, K = 19 1.70 ms; 128x128 to 512x512, K = 150 0.15 ms.
#include "resize.h"

#include "abi.h"
#include "bands.h"
#include "convert.h"

namespace {

struct Labels {
  const void* data;
  int32_t dtype;
  int64_t batch, height, width;
  int64_t batch_stride, row_stride, column_stride;
  int64_t num_classes, ignore_index;
};

template <class Class, class T>
void read_classes(const Labels& labels, const T* p, Class* out) {
  const int64_t stride = labels.column_stride;
  const Class other = static_cast<Class>(labels.num_classes);
  for (int64_t i = 0; i < labels.width; ++i) {
    const int64_t id = p[i * stride];
    out[i] = id < 0 || id >= labels.num_classes || id == labels.ignore_index ? other : static_cast<Class>(id);
  }
}

template <class Class, class T>
void write_labels(const Labels& labels, const Class* classes, int64_t count, T* out) {
  const Class other = static_cast<Class>(labels.num_classes);
  const T ignored = static_cast<T>(labels.ignore_index);
  for (int64_t i = 0; i < count; ++i) out[i] = classes[i] == other ? ignored : static_cast<T>(classes[i]);
}

template <class Class, class T>
int64_t resize_labels(const Labels& labels, int64_t out_height, int64_t out_width, T* out, int threads) {
  const Axis rows = {labels.height, out_height};
  const Columns columns({labels.width, out_width});
  if (!columns.ready()) return OUT_OF_MEMORY;
  threads = worthwhile_threads(threads, labels.batch * out_height * out_width, 16384);
  const Bands bands(labels.batch, out_height, threads);
  bool out_of_memory = false;
  parallel_for(threads, bands.count(), [&](int64_t task, int) {
    const Band band = bands[task];
    const int64_t pitch = out_width + 2 * LANES;
    Scratch<Class> source(labels.width), spread_rows(5 * pitch);
    if (!source.data || !spread_rows.data) {
      __atomic_store_n(&out_of_memory, true, __ATOMIC_RELAXED);
      return;
    }
    Class* voted = spread_rows.data + 4 * pitch;
    TwoRows kept;
    for (int64_t y = band.begin; y < band.end; ++y) {
      const Sample at = rows[y];
      kept.need(at.near, at.far, [&](int64_t row, int slot) {
        const int64_t start = band.batch * labels.batch_stride + row * labels.row_stride;
        read_classes(labels, static_cast<const T*>(labels.data) + start, source.data);
        spread(source.data, columns, spread_rows.data + 2 * slot * pitch, spread_rows.data + (2 * slot + 1) * pitch);
      });
      const Class* upper = spread_rows.data + 2 * kept.slot_of(at.near) * pitch;
      const Class* lower = spread_rows.data + 2 * kept.slot_of(at.far) * pitch;
      vote_row<Class>({upper, upper + pitch, lower, lower + pitch}, at.w0, at.w1, columns, voted);
      write_labels(labels, voted, out_width, out + (band.batch * out_height + y) * out_width);
    }
  });
  return out_of_memory ? OUT_OF_MEMORY : OK;
}

template <class T>
int64_t resize_labels_as(const Labels& labels, int64_t out_height, int64_t out_width, void* out, int threads) {
  if (labels.num_classes <= 255)
    return resize_labels<uint8_t>(labels, out_height, out_width, static_cast<T*>(out), threads);
  return resize_labels<int32_t>(labels, out_height, out_width, static_cast<T*>(out), threads);
}

}  // namespace

// labels (B, H, W) with strides -> out (B, H', W') contiguous, of the same integer dtype. num_classes < 2^31, nothing is
// empty.
GSS_FUNCTION(label_resize)(const void* data, int32_t dtype, int64_t batch, int64_t height, int64_t width,
                           int64_t batch_stride, int64_t row_stride, int64_t column_stride, int64_t num_classes,
                           int64_t ignore_index, int64_t out_height, int64_t out_width, void* out, int32_t threads) {
  const Labels labels = {data, dtype, batch, height, width, batch_stride, row_stride, column_stride, num_classes, ignore_index};
  switch (dtype) {
    case U8: return resize_labels_as<uint8_t>(labels, out_height, out_width, out, threads);
    case I8: return resize_labels_as<int8_t>(labels, out_height, out_width, out, threads);
    case I16: return resize_labels_as<int16_t>(labels, out_height, out_width, out, threads);
    case I32: return resize_labels_as<int32_t>(labels, out_height, out_width, out, threads);
    case I64: return resize_labels_as<int64_t>(labels, out_height, out_width, out, threads);
    default: return UNSUPPORTED_DTYPE;
  }
}
