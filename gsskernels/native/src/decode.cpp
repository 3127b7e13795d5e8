// The map X^-1: class maps from images of colours, resized or scored in the same pass. nearest.h finds the colours.
//
//   same size      segments of pixels, each decoded straight into the result
//   resize="vote"  a band of output rows keeps two decoded source rows, spread over the output's columns, and votes;
//                  source rows that no output row reads are not decoded
//   resize="rgb"   the same with two rows of colours; the blended row is decoded
//   evaluate       every output row is counted against its target while it is in the first cache, and is not stored
//
// Extra memory: a few rows and, for evaluate, one table of counts a thread.
//
// AMD EPYC (Zen 4), 2 cores, 2026-11-26: 1024x2048, K = 19, float32 2.44 ms, uint8 2.15 ms, where
// copying the float32 bytes takes 0.91 ms; 512x512, K = 19 0.20 ms, K = 150 0.25 ms, K = 194 0.32 ms; decoded, resized
// from 256x512 to 1024x2048 and scored 3.06 ms. The lookup of a cell for every pixel, not memory, makes it slower than
// a copy.
#include "abi.h"
#include "bands.h"
#include "counts.h"
#include "nearest.h"
#include "resize.h"

namespace {

enum Resize : int32_t { SAME_SIZE = 0, VOTE = 1, RGB = 2 };

struct Size {
  int64_t batch, height, width;
};

// A sink tells where a run of labels (and margins) of an output row is written, and is called when the run is complete.

template <class Label>
struct Writer {
  Label* labels;
  float* margins;  // null: not asked for
  Size size;

  int64_t at(int64_t batch, int64_t y, int64_t x) const { return (batch * size.height + y) * size.width + x; }
  Label* labels_at(int, int64_t batch, int64_t y, int64_t x) const { return labels + at(batch, y, x); }
  float* margins_at(int, int64_t batch, int64_t y, int64_t x) const { return margins ? margins + at(batch, y, x) : nullptr; }
  void written(int, int64_t, int64_t, int64_t, int64_t) const {}
};

struct Target {
  const void* data;
  int32_t dtype;
  int64_t batch_stride, row_stride, column_stride;
  int64_t ignore_index;
};

template <class Label>
struct Counter {
  Target target;
  int64_t num_classes, pitch;
  Label* rows;         // one of `pitch` a thread
  int32_t* ids;        // SEGMENT a thread
  int64_t* tables;     // one of (K + 1) K a thread, or null: all threads share `shared`
  int64_t* shared;

