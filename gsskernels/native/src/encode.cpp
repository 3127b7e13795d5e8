// Paints a label map in the colours of a palette.
//
//   row   = label if it is in 0..K-1 and not the ignore index, else K
//   table = [palette; ignore colour] * scale + shift     in float32, rounded once to the output's dtype
//   out[image, channel, pixel] = table[row, channel]
//
// Every value is computed once a call, in the table, and painting only copies bits, so the result equals the reference
// in every bit. With up to 255 classes all labels are narrowed to bytes and the table has 256 rows: there is no
// comparison per pixel. There are three ways to look up, depending on the table and the output:
//   permuted    AVX-512: the table stays in registers (float32: K <= 31, 16 bits: K <= 63, uint8 with VBMI: any K).
//   transposed  rows of four elements are loaded whole and a few of them transposed; 64 equal labels are painted by
//               three broadcasts, which is most of a real label map.
//   scattered   output strides that are neither planes nor packed pixels.
// Output that would not stay in the last cache is written past the caches: blocks are painted in L1 and streamed from
// there in whole cache lines, whatever the alignment of the planes.
//
// AMD EPYC (Zen 4), 2 cores, 2026-11-26, 1024x2048, K = 19: to float32 0.88 ms, 103 % of the rate of a copy; to
// bfloat16 0.22 ms and uint8 0.16 ms, which stay in the last cache. It is slow where AVX2 is the best
// instruction set and the output has 16 bits: 6.5 ms to bfloat16.
#include "class_ids.h"
#include "interleave.h"
#include "permute_colors.h"

namespace {

constexpr int64_t BLOCK = 2048;           // pixels painted at a time: ids and stage stay in L1
constexpr int64_t STRIDED_COLUMNS = 128;  // of a block whose labels lie apart: its cache lines serve the next rows too
constexpr int64_t CHANNELS = 3;

struct Map {  // the geometry of labels and output, strides in elements
  const void* labels;
  int32_t dtype;
  int64_t images, height, width, image_stride, row_stride, column_stride;
  int64_t out_image_stride, channel_stride, pixel_stride;
};

struct Colors {  // the affine map of a palette
  const void* palette;
  int32_t dtype;
  int64_t classes, row_stride, channel_stride, ignore_index;
  float scale, shift, ignore[CHANNELS];

