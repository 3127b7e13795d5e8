// Cuts a batch of images for a resize: bands of output rows, and the two source rows that a band keeps.
#pragma once

#include "parallel.h"

namespace {

struct Band {
  int64_t batch, begin, end;
};

// A few bands a thread, so that threads finish at about the same time; each band reads two source rows again.
struct Bands {
  int64_t rows, height, per_image, batches;

  Bands(int64_t batch, int64_t out_height, int threads) : rows(out_height), batches(batch) {
    const int64_t wanted = threads <= 1 ? 1 : 8 * int64_t{threads};
    per_image = smaller(ceil_div(wanted, batch), ceil_div(rows, 8));
    height = ceil_div(rows, per_image);
    per_image = ceil_div(rows, height);
  }
  int64_t count() const { return batches * per_image; }
  Band operator[](int64_t task) const {
    const int64_t begin = task % per_image * height;
    return {task / per_image, begin, smaller(begin + height, rows)};
  }
};

// The source rows that the two slots hold. Output rows ascend, so a row that was replaced is not needed again.
struct TwoRows {
  int64_t held[2] = {-1, -1};

  int slot_of(int64_t row) const { return held[1] == row; }

  // Calls fill(row, slot) for those of `near` and `far` that are not there yet.
  template <class Fill>
  void need(int64_t near, int64_t far, Fill fill) {
    const int64_t rows[2] = {near, far};
    for (const int64_t row : rows) {
      if (held[0] == row || held[1] == row) continue;
      const int slot = held[0] == near || held[0] == far ? 1 : 0;
      held[slot] = row;
      fill(row, slot);
    }
  }
};

}  // namespace