  Label* labels_at(int thread, int64_t, int64_t, int64_t) const { return rows + thread * pitch; }
  float* margins_at(int, int64_t, int64_t, int64_t) const { return nullptr; }
  void written(int thread, int64_t batch, int64_t y, int64_t x, int64_t count) const {
    int32_t* wanted = ids + thread * SEGMENT;
    const Label* found = rows + thread * pitch;
    for (int64_t i = 0; i < count; i += SEGMENT) {
      const int64_t n = smaller(SEGMENT, count - i);
      const int64_t start = batch * target.batch_stride + y * target.row_stride + (x + i) * target.column_stride;
      read_targets(offset(target.data, target.dtype, start), target.dtype, target.column_stride, n, num_classes,
                   target.ignore_index, wanted);
      if (tables)
        count_pairs(wanted, found + i, n, num_classes, tables + thread * (num_classes + 1) * num_classes);
      else
        count_pairs_shared(wanted, found + i, n, num_classes, shared);
    }
  }
};

template <class Sink>
int64_t decode_same_size(const Image& image, int64_t batch, const Palette& palette, const Sink& sink, int threads) {
  const int64_t per_row = ceil_div(image.width, SEGMENT), segments = batch * image.height * per_row;
  const int64_t a_task = larger(1, 16384 / smaller(image.width, SEGMENT));
  parallel_for(threads, ceil_div(segments, a_task), [&](int64_t task, int thread) {
    float buffer[3 * SEGMENT];
    for (int64_t s = task * a_task; s < smaller(segments, (task + 1) * a_task); ++s) {
      const int64_t x = s % per_row * SEGMENT, y = s / per_row % image.height, b = s / per_row / image.height;
      const int64_t count = smaller(SEGMENT, image.width - x);
      nearest(palette, read_pixels(image, b, y, x, count, buffer, SEGMENT), count, sink.labels_at(thread, b, y, x),
              sink.margins_at(thread, b, y, x));
      sink.written(thread, b, y, x, count);
    }
  });
  return OK;
}

template <class Label, class Sink>
int64_t decode_and_vote(const Image& image, const Size& size, const Palette& palette, bool margin, const Sink& sink,
                        int threads) {
  const Axis rows = {image.height, size.height};
  const Columns columns({image.width, size.width});
  if (!columns.ready()) return OUT_OF_MEMORY;
  const Bands bands(size.batch, size.height, threads);
  bool out_of_memory = false;
  parallel_for(threads, bands.count(), [&](int64_t task, int thread) {
    const Band band = bands[task];
    const int64_t pitch = size.width + 2 * LANES;
    Scratch<Label> source(image.width), spread_rows(5 * pitch);
    Scratch<float> source_margin(margin ? image.width : 1), spread_margins(margin ? 5 * pitch : 1);
    if (!source.data || !spread_rows.data || !source_margin.data || !spread_margins.data) {
      __atomic_store_n(&out_of_memory, true, __ATOMIC_RELAXED);
      return;
    }
    float buffer[3 * SEGMENT];
    TwoRows kept;
    for (int64_t y = band.begin; y < band.end; ++y) {
      const Sample at = rows[y];
      kept.need(at.near, at.far, [&](int64_t row, int slot) {
        for (int64_t x = 0; x < image.width; x += SEGMENT) {
          const int64_t count = smaller(SEGMENT, image.width - x);
          nearest(palette, read_pixels(image, band.batch, row, x, count, buffer, SEGMENT), count, source.data + x,
                  margin ? source_margin.data + x : nullptr);
        }
        const int64_t left = 2 * slot * pitch;
        spread(source.data, columns, spread_rows.data + left, spread_rows.data + left + pitch);
        if (margin) spread(source_margin.data, columns, spread_margins.data + left, spread_margins.data + left + pitch);
      });
      const int64_t up = 2 * kept.slot_of(at.near) * pitch, low = 2 * kept.slot_of(at.far) * pitch;
      const Label* label = spread_rows.data;
      Label* voted = spread_rows.data + 4 * pitch;  // rounded up to whole vectors, so not yet in place
      vote_row<Label>({label + up, label + up + pitch, label + low, label + low + pitch}, at.w0, at.w1, columns, voted);
      memcpy(sink.labels_at(thread, band.batch, y, 0), voted, static_cast<size_t>(size.width) * sizeof(Label));
      if (margin) {
        const float* m = spread_margins.data;
        float* blended = spread_margins.data + 4 * pitch;
        bilinear_row({m + up, m + up + pitch, m + low, m + low + pitch}, at.w0, at.w1, columns, blended);
        float* out = sink.margins_at(thread, band.batch, y, 0);
        if (out) memcpy(out, blended, static_cast<size_t>(size.width) * sizeof(float));
      }
      sink.written(thread, band.batch, y, 0, size.width);
    }
  });
  return out_of_memory ? OUT_OF_MEMORY : OK;
}

template <class Sink>
int64_t blend_and_decode(const Image& image, const Size& size, const Palette& palette, const Sink& sink, int threads) {
  const Axis rows = {image.height, size.height};
  const Columns columns({image.width, size.width});
  if (!columns.ready()) return OUT_OF_MEMORY;
  const Bands bands(size.batch, size.height, threads);
  bool out_of_memory = false;
  parallel_for(threads, bands.count(), [&](int64_t task, int thread) {
    const Band band = bands[task];
    const int64_t pitch = size.width + 2 * LANES;
    Scratch<float> source(3 * image.width), spread_rows(12 * pitch), blended(3 * pitch);
    if (!source.data || !spread_rows.data || !blended.data) {
      __atomic_store_n(&out_of_memory, true, __ATOMIC_RELAXED);
      return;
    }
    const auto row_of = [&](int slot, int channel, int side) {
      return spread_rows.data + ((slot * 3 + channel) * 2 + side) * pitch;
    };
    TwoRows kept;
    for (int64_t y = band.begin; y < band.end; ++y) {
      const Sample at = rows[y];
      kept.need(at.near, at.far, [&](int64_t row, int slot) {
        const Pixels pixels = read_pixels(image, band.batch, row, 0, image.width, source.data, image.width);
        for (int c = 0; c < 3; ++c) spread(pixels.color[c], columns, row_of(slot, c, 0), row_of(slot, c, 1));
      });
      const int up = kept.slot_of(at.near), low = kept.slot_of(at.far);
      for (int c = 0; c < 3; ++c)
        bilinear_row({row_of(up, c, 0), row_of(up, c, 1), row_of(low, c, 0), row_of(low, c, 1)}, at.w0, at.w1, columns,
                     blended.data + c * pitch);
      const Pixels pixels = {{blended.data, blended.data + pitch, blended.data + 2 * pitch}};
      for (int64_t x = 0; x < size.width; x += SEGMENT) {
        const int64_t count = smaller(SEGMENT, size.width - x);
        nearest(palette, pixels.from(x), count, sink.labels_at(thread, band.batch, y, x),
                sink.margins_at(thread, band.batch, y, x));
        sink.written(thread, band.batch, y, x, count);
      }
    }
  });
  return out_of_memory ? OUT_OF_MEMORY : OK;
}

template <class Label, class Sink>
int64_t decode_into(const Image& image, const Size& size, int32_t resize, const Palette& palette, bool margin,
                    const Sink& sink, int threads) {
  if (resize == VOTE) return decode_and_vote<Label>(image, size, palette, margin, sink, threads);
  if (resize == RGB) return blend_and_decode(image, size, palette, sink, threads);
  return decode_same_size(image, size.batch, palette, sink, threads);
}

int threads_for(int threads, const Image& image, const Size& size, const Palette& palette) {
  const int64_t pixels = size.batch * larger(image.height * image.width, size.height * size.width);
  return worthwhile_threads(threads, pixels, palette.cells ? 12288 : 65536 / palette.num_classes + 1);
}

template <class Label>
int64_t decode(const Image& image, const Size& size, int32_t resize, const Palette& palette, void* labels,
               float* margins, int threads) {
  const Writer<Label> writer = {static_cast<Label*>(labels), margins, size};
  return decode_into<Label>(image, size, resize, palette, margins != nullptr, writer, threads);
}

constexpr int64_t LARGEST_TABLE = int64_t{1} << 20;  // counts: 8 MB a thread

template <class Label>
int64_t evaluate(const Image& image, const Size& size, int32_t resize, const Palette& palette, const Target& target,
                 int64_t* counts, int threads) {
  const int64_t num_classes = palette.num_classes, table = num_classes * (num_classes + 1);
  const bool shared = table > LARGEST_TABLE;
  const int64_t pitch = larger(SEGMENT, resize == VOTE ? size.width : 0);
  Scratch<Label> rows(threads * pitch);
  Scratch<int32_t> ids(threads * SEGMENT);
  Scratch<int64_t> tables(shared ? 1 : threads * table);
  if (!rows.data || !ids.data || !tables.data) return OUT_OF_MEMORY;
  if (!shared) memset(tables.data, 0, static_cast<size_t>(threads * table) * sizeof(int64_t));
  memset(counts, 0, static_cast<size_t>(num_classes * num_classes) * sizeof(int64_t));
  const Counter<Label> counter = {target,   num_classes, pitch, rows.data, ids.data, shared ? nullptr : tables.data,
                                  counts};
  const int64_t status = decode_into<Label>(image, size, resize, palette, false, counter, threads);
  if (!shared)
    for (int64_t thread = 0; thread < threads; ++thread)
      for (int64_t i = 0; i < num_classes * num_classes; ++i) counts[i] += tables.data[thread * table + i];
  return status;
}

}  // namespace