  float value(int64_t row, int64_t channel) const {
    const bool known = row < classes && row != ignore_index;
    const float color =
        known ? element_as_float(palette, dtype, row * row_stride + channel * channel_stride) : ignore[channel];
    const float scaled = color * scale;
    return scaled + shift;
  }
};

inline void round_to(float value, int32_t, uint32_t* out) { *out = bits_of(value); }
inline void round_to(float value, int32_t dtype, uint16_t* out) {
  *out = dtype == F16 ? float_to_fp16(value) : float_to_bf16(value);
}
inline void round_to(float value, int32_t, uint8_t* out) {
  const float rounded = rintf(value);
  *out = rounded >= 255.0f ? 255 : rounded > 0.0f ? static_cast<uint8_t>(rounded) : 0;  // NaN gives 0
}

template <class Element>
void fill_table(const Colors& colors, int64_t rows, int32_t out_dtype, Element* table) {
  for (int64_t row = 0; row < rows; ++row) {
    Element* entry = table + 4 * row;
    if (row > colors.classes) {
      memcpy(entry, entry - 4, 4 * sizeof(Element));
      continue;
    }
    for (int64_t c = 0; c < CHANNELS; ++c) round_to(colors.value(row, c), out_dtype, entry + c);
    entry[CHANNELS] = 0;
  }
}

// --- transposed look-up -------------------------------------------------------------------------------------------

template <class Vector, class T>
inline Vector first_of(const T* p) {  // the rest is zero
  Vector v{};
  memcpy(&v, p, 4 * sizeof(T));
  return v;
}
template <class T, class Vector>
inline void put(T* p, Vector v) {
  memcpy(p, &v, sizeof v);
}

// Sixteen bytes of each channel: four pixels of 32 bits, eight of 16 or sixteen of 8.
template <class Id>
inline void paint_few(const Id* ids, const uint32_t* table, uint32_t* red, uint32_t* green, uint32_t* blue) {
  const Words4 a = first_of<Words4>(table + 4 * ids[0]), b = first_of<Words4>(table + 4 * ids[1]);
  const Words4 c = first_of<Words4>(table + 4 * ids[2]), d = first_of<Words4>(table + 4 * ids[3]);
  const Pairs2 ab = (Pairs2)low(a, b), cd = (Pairs2)low(c, d);
  put(red, low(ab, cd));
  put(green, high(ab, cd));
  put(blue, low((Pairs2)high(a, b), (Pairs2)high(c, d)));
}
template <class Id>
inline void paint_few(const Id* ids, const uint16_t* table, uint16_t* red, uint16_t* green, uint16_t* blue) {
  Words4 pairs[4];
  for (int k = 0; k < 4; ++k)
    pairs[k] = (Words4)low(first_of<Shorts8>(table + 4 * ids[2 * k]), first_of<Shorts8>(table + 4 * ids[2 * k + 1]));
  const Pairs2 first = (Pairs2)low(pairs[0], pairs[1]), second = (Pairs2)low(pairs[2], pairs[3]);
  put(red, low(first, second));
  put(green, high(first, second));
  put(blue, low((Pairs2)high(pairs[0], pairs[1]), (Pairs2)high(pairs[2], pairs[3])));
}
template <class Id>
inline void paint_few(const Id* ids, const uint8_t* table, uint8_t* red, uint8_t* green, uint8_t* blue) {
  Words4 fours[4];
  for (int k = 0; k < 4; ++k) {
    const Id* id = ids + 4 * k;
    const Bytes16 ab = low(first_of<Bytes16>(table + 4 * id[0]), first_of<Bytes16>(table + 4 * id[1]));
    const Bytes16 cd = low(first_of<Bytes16>(table + 4 * id[2]), first_of<Bytes16>(table + 4 * id[3]));
    fours[k] = (Words4)low((Shorts8)ab, (Shorts8)cd);
  }
  const Pairs2 first = (Pairs2)low(fours[0], fours[1]), second = (Pairs2)low(fours[2], fours[3]);
  put(red, low(first, second));
  put(green, high(first, second));
  put(blue, low((Pairs2)high(fours[0], fours[1]), (Pairs2)high(fours[2], fours[3])));
}

template <class Element, class Id>
void paint_transposed(const Id* ids, int64_t count, const Element* table, Element* const (&out)[CHANNELS]) {
  constexpr int64_t RUN = 64, FEW = 16 / sizeof(Element);
  int64_t i = 0;
  for (; i + RUN <= count; i += RUN) {
    if (uniform<RUN>(ids + i)) {
      const Element* entry = table + 4 * static_cast<int64_t>(ids[i]);
      for (int64_t c = 0; c < CHANNELS; ++c)
        for (int64_t j = 0; j < RUN; ++j) out[c][i + j] = entry[c];
    } else {
      for (int64_t j = i; j < i + RUN; j += FEW) paint_few(ids + j, table, out[0] + j, out[1] + j, out[2] + j);
    }
  }
  for (; i < count; ++i)
    for (int64_t c = 0; c < CHANNELS; ++c) out[c][i] = table[4 * static_cast<int64_t>(ids[i]) + c];
}

// --- packed and scattered pixels ----------------------------------------------------------------------------------

template <class Element, class Id>
void paint_packed(const Id* ids, int64_t count, const Element* table, Element* out) {
  // Four elements are written for a pixel; the next pixel overwrites the fourth. The last pixel is written separately.
  for (int64_t i = 0; i + 1 < count; ++i)
    memcpy(out + CHANNELS * i, table + 4 * static_cast<int64_t>(ids[i]), 4 * sizeof(Element));
  if (count > 0)
    memcpy(out + CHANNELS * (count - 1), table + 4 * static_cast<int64_t>(ids[count - 1]), CHANNELS * sizeof(Element));
}

template <class Element, class Id>
void paint_scattered(const Id* ids, int64_t count, const Element* table, Element* out, const Map& map) {
  for (int64_t i = 0; i < count; ++i)
    for (int64_t c = 0; c < CHANNELS; ++c)
      out[i * map.pixel_stride + c * map.channel_stride] = table[4 * static_cast<int64_t>(ids[i]) + c];
}

// --- a block, a map -----------------------------------------------------------------------------------------------

template <class Element, class Id>
struct Painter {
  const Map& map;
  const Element* table;
  const Planes<Element>* planes;  // null if the table does not fit registers
  bool past_caches;

