// Counts pairs (target, prediction) in a table of (K + 1) x K; the last row takes pixels that are not to be counted.
#pragma once

#include "convert.h"
#include "parallel.h"

namespace {

// Class ids of a row of targets as int32: K for `ignore_index` and everything outside 0..K-1.
inline void read_targets(const void* data, int32_t dtype, int64_t stride, int64_t count, int64_t num_classes,
                         int64_t ignore_index, int32_t* out) {
  const auto read = [&](auto* p) {
    for (int64_t i = 0; i < count; ++i) {
      const int64_t id = p[i * stride];
      out[i] = static_cast<int32_t>(id < 0 || id >= num_classes || id == ignore_index ? num_classes : id);
    }
  };
  switch (dtype) {
    case U8: return read(static_cast<const uint8_t*>(data));
    case I8: return read(static_cast<const int8_t*>(data));
    case I16: return read(static_cast<const int16_t*>(data));
    case I32: return read(static_cast<const int32_t*>(data));
    default: return read(static_cast<const int64_t*>(data));
  }
}

// Neighbouring pixels are mostly equal: a vector of equal pairs is one addition.
template <class Label>
void count_pairs(const int32_t* targets, const Label* predictions, int64_t count, int64_t num_classes, int64_t* table) {
  int64_t i = 0;
  for (; i + LANES <= count; i += LANES) {
    Ints prediction;
    for (int lane = 0; lane < LANES; ++lane) prediction[lane] = static_cast<int32_t>(predictions[i + lane]);
    const Ints target = load(targets + i);
    if (!any((target != broadcast(target[0])) | (prediction != broadcast(prediction[0])))) {
      table[targets[i] * num_classes + static_cast<int64_t>(predictions[i])] += LANES;
      continue;
    }
    for (int lane = 0; lane < LANES; ++lane)
      ++table[targets[i + lane] * num_classes + static_cast<int64_t>(predictions[i + lane])];
  }
  for (; i < count; ++i) ++table[targets[i] * num_classes + static_cast<int64_t>(predictions[i])];
}

// The same with one table that all threads share, for so many classes that one table per thread would not fit.
template <class Label>
void count_pairs_shared(const int32_t* targets, const Label* predictions, int64_t count, int64_t num_classes,
                        int64_t* table) {
  for (int64_t i = 0; i < count; ++i)
    if (targets[i] < num_classes)
      __atomic_fetch_add(table + targets[i] * num_classes + static_cast<int64_t>(predictions[i]), 1, __ATOMIC_RELAXED);
}

}  // namespace