// image (B, 3, H, W) with strides, palette (K, 3) contiguous float32, `cells` a handle of prepare_cells or null; of order
// 2 if `margins` is not null. labels (B, H', W') uint8 for K <= 255, else int32; margins the same in float32, K > 1.
// (H', W') = (H, W) for resize 0. Nothing is empty.
GSS_FUNCTION(maskige_decode)(const void* data, int32_t dtype, int64_t batch, int64_t height, int64_t width,
                             int64_t batch_stride, int64_t channel_stride, int64_t row_stride, int64_t column_stride,
                             const float* colors, int64_t num_classes, const void* cells, int64_t out_height,
                             int64_t out_width, int32_t resize, void* labels, float* margins, int32_t threads) {
  Image image = {data, dtype, height, width, batch_stride, channel_stride, row_stride, column_stride};
  Size size = {batch, out_height, out_width};
  if (resize == SAME_SIZE && row_stride == width * column_stride) {
    image.width = size.width = height * width;
    image.height = size.height = 1;
  }
  const Palette palette = {colors, static_cast<int32_t>(num_classes), static_cast<const Cells*>(cells)};
  threads = threads_for(threads, image, size, palette);
  return num_classes <= 255 ? decode<uint8_t>(image, size, resize, palette, labels, margins, threads)
                            : decode<int32_t>(image, size, resize, palette, labels, margins, threads);
}

// The same, counted against target (B, H', W') of any integer dtype into counts (K, K): rows target, columns prediction.
GSS_FUNCTION(maskige_evaluate)(const void* data, int32_t dtype, int64_t batch, int64_t height, int64_t width,
                               int64_t batch_stride, int64_t channel_stride, int64_t row_stride, int64_t column_stride,
                               const float* colors, int64_t num_classes, const void* cells, int64_t out_height,
                               int64_t out_width, int32_t resize, const void* target_data, int32_t target_dtype,
                               int64_t target_batch_stride, int64_t target_row_stride, int64_t target_column_stride,
                               int64_t ignore_index, int64_t* counts, int32_t threads) {
  Image image = {data, dtype, height, width, batch_stride, channel_stride, row_stride, column_stride};
  Size size = {batch, out_height, out_width};
  if (resize == SAME_SIZE && row_stride == width * column_stride && target_row_stride == width * target_column_stride) {
    image.width = size.width = height * width;
    image.height = size.height = 1;
  }
  const Target target = {target_data,       target_dtype,         target_batch_stride,
                         target_row_stride, target_column_stride, ignore_index};
  const Palette palette = {colors, static_cast<int32_t>(num_classes), static_cast<const Cells*>(cells)};
  threads = threads_for(threads, image, size, palette);
  return num_classes <= 255 ? evaluate<uint8_t>(image, size, resize, palette, target, counts, threads)
                            : evaluate<int32_t>(image, size, resize, palette, target, counts, threads);
}
