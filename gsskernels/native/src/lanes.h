// For AVX-512 intrinsics in their masked form: GCC 12 warns of an uninitialised value inside the plain ones.
#pragma once

#include "simd.h"

#if defined(__AVX512F__)
namespace {
constexpr __mmask16 ALL_LANES = 0xFFFF;
}
#endif