  void paint_planes(const Id* ids, int64_t count, Element* const (&out)[CHANNELS]) const {
    if (planes)
      paint_permuted(ids, count, *planes, out);
    else
      paint_transposed(ids, count, table, out);
  }

  // A run of pixels that follow each other in the output.
  void paint(const Id* ids, int64_t count, Element* out) const {
    alignas(64) Element stage[CHANNELS * BLOCK];
    if (map.pixel_stride == 1 && map.channel_stride != 1) {
      Element* const direct[CHANNELS] = {out, out + map.channel_stride, out + 2 * map.channel_stride};
      if (!past_caches) return paint_planes(ids, count, direct);
      Element* const staged[CHANNELS] = {stage, stage + BLOCK, stage + 2 * BLOCK};
      paint_planes(ids, count, staged);
      for (int64_t c = 0; c < CHANNELS; ++c) stream(direct[c], staged[c], count * static_cast<int64_t>(sizeof(Element)));
    } else if (map.channel_stride == 1 && map.pixel_stride == CHANNELS) {
      if (!past_caches) return paint_packed(ids, count, table, out);
      paint_packed(ids, count, table, stage);
      stream(out, stage, CHANNELS * count * static_cast<int64_t>(sizeof(Element)));
    } else {
      paint_scattered(ids, count, table, out, map);
    }
  }

  // Rows first_row..+rows and columns first_column..+columns of an image, at most BLOCK pixels.
  void paint_block(Element* out, int64_t image, int64_t first_row, int64_t rows, int64_t first_column,
                   int64_t columns) const {
    alignas(64) Id buffer[BLOCK];
    const int64_t limit = sizeof(Id) == 1 ? 255 : rows_of_table - 1;
    const bool bytes = map.dtype == U8 || map.dtype == I8;
    const bool direct = sizeof(Id) == 1 && bytes && map.column_stride == 1 && rows == 1;
    Element* at = out + image * map.out_image_stride + (first_row * map.width + first_column) * map.pixel_stride;
    const int64_t label = image * map.image_stride + first_row * map.row_stride + first_column * map.column_stride;
    if (direct) return paint(static_cast<const Id*>(map.labels) + label, columns, at);
    for (int64_t r = 0; r < rows; ++r)
      read_ids(map.labels, map.dtype, label + r * map.row_stride, map.column_stride, columns, limit,
               buffer + r * columns);
    if (columns == map.width) return paint(buffer, rows * columns, at);
    for (int64_t r = 0; r < rows; ++r) paint(buffer + r * columns, columns, at + r * map.width * map.pixel_stride);
  }

