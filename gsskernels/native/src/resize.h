// Bilinear resizing (align_corners=False) of class maps by weighted vote, and of float rows.
//
// Output i of an axis reads s = n/m * (i + 0.5) - 0.5, neighbours floor(s) and the next one inside the map, weights
// w1 = s - floor(s), w0 = 1 - w1. A class scores h0 * (w0*[a] + w1*[b]) + h1 * (w0*[c] + w1*[d]), in float32 and in that
// order. Only the classes of the four neighbours can win; ties go to the lowest class.
#pragma once

#include "parallel.h"
#include "lanes.h"

namespace {

struct Sample {
  int64_t near, far;
  float w0, w1;
};

struct Axis {
  int64_t inputs, outputs;

  Sample operator[](int64_t i) const {
    const float scale = static_cast<float>(static_cast<double>(inputs) / static_cast<double>(outputs));
    float source = static_cast<float>((static_cast<double>(i) + 0.5) * static_cast<double>(scale) - 0.5);
    source = source < 0 ? 0.0f : source;
    const int64_t near = smaller(static_cast<int64_t>(source), inputs - 1);
    float w1 = source - static_cast<float>(near);
    w1 = w1 < 0 ? 0.0f : w1 > 1 ? 1.0f : w1;
    return {near, smaller(near + 1, inputs - 1), 1 - w1, w1};
  }
};

// The samples of all columns. Neighbours are int32: a row of 2^31 pixels is refused by the caller.
struct Columns {
  int64_t outputs;
  Scratch<int32_t> near, far;
  Scratch<float> w0, w1;

  explicit Columns(Axis axis)
      : outputs(axis.outputs), near(outputs + LANES), far(outputs + LANES), w0(outputs + LANES), w1(outputs + LANES) {
    if (!ready()) return;
    for (int64_t i = 0; i < outputs + LANES; ++i) {
      const Sample sample = axis[smaller(i, outputs - 1)];
      near.data[i] = static_cast<int32_t>(sample.near);
      far.data[i] = static_cast<int32_t>(sample.far);
      w0.data[i] = sample.w0;
      w1.data[i] = sample.w1;
    }
  }
  bool ready() const { return near.data && far.data && w0.data && w1.data; }
};

// left[i] = row[near], right[i] = row[far] for every output column, and LANES more.
template <class T>
void spread(const T* row, const Columns& columns, T* left, T* right) {
  for (int64_t i = 0; i < columns.outputs + LANES; ++i) {
    left[i] = row[columns.near.data[i]];
    right[i] = row[columns.far.data[i]];
  }
}

inline Ints widen(const uint8_t* p) {
#if defined(__AVX512F__)
  return (Ints)_mm512_maskz_cvtepu8_epi32(ALL_LANES, _mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
#elif defined(__AVX2__)
  return (Ints)_mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
#else
  Ints v;
  for (int i = 0; i < LANES; ++i) v[i] = p[i];
  return v;
#endif
}
inline Ints widen(const int32_t* p) { return load(p); }

inline void narrow(Ints v, uint8_t* p) {
#if defined(__AVX512F__)
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_maskz_cvtepi32_epi8(ALL_LANES, (__m512i)v));
#else
  for (int i = 0; i < LANES; ++i) p[i] = static_cast<uint8_t>(v[i]);
#endif
}
inline void narrow(Ints v, int32_t* p) { store(p, v); }

// Two source rows around an output row, each already spread over the output's columns.
template <class T>
struct Corners {
  const T *a, *b, *c, *d;  // upper left, upper right, lower left, lower right
};

inline Ints vote(Ints a, Ints b, Ints c, Ints d, float h0, float h1, Floats w0, Floats w1) {
  const Floats zero = {};
  const auto weight = [&](Ints k) {
    const Floats upper = (a == k ? w0 : zero) + (b == k ? w1 : zero), lower = (c == k ? w0 : zero) + (d == k ? w1 : zero);
    return h0 * upper + h1 * lower;
  };
  Ints winner = a;
  Floats most = weight(a);
  const auto consider = [&](Ints k) {
    const Floats votes = weight(k);
    const Ints better = (votes > most) | ((votes == most) & (k < winner));
    winner = better ? k : winner;
    most = better ? votes : most;
  };
  consider(b);
  consider(c);
  consider(d);
  return winner;
}

// `out` has room for LANES more labels than there are columns.
template <class Label>
void vote_row(const Corners<Label>& at, float h0, float h1, const Columns& columns, Label* out) {
  typedef uint8_t Bytes __attribute__((vector_size(GSS_VECTOR_BYTES)));
  constexpr int64_t GROUP = GSS_VECTOR_BYTES / sizeof(Label);
  int64_t i = 0;
  while (i < columns.outputs) {
    if (i + GROUP <= columns.outputs) {  // neighbours are mostly equal: one comparison for a vector of labels
      Bytes a, b, c, d;
      memcpy(&a, at.a + i, sizeof a);
      memcpy(&b, at.b + i, sizeof b);
      memcpy(&c, at.c + i, sizeof c);
      memcpy(&d, at.d + i, sizeof d);
      const Bytes differ = (a ^ b) | (a ^ c) | (a ^ d);
      if (!any((Ints)differ != Ints{})) {
        memcpy(out + i, &a, sizeof a);
        i += GROUP;
        continue;
      }
    }
    const int64_t end = smaller(i + GROUP, columns.outputs);
    for (; i < end; i += LANES) {
      const Ints a = widen(at.a + i), b = widen(at.b + i), c = widen(at.c + i), d = widen(at.d + i);
      if (!any((a != b) | (a != c) | (a != d)))
        narrow(a, out + i);
      else
        narrow(vote(a, b, c, d, h0, h1, load(columns.w0.data + i), load(columns.w1.data + i)), out + i);
    }
    i = end;
  }
}

// Rounds as torch.nn.functional.interpolate does on processors with fused multiply-add, except for small images.
inline void bilinear_row(const Corners<float>& at, float h0, float h1, const Columns& columns, float* out) {
  for (int64_t i = 0; i < columns.outputs; i += LANES) {
    const Floats w0 = load(columns.w0.data + i), w1 = load(columns.w1.data + i);
    const Floats upper = fused(w0, load(at.a + i), w1 * load(at.b + i));
    const Floats lower = fused(w0, load(at.c + i), w1 * load(at.d + i));
    store(out + i, fused(broadcast(h0), upper, h1 * lower));
  }
}

}  // namespace
