// exp of vectors, for the softmax.
#pragma once

#include "simd.h"

namespace {

// exp(x) for x <= 0: within 1.1 ulp, 1 at 0, 0 below -87.3 (the normal numbers end there) and NaN for NaN.
//
// x = n ln 2 + r with |r| <= ln 2 / 2, and exp(r) = 1 + r + r^2 q(r) with q of least relative error (3e-9).
inline __attribute__((always_inline)) Floats exponential(Floats x) {
  const Floats shift = broadcast(0x1.8p23f);  // adding it rounds to an integer, which then stands in the lowest bits
  const Floats t = fused(x, broadcast(0x1.715476p+0f), shift);
  const Floats n = t - shift;
  // ln 2 in two parts: n times the first, of 15 bits, is exact.
  const Floats r = fused(n, broadcast(-0x1.7f7d1cp-20f), fused(n, broadcast(-0x1.62e4p-1f), x));
  Floats q = broadcast(0x1.6a2434p-10f);
  q = fused(q, r, broadcast(0x1.1239e2p-7f));
  q = fused(q, r, broadcast(0x1.5558f2p-5f));
  q = fused(q, r, broadcast(0x1.555492p-3f));
  q = fused(q, r, broadcast(0x1.fffffcp-2f));
  const Floats e = fused(q, r * r, r) + 1.0f;
  const Floats power = (Floats)(((Bits)t << 23) + (127u << 23));  // 2^n, wrapping where x is too small to matter
  return x < -87.3f ? Floats{} : e * power;
}

}  // namespace