  int64_t rows_of_table;
};

template <class Element, class Id>
int64_t encode(const Map& map, const Colors& colors, Element* out, int32_t out_dtype, bool past_caches, int threads) {
  const int64_t table_rows = sizeof(Id) == 1 ? 256 : colors.classes + 1;
  alignas(64) Element small_table[sizeof(Id) == 1 ? 4 * 256 : 4];
  Scratch<Element> large_table(sizeof(Id) == 1 ? 0 : 4 * table_rows);
  if (!large_table.data) return OUT_OF_MEMORY;
  Element* table = sizeof(Id) == 1 ? small_table : large_table.data;
  fill_table(colors, table_rows, out_dtype, table);

  Planes<Element> planes;
  const bool permuted = sizeof(Id) == 1 && planes.fill(table, colors.classes);
  const Painter<Element, Id> painter{map, table, permuted ? &planes : nullptr, past_caches, table_rows};

  const int64_t columns = smaller(map.width, map.column_stride > 1 ? STRIDED_COLUMNS : BLOCK);
  const int64_t rows = smaller(map.height, BLOCK / columns);
  const int64_t across = ceil_div(map.width, columns), down = ceil_div(map.height, rows);
  const int64_t blocks = map.images * down * across;
  threads = worthwhile_threads(threads, map.images * map.height * map.width, 1 << 15);
  const int64_t group = larger(1, smaller(32, blocks / (8 * threads)));  // blocks of a task
  parallel_for(threads, ceil_div(blocks, group), [&](int64_t task, int) {
    for (int64_t block = task * group; block < smaller(blocks, (task + 1) * group); ++block) {
      const int64_t first_column = block % across * columns, first_row = block / across % down * rows;
      painter.paint_block(out, block / across / down, first_row, smaller(rows, map.height - first_row), first_column,
                          smaller(columns, map.width - first_column));
    }
    if (past_caches) finish_streams();
  });
  return OK;
}

template <class Element>
int64_t encode(const Map& map, const Colors& colors, void* out, int32_t out_dtype, bool past_caches, int threads) {
  Element* elements = static_cast<Element*>(out);
  const bool bytes = map.dtype == U8 || map.dtype == I8;  // K <= 256 then, and the byte itself is the row
  if (bytes || colors.classes <= 255)
    return encode<Element, uint8_t>(map, colors, elements, out_dtype, past_caches, threads);
  return encode<Element, int32_t>(map, colors, elements, out_dtype, past_caches, threads);
}

}  // namespace

// labels (images, height, width) and palette (classes, 3) with their strides. The output has the dtype U8, F16, BF16 or
// F32; channel_stride and pixel_stride make it planes (height * width and 1) or channels-last (1 and 3), and rows of
// pixels follow each other. Outputs of more than cache_bytes are written past the caches.
GSS_FUNCTION(maskige_encode)
(const void* labels, int32_t label_dtype, int64_t images, int64_t height, int64_t width, int64_t image_stride,
 int64_t row_stride, int64_t column_stride, const void* palette, int32_t palette_dtype, int64_t classes,
 int64_t palette_row_stride, int64_t palette_channel_stride, float scale, float shift, int64_t ignore_index,
 float ignore_red, float ignore_green, float ignore_blue, void* out, int32_t out_dtype, int64_t out_image_stride,
 int64_t channel_stride, int64_t pixel_stride, int64_t cache_bytes, int32_t threads) {
  if (images * height * width == 0) return OK;
  Map map{labels, label_dtype, images, height, width, image_stride, row_stride, column_stride,
          out_image_stride, channel_stride, pixel_stride};
  if (row_stride == width * column_stride) {  // an image is one long row
    map.width = height * width;
    map.height = 1;
  }
  const Colors colors{palette, palette_dtype, classes, palette_row_stride, palette_channel_stride, ignore_index,
                      scale, shift, {ignore_red, ignore_green, ignore_blue}};
  const bool past_caches = CHANNELS * images * height * width * dtype_bytes(out_dtype) > cache_bytes;
  switch (out_dtype) {
    case U8: return encode<uint8_t>(map, colors, out, out_dtype, past_caches, threads);
    case F16: case BF16: return encode<uint16_t>(map, colors, out, out_dtype, past_caches, threads);
    case F32: return encode<uint32_t>(map, colors, out, out_dtype, past_caches, threads);
    default: return UNSUPPORTED_DTYPE;
  }
}
