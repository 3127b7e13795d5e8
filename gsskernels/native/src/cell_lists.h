// The candidate lists of a grid while it is being built. Equal lists are stored once, in blocks of four colours.
#pragma once

#include <math.h>

#include "cells.h"
#include "parallel.h"

namespace {

constexpr int64_t MAX_BLOCKS = int64_t{1} << 18;  // 16 MB of lists
constexpr int64_t MAX_WORD = OUTSIDE - 1;

template <class T>
struct Growing {
  T* data = nullptr;
  int64_t size = 0, capacity = 0;
  bool failed = false;
  ~Growing() { free(data); }
  T* extend(int64_t count) {  // null, with `failed` set, if there is no memory
    if (size + count > capacity) {
      const int64_t wanted = larger(2 * capacity, size + count + 256);
      T* moved = static_cast<T*>(realloc(data, static_cast<size_t>(wanted) * sizeof(T)));
      if (!moved) {
        failed = true;
        return nullptr;
      }
      data = moved;
      capacity = wanted;
    }
    size += count;
    return data + size - count;
  }
  T* release() {
    T* taken = data;
    data = nullptr;
    return taken;
  }
};

struct Lists {
  const float* palette;
  int64_t pure;             // words below this are classes
  Growing<Block> blocks;
  Growing<int64_t> begins;  // first block of every list
  Growing<int32_t> sizes;
  Growing<int32_t> buckets;  // hash table of list numbers, open addressing, -1 empty
  bool too_big = false;

  Lists(const float* colors, int64_t pure_words) : palette(colors), pure(pure_words) { resize_buckets(1 << 12); }

  bool failed() const { return blocks.failed || begins.failed || sizes.failed || buckets.failed; }

  // Returns the number of this list; it is a new number if no cell had the list before.
  int64_t number_of(const int32_t* list, int64_t count) {
    const int64_t slot = find_slot(list, count);
    if (buckets.data[slot] >= 0) return buckets.data[slot];
    const int64_t number = sizes.size, num_blocks = ceil_div(count, 4);
    if (pure + number >= MAX_WORD || blocks.size + num_blocks > MAX_BLOCKS) {
      too_big = true;
      return 0;
    }
    const int64_t first = blocks.size;
    Block* made = blocks.extend(num_blocks);
    int64_t* where = begins.extend(1);
    int32_t* size = sizes.extend(1);
    if (!made || !where || !size) return 0;
    *where = first;
    *size = static_cast<int32_t>(count);
    for (int64_t i = 0; i < num_blocks * 4; ++i) {
      for (int c = 0; c < 3; ++c)
        made[i / 4].color[c][i % 4] = i < count ? palette[3 * int64_t{list[i]} + c] : INFINITY;
      made[i / 4].label[i % 4] = i < count ? list[i] : 0;
    }
    buckets.data[slot] = static_cast<int32_t>(number);
    if (2 * sizes.size > buckets.size) resize_buckets(2 * buckets.size);
    return number;
  }

  int64_t find_slot(const int32_t* list, int64_t count) const {
    uint64_t hash = static_cast<uint64_t>(count);
    for (int64_t i = 0; i < count; ++i) hash = (hash ^ static_cast<uint32_t>(list[i])) * 0x9E3779B97F4A7C15u;
    for (int64_t slot = static_cast<int64_t>(hash >> 40);; ++slot) {
      slot &= buckets.size - 1;
      const int32_t number = buckets.data[slot];
      if (number < 0) return slot;
      if (sizes.data[number] != count) continue;
      const Block* block = blocks.data + begins.data[number];
      int64_t i = 0;
      while (i < count && block[i / 4].label[i % 4] == list[i]) ++i;
      if (i == count) return slot;
    }
  }

  bool resize_buckets(int64_t size) {
    buckets.size = 0;
    if (!buckets.extend(size)) return false;
    for (int64_t i = 0; i < size; ++i) buckets.data[i] = -1;
    for (int64_t number = 0; number < sizes.size; ++number) {
      Growing<int32_t> list;
      int32_t* copy = list.extend(sizes.data[number]);
      if (!copy) {
        sizes.failed = true;
        return false;
      }
      const Block* block = blocks.data + begins.data[number];
      for (int64_t i = 0; i < sizes.data[number]; ++i) copy[i] = block[i / 4].label[i % 4];
      buckets.data[find_slot(copy, sizes.data[number])] = static_cast<int32_t>(number);
    }
    return true;
  }

  // Short lists first, so that their word is the number of their block.
  bool write(Cells* cells) const {
    const int64_t lists = sizes.size;
    Growing<int32_t> renumbered, long_begin;
    Growing<Block> ordered;
    if (!renumbered.extend(lists + 1) || !ordered.extend(blocks.size + 1)) return false;
    int64_t next = 0;
    for (int64_t i = 0; i < lists; ++i)
      if (sizes.data[i] <= 4) {
        ordered.data[next] = blocks.data[begins.data[i]];
        renumbered.data[i] = static_cast<int32_t>(next++);
      }
    cells->short_lists = static_cast<int32_t>(next);
    int32_t number = cells->short_lists;
    for (int64_t i = 0; i < lists; ++i)
      if (sizes.data[i] > 4) {
        if (!long_begin.extend(1)) return false;
        long_begin.data[long_begin.size - 1] = static_cast<int32_t>(next);
        const int64_t count = ceil_div(sizes.data[i], 4);
        memcpy(ordered.data + next, blocks.data + begins.data[i], static_cast<size_t>(count) * sizeof(Block));
        next += count;
        renumbered.data[i] = number++;
      }
    if (!long_begin.extend(1)) return false;
    long_begin.data[long_begin.size - 1] = static_cast<int32_t>(next);
    for (int64_t i = 0; i < cells->num_words; ++i)
      if (cells->words[i] >= cells->pure)
        cells->words[i] = static_cast<uint16_t>(cells->pure + renumbered.data[cells->words[i] - cells->pure]);
    cells->num_blocks = next;
    cells->num_long = long_begin.size - 1;
    // Blocks fill whole cache lines only if they start at one.
    cells->blocks = static_cast<Block*>(aligned_alloc(64, static_cast<size_t>(next + 1) * sizeof(Block)));
    if (!cells->blocks) return false;
    memcpy(cells->blocks, ordered.data, static_cast<size_t>(next) * sizeof(Block));
    cells->long_begin = long_begin.release();
    return true;
  }
};

}  // namespace
