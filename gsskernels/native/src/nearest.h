// The nearest palette colour of a run of pixels, by brute force or through cells, with the same result bit for bit.
//
// The distance is (r - pr)^2 + (g - pg)^2 + (b - pb)^2 in float32, in that order. Ties go to the lowest class, for the
// nearest and the second nearest colour. With cells, the words of a vector of pixels are gathered from the grid, and a
// word that is a class is the answer. The other pixels are queued and resolved afterwards with candidates across lanes,
// without a branch that random colours could mispredict. A vector whose pixels share a cell, as in smooth images, is
// compared at once with the candidates of that cell.
#pragma once

#include "brute.h"
#include "candidates.h"

namespace {

// Pixels put aside, in the order they came.
struct Queue {
  alignas(64) int32_t pixel[SEGMENT + LANES], word[SEGMENT + LANES];
  alignas(64) float color[3][SEGMENT + LANES];
  int64_t size = 0;

  Pixels pixels() const { return {{color[0], color[1], color[2]}}; }
  void move(int64_t from, int64_t to) {
    pixel[to] = pixel[from];
    for (int c = 0; c < 3; ++c) color[c][to] = color[c][from];
  }
  // Repeats the last pixel until the size is a multiple of LANES, for loops over whole vectors.
  void fill_up() {
    for (int64_t n = size; n % LANES != 0; ++n) {
      move(size - 1, n);
      word[n] = word[size - 1];
    }
  }
  void give_back(const int32_t* labels, const float* margins, Found& found) const {
    for (int64_t n = 0; n < size; ++n) {
      found.label[pixel[n]] = labels[n];
      if (margins) found.margin[pixel[n]] = margins[n];
    }
  }
#if defined(__AVX512F__)
  void append(__mmask16 which, __m512i new_pixels, __m512i new_words, const Pixels& from, int64_t i) {
    _mm512_storeu_si512(pixel + size, _mm512_maskz_compress_epi32(which, new_pixels));
    _mm512_storeu_si512(word + size, _mm512_maskz_compress_epi32(which, new_words));
    for (int c = 0; c < 3; ++c)
      _mm512_storeu_ps(color[c] + size, _mm512_maskz_compress_ps(which, _mm512_loadu_ps(from.color[c] + i)));
    size += __builtin_popcount(which);
  }
#endif
};

// Writes the labels of the pixels i .. i+LANES-1 whose words are classes. The other pixels go to one of two queues:
// lists of one block, and the rest.
inline void look_up(const Cells& cells, Ints cell, const Pixels& pixels, int64_t i, Found& found, Queue& one_block,
                    Queue& rest) {
  const int32_t longer = cells.pure + cells.short_lists;
#if defined(__AVX512F__)
  const __m512i pairs =
      _mm512_mask_i32gather_epi32(_mm512_setzero_si512(), ALL_LANES, (__m512i)cell, cells.words, 2);
  const __m512i words = _mm512_and_si512(pairs, _mm512_set1_epi32(0xFFFF));
  _mm512_storeu_si512(found.label + i, words);
  const __m512i numbers = _mm512_add_epi32((__m512i)lane_numbers(), _mm512_set1_epi32(static_cast<int32_t>(i)));
  const __mmask16 open = _mm512_cmpge_epi32_mask(words, _mm512_set1_epi32(cells.pure));
  const __mmask16 later = _mm512_cmpge_epi32_mask(words, _mm512_set1_epi32(longer));
  if (!open) return;
  one_block.append(static_cast<__mmask16>(open & ~later), numbers, words, pixels, i);
  if (later) rest.append(later, numbers, words, pixels, i);
#else
  int32_t index[LANES];
  store(index, cell);
  for (int lane = 0; lane < LANES; ++lane) {
    const int32_t word = cells.words[index[lane]];
    found.label[i + lane] = word;
    Queue& queue = word < longer ? one_block : rest;
    const int64_t n = queue.size;
    queue.pixel[n] = static_cast<int32_t>(i + lane);
    queue.word[n] = word;
    for (int c = 0; c < 3; ++c) queue.color[c][n] = pixels.color[c][i + lane];
    queue.size += word >= cells.pure;
  }
#endif
}

template <bool MARGIN>
void resolve_one_block(const Palette& palette, Queue& queue, Found& found) {
  if (queue.size == 0) return;
  const Cells& cells = *palette.cells;
  const Block* blocks = cells.blocks - cells.pure;
  Found answer;
  queue.fill_up();
#if defined(__AVX512F__)
  alignas(64) float p[3][SEGMENT + LANES], q[3][SEGMENT + LANES];
  for (int64_t n = 0; n < queue.size; n += 4) {
    const int32_t* word = queue.word + n;
    FourPixels four;
    four.rank<MARGIN>({blocks + word[0], blocks + word[1], blocks + word[2], blocks + word[3]},
                      {queue.color[0] + n, queue.color[1] + n, queue.color[2] + n});
    take(four.first, four.label, answer.label + n);
    if (MARGIN)
      for (int c = 0; c < 3; ++c) {
        take(four.first, four.color[c], p[c] + n);
        take(four.second, four.color[c], q[c] + n);
      }
  }
  if (MARGIN)
    for (int64_t n = 0; n < queue.size; n += LANES)
      store(answer.margin + n, wall_distance({load(queue.color[0] + n), load(queue.color[1] + n), load(queue.color[2] + n)},
                                             {load(p[0] + n), load(p[1] + n), load(p[2] + n)},
                                             {load(q[0] + n), load(q[1] + n), load(q[2] + n)}));
#else
  alignas(64) int32_t second[SEGMENT + LANES];
  for (int64_t n = 0; n < queue.size; ++n) {
    const Candidates list = {blocks + queue.word[n], 1};
    if (MARGIN)
      two_nearest_candidates(list, queue.color[0][n], queue.color[1][n], queue.color[2][n], answer.label + n, second + n);
    else
      answer.label[n] = nearest_candidate(list, queue.color[0][n], queue.color[1][n], queue.color[2][n]);
  }
  if (MARGIN) {
    for (int64_t n = queue.size; n % LANES != 0; ++n) answer.label[n] = second[n] = 0;
    for (int64_t n = 0; n < queue.size; n += LANES)
      store(answer.margin + n, wall_distance(queue.pixels(), n, palette, load(answer.label + n), load(second + n)));
  }
#endif
  queue.give_back(answer.label, MARGIN ? answer.margin : nullptr, found);
}

// Longer lists, one pixel at a time; pixels outside the grid are compared with all colours.
template <bool MARGIN>
void resolve_rest(const Palette& palette, Queue& queue, Found& found) {
  if (queue.size == 0) return;
  const Cells& cells = *palette.cells;
  Found answer;
  Queue outside;
  alignas(64) int32_t second[SEGMENT + LANES];
  int64_t listed = 0;
  for (int64_t n = 0; n < queue.size; ++n) {
    const float r = queue.color[0][n], g = queue.color[1][n], b = queue.color[2][n];
    if (queue.word[n] == static_cast<int32_t>(OUTSIDE)) {
      const int64_t m = outside.size++;
      outside.pixel[m] = queue.pixel[n];
      outside.color[0][m] = r;
      outside.color[1][m] = g;
      outside.color[2][m] = b;
      continue;
    }
    const Candidates list = candidates_of(cells, queue.word[n]);
    if (MARGIN)
      two_nearest_candidates(list, r, g, b, answer.label + listed, second + listed);
    else
      answer.label[listed] = nearest_candidate(list, r, g, b);
    queue.move(n, listed++);
  }
  queue.size = listed;
  if (listed > 0) {
    if (MARGIN) {
      for (int64_t n = listed; n % LANES != 0; ++n) answer.label[n] = second[n] = 0;
      for (int64_t n = 0; n < listed; n += LANES)
        store(answer.margin + n, wall_distance(queue.pixels(), n, palette, load(answer.label + n), load(second + n)));
    }
    queue.give_back(answer.label, MARGIN ? answer.margin : nullptr, found);
  }
  if (outside.size > 0) {
    outside.fill_up();
    nearest_of_all<MARGIN>(palette, outside.pixels(), ceil_div(outside.size, LANES) * LANES, answer);
    outside.give_back(answer.label, MARGIN ? answer.margin : nullptr, found);
  }
}

// All pixels of a vector against the same list.
template <bool MARGIN>
inline void nearest_in_one_cell(const Palette& palette, Candidates list, const Pixels& pixels, int64_t i, Found& found) {
  const Floats r = load(pixels.color[0] + i), g = load(pixels.color[1] + i), b = load(pixels.color[2] + i);
  Ranking<MARGIN> ranking;
  for (const Block* block = list.begin; block < list.begin + list.count; ++block)
    for (int n = 0; n < 4; ++n)
      ranking.consider(squared_distance(r, g, b, block->color[0][n], block->color[1][n], block->color[2][n]),
                       broadcast(block->label[n]));
  store(found.label + i, ranking.first);
  if (MARGIN) store(found.margin + i, wall_distance(pixels, i, palette, ranking.first, ranking.second));
}

template <bool MARGIN>
void nearest_in_cells(const Palette& palette, const Pixels& pixels, int64_t count, Found& found) {
  const Cells& cells = *palette.cells;
  Queue one_block, rest;
  for (int64_t i = 0; i < count; i += LANES) {
    const Ints cell =
        cell_of(cells, load(pixels.color[0] + i), load(pixels.color[1] + i), load(pixels.color[2] + i));
    const int32_t word = cells.words[cell[0]];
    if (any(cell != broadcast(cell[0])) || word == static_cast<int32_t>(OUTSIDE))
      look_up(cells, cell, pixels, i, found, one_block, rest);
    else if (word < cells.pure)
      store(found.label + i, broadcast(word));
    else
      nearest_in_one_cell<MARGIN>(palette, candidates_of(cells, word), pixels, i, found);
  }
  resolve_one_block<MARGIN>(palette, one_block, found);
  resolve_rest<MARGIN>(palette, rest, found);
}

// Writes labels, and margins unless null, of `count` <= SEGMENT pixels. Does not read beyond the last pixel.
template <class Label>
void nearest(const Palette& palette, const Pixels& pixels, int64_t count, Label* labels, float* margins) {
  Found found;
  const auto run = [&](const Pixels& some, int64_t n) {
    if (margins)
      palette.cells ? nearest_in_cells<true>(palette, some, n, found) : nearest_of_all<true>(palette, some, n, found);
    else
      palette.cells ? nearest_in_cells<false>(palette, some, n, found) : nearest_of_all<false>(palette, some, n, found);
  };
  const auto write = [&](int64_t from, int64_t n) {
    for (int64_t i = 0; i < n; ++i) labels[from + i] = static_cast<Label>(found.label[i]);
    if (margins) memcpy(margins + from, found.margin, static_cast<size_t>(n) * 4);
  };
  const int64_t whole = count - count % LANES, rest = count - whole;
  if (whole > 0) {
    run(pixels, whole);
    write(0, whole);
  }
  if (rest > 0) {  // a copy filled up with the last pixel, whose cell it shares
    float tail[3][LANES];
    for (int c = 0; c < 3; ++c)
      for (int64_t i = 0; i < LANES; ++i) tail[c][i] = pixels.color[c][whole + smaller(i, rest - 1)];
    run({{tail[0], tail[1], tail[2]}}, LANES);
    write(whole, rest);
  }
}

}  // namespace
