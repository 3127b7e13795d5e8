// Encode's table held in registers and looked up by permutation, and stores that bypass the caches.
#pragma once

#include "simd.h"

namespace {

// The table of each channel, as long as one permutation can address; the last entry is the ignore colour.
template <class Element>
struct Planes {
#if defined(__AVX512VBMI__)
  static constexpr int64_t ROWS = sizeof(Element) == 1 ? 256 : 128 / sizeof(Element);
#elif defined(__AVX512BW__)
  static constexpr int64_t ROWS = sizeof(Element) == 1 ? 0 : 128 / sizeof(Element);
#else
  static constexpr int64_t ROWS = 0;
#endif
  alignas(64) Element channels[3][ROWS ? ROWS : 1];

  // Whether this processor can permute a table of so many classes, which is then copied from rows of four elements.
  bool fill(const Element* table, int64_t classes) {
    if (ROWS != 256 && classes >= ROWS) return false;
    for (int64_t c = 0; c < 3; ++c)
      for (int64_t row = 0; row < ROWS; ++row) channels[c][row] = table[4 * row + c];
    return ROWS > 0;
  }
};

#if defined(__AVX512BW__)

inline uint64_t first_bits(int64_t count) { return count >= 64 ? ~0ull : (1ull << count) - 1; }

inline void paint_permuted(const uint8_t* ids, int64_t count, const Planes<uint32_t>& planes, uint32_t* const (&out)[3]) {
  __m512i lower[3], upper[3];
  for (int c = 0; c < 3; ++c) {
    lower[c] = _mm512_load_si512(planes.channels[c]);
    upper[c] = _mm512_load_si512(planes.channels[c] + 16);
  }
  const __m128i last = _mm_set1_epi8(31);
  int64_t i = 0;
  for (; i + 16 <= count; i += 16) {
    const __m512i row = _mm512_cvtepu8_epi32(_mm_min_epu8(_mm_loadu_si128((const __m128i*)(ids + i)), last));
    for (int c = 0; c < 3; ++c)
      _mm512_storeu_si512(out[c] + i, _mm512_permutex2var_epi32(lower[c], row, upper[c]));
  }
  const __mmask16 rest = static_cast<__mmask16>(first_bits(count - i));
  const __m512i row = _mm512_cvtepu8_epi32(_mm_min_epu8(_mm_maskz_loadu_epi8(rest, ids + i), last));
  for (int c = 0; c < 3; ++c)
    _mm512_mask_storeu_epi32(out[c] + i, rest, _mm512_permutex2var_epi32(lower[c], row, upper[c]));
}

inline void paint_permuted(const uint8_t* ids, int64_t count, const Planes<uint16_t>& planes, uint16_t* const (&out)[3]) {
  __m512i lower[3], upper[3];
  for (int c = 0; c < 3; ++c) {
    lower[c] = _mm512_load_si512(planes.channels[c]);
    upper[c] = _mm512_load_si512(planes.channels[c] + 32);
  }
  const __m256i last = _mm256_set1_epi8(63);
  for (int64_t i = 0; i < count; i += 32) {
    const __mmask32 some = static_cast<__mmask32>(first_bits(count - i));
    const __m512i row = _mm512_cvtepu8_epi16(_mm256_min_epu8(_mm256_maskz_loadu_epi8(some, ids + i), last));
    for (int c = 0; c < 3; ++c)
      _mm512_mask_storeu_epi16(out[c] + i, some, _mm512_permutex2var_epi16(lower[c], row, upper[c]));
  }
}

#endif

#if defined(__AVX512VBMI__)
inline void paint_permuted(const uint8_t* ids, int64_t count, const Planes<uint8_t>& planes, uint8_t* const (&out)[3]) {
  __m512i table[3][4];
  for (int c = 0; c < 3; ++c)
    for (int k = 0; k < 4; ++k) table[c][k] = _mm512_load_si512(planes.channels[c] + 64 * k);
  for (int64_t i = 0; i < count; i += 64) {
    const __mmask64 some = first_bits(count - i);
    const __m512i row = _mm512_maskz_loadu_epi8(some, ids + i);
    const __mmask64 upper_half = _mm512_movepi8_mask(row);
    for (int c = 0; c < 3; ++c) {
      const __m512i first = _mm512_permutex2var_epi8(table[c][0], row, table[c][1]);
      const __m512i second = _mm512_permutex2var_epi8(table[c][2], row, table[c][3]);
      _mm512_mask_storeu_epi8(out[c] + i, some, _mm512_mask_mov_epi8(first, upper_half, second));
    }
  }
}
#endif

// Never called without such a permutation: `Planes::fill` has returned false.
template <class Id, class Element>
inline void paint_permuted(const Id*, int64_t, const Planes<Element>&, Element* const (&)[3]) {}

// Copies bytes past the caches, except for the partial cache lines at both ends.
inline void stream(void* to, const void* from, int64_t bytes) {
  char* out = static_cast<char*>(to);
  const char* in = static_cast<const char*>(from);
#if defined(__SSE2__)
  const int64_t head = static_cast<int64_t>(-reinterpret_cast<uintptr_t>(out) & 63);
  if (bytes >= head + 64) {
    memcpy(out, in, head);
    out += head, in += head, bytes -= head;
    for (; bytes >= 64; bytes -= 64, out += 64, in += 64) {
#if defined(__AVX512F__)
      _mm512_stream_si512((__m512i*)out, _mm512_loadu_si512(in));
#else
      for (int k = 0; k < 64; k += 16)
        _mm_stream_si128((__m128i*)(out + k), _mm_loadu_si128((const __m128i*)(in + k)));
#endif
    }
  }
#endif
  memcpy(out, in, bytes);
}

// Makes streamed bytes visible to other threads before this thread finishes.
inline void finish_streams() {
#if defined(__SSE2__)
  _mm_sfence();
#endif
}

}  // namespace
