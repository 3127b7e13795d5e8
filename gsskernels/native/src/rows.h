// A run of pixels as three rows of float32: pointers into the image if it is planar float32, else a small copy.
#pragma once

#include "convert.h"
#include "lanes.h"
#include "parallel.h"

namespace {

constexpr int64_t SEGMENT = 512;  // pixels handled at a time: their colours, cells and queue stay in the first cache

struct Image {
  const void* data;
  int32_t dtype;
  int64_t height, width;
  int64_t batch_stride, channel_stride, row_stride, column_stride;
};

struct Pixels {
  const float* color[3];
  Pixels from(int64_t i) const { return {{color[0] + i, color[1] + i, color[2] + i}}; }
};

inline float as_float(uint8_t x) { return x; }
inline float as_float(float x) { return x; }
inline float as_float(double x) { return static_cast<float>(x); }

// Channels last: all three rows in one loop, which compilers turn into shuffles.
template <class T>
void split_channels(const T* __restrict p, int64_t count, float* __restrict r, float* __restrict g,
                    float* __restrict b) {
  for (int64_t i = 0; i < count; ++i) {
    r[i] = as_float(p[3 * i]);
    g[i] = as_float(p[3 * i + 1]);
    b[i] = as_float(p[3 * i + 2]);
  }
}

inline void read_row(const void* data, int32_t dtype, int64_t stride, int64_t count, float* out) {
#if defined(__AVX512F__)
  if (dtype == F16 && stride == 1) {
    const uint16_t* p = static_cast<const uint16_t*>(data);
    int64_t i = 0;
    for (; i + 16 <= count; i += 16) _mm512_storeu_ps(out + i, _mm512_maskz_cvtph_ps(ALL_LANES, _mm256_loadu_si256((const __m256i*)(p + i))));
    for (; i < count; ++i) out[i] = fp16_to_float(p[i]);
    return;
  }
#elif defined(__F16C__)
  if (dtype == F16 && stride == 1) {
    const uint16_t* p = static_cast<const uint16_t*>(data);
    int64_t i = 0;
    for (; i + 8 <= count; i += 8) _mm256_storeu_ps(out + i, _mm256_cvtph_ps(_mm_loadu_si128((const __m128i*)(p + i))));
    for (; i < count; ++i) out[i] = fp16_to_float(p[i]);
    return;
  }
#endif
  read_floats(data, dtype, stride, count, out);
}

// Pixels column .. column+count-1 of row `row`. `buffer` holds 3 rows, `pitch` apart, for layouts that must be copied.
inline Pixels read_pixels(const Image& image, int64_t batch, int64_t row, int64_t column, int64_t count, float* buffer,
                          int64_t pitch) {
  const int64_t start =
      batch * image.batch_stride + row * image.row_stride + column * image.column_stride;
  const void* first = offset(image.data, image.dtype, start);
  if (image.dtype == F32 && image.column_stride == 1) {
    const float* p = static_cast<const float*>(first);
    return {{p, p + image.channel_stride, p + 2 * image.channel_stride}};
  }
  float* rows[3] = {buffer, buffer + pitch, buffer + 2 * pitch};
  if (image.channel_stride == 1 && image.column_stride == 3 && image.dtype == U8) {
    split_channels(static_cast<const uint8_t*>(first), count, rows[0], rows[1], rows[2]);
  } else if (image.channel_stride == 1 && image.column_stride == 3 && image.dtype == F32) {
    split_channels(static_cast<const float*>(first), count, rows[0], rows[1], rows[2]);
  } else {
    for (int c = 0; c < 3; ++c)
      read_row(offset(first, image.dtype, c * image.channel_stride), image.dtype, image.column_stride, count, rows[c]);
  }
  return {{rows[0], rows[1], rows[2]}};
}

}  // namespace
