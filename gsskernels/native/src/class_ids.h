// Converts class ids of any integer dtype to one small type, in which all ids outside the classes are one more class.
#pragma once

#include "abi.h"
#include "convert.h"
#include "parallel.h"
#include "simd.h"

namespace {

// Negative ids are large as unsigned numbers, so one comparison finds ids at both ends.
template <class Id, class T>
inline Id id_or_limit(T label, uint64_t limit) {
  if (sizeof(T) == 8) {
    const uint64_t id = static_cast<uint64_t>(label);
    return static_cast<Id>(id < limit ? id : limit);
  }
  const uint32_t id = static_cast<uint32_t>(static_cast<int32_t>(label)), small_limit = static_cast<uint32_t>(limit);
  return static_cast<Id>(id < small_limit ? id : small_limit);
}

template <class Id, class T>
inline void read_ids(const T* labels, int64_t stride, int64_t count, uint64_t limit, Id* __restrict ids) {
  if (stride == 1) {
    for (int64_t i = 0; i < count; ++i) ids[i] = id_or_limit<Id>(labels[i], limit);
  } else if (stride == 0) {
    const Id id = count ? id_or_limit<Id>(labels[0], limit) : 0;
    for (int64_t i = 0; i < count; ++i) ids[i] = id;
  } else {
    for (int64_t i = 0; i < count; ++i) ids[i] = id_or_limit<Id>(labels[i * stride], limit);
  }
}

// ids[i] = the id at data[first + i * stride], or `limit` where that is outside 0..limit-1. limit must fit Id and 31 bits.
template <class Id>
inline void read_ids(const void* data, int32_t dtype, int64_t first, int64_t stride, int64_t count, int64_t limit,
                     Id* ids) {
  const uint64_t l = static_cast<uint64_t>(limit);
  data = offset(data, dtype, first);
  switch (dtype) {
    case U8: return read_ids(static_cast<const uint8_t*>(data), stride, count, l, ids);
    case I8: return read_ids(static_cast<const int8_t*>(data), stride, count, l, ids);
    case I16: return read_ids(static_cast<const int16_t*>(data), stride, count, l, ids);
    case I32: return read_ids(static_cast<const int32_t*>(data), stride, count, l, ids);
    default: return read_ids(static_cast<const int64_t*>(data), stride, count, l, ids);
  }
}

// Whether all of COUNT ids are the same; COUNT ids must fill whole vectors.
template <int COUNT, class Id>
inline bool uniform(const Id* ids) {
  static_assert(COUNT * sizeof(Id) % GSS_VECTOR_BYTES == 0, "whole vectors only");
  const uint32_t id = static_cast<uint32_t>(ids[0]);
  const Ints first = broadcast(static_cast<int32_t>(sizeof(Id) == 1 ? id * 0x01010101u : id));
  Ints differs{};
  for (int k = 0; k < static_cast<int>(COUNT * sizeof(Id) / GSS_VECTOR_BYTES); ++k) {
    Ints v;
    memcpy(&v, reinterpret_cast<const char*>(ids) + k * GSS_VECTOR_BYTES, sizeof v);
    differs |= v ^ first;
  }
  return !any(differs != 0);
}

}  // namespace
