// A palette prepared for decoding: a grid over the colour cube whose cells list the classes that can win inside them.
//
// cells.cpp builds the grid and proves that the omitted classes cannot win. A word of the grid is
//   0 .. pure-1                the class that wins everywhere in the cell,
//   pure .. pure+short_lists-1 a list of at most four classes: block `word - pure`,
//   above                      a longer list: its blocks are long_begin[i] .. long_begin[i+1]-1, i = word-pure-short_lists,
//   OUTSIDE                    only in the last word: pixels that are in no cell, including NaN.
// Lists are in ascending class order. Immutable once built, and the same for every instruction set.
#pragma once

#include <stdint.h>

#include "simd.h"

namespace {

typedef float Four __attribute__((vector_size(16)));

// Four colours of a list, one cache line. Unused places are infinitely far away.
struct Block {
  float color[3][4];
  int32_t label[4];
};

constexpr uint32_t OUTSIDE = 0xFFFF;
constexpr float ROUNDS_TO_INTEGER = 12582912.0f;  // 1.5 * 2^23: adding it leaves round(x) in the low bits

struct Cells {
  int32_t bits;         // 2^bits cells along each axis
  int32_t order;        // 1: lists hold every class that can be nearest; 2: or second nearest
  int32_t pure;         // words below this are classes
  int32_t short_lists;
  float low[3];         // the centre of the first cell
  float per_unit[3];    // cells per unit of colour
  uint16_t* words;      // red-major, 2^(3 bits) of them, then OUTSIDE
  Block* blocks;
  int32_t* long_begin;
  int64_t num_words, num_blocks, num_long;
};

// The cell of every pixel, or the index of the last word. Adding a large number rounds to the nearest cell centre
// without a conversion; for pixels outside, including NaN, the resulting integers are not in 0 .. 2^bits-1.
inline Ints cell_of(const Cells& cells, Floats red, Floats green, Floats blue) {
  typedef uint32_t Words __attribute__((vector_size(GSS_VECTOR_BYTES)));
  const Floats magic = broadcast(ROUNDS_TO_INTEGER);
  const Words zero = (Words)magic;
  const Words r = (Words)fused(red - cells.low[0], broadcast(cells.per_unit[0]), magic) - zero;
  const Words g = (Words)fused(green - cells.low[1], broadcast(cells.per_unit[1]), magic) - zero;
  const Words b = (Words)fused(blue - cells.low[2], broadcast(cells.per_unit[2]), magic) - zero;
  const Words index = (r << (2 * cells.bits)) | (g << cells.bits) | b;
  const Ints inside = (r | g | b) < (Words{} + (1u << cells.bits));
  return inside ? (Ints)index : broadcast(1 << (3 * cells.bits));
}

}  // namespace
