// Cuts a loop into register tiles whose sizes the compiler knows.
//
// Included only by headers of kernels, after the header of an instruction set.
#pragma once

namespace hearth::compute::cpu {
namespace {

/// Calls body<n>(first) for n = size, 1 <= size <= kMost.
template <int kMost, class Body>
inline void with_size(int size, int first, Body body) {
  if constexpr (kMost > 1) {
    if (size < kMost) return with_size<kMost - 1>(size, first, body);
  }
  body.template operator()<kMost>(first);
}

/// Calls body<n>(first) for all from `first` to `end` - 1, in parts of nearly the same size n, at
/// most kMost: each part reads all of what its members share, so a small one costs nearly as much
/// as a larger.
template <int kMost, class Body>
inline void for_parts(int first, int end, Body body) {
  for (int parts = (end - first + kMost - 1) / kMost; parts > 0; --parts) {
    const int size = (end - first) / parts;
    with_size<kMost>(size, first, body);
    first += size;
  }
}

}  // namespace
}  // namespace hearth::compute::cpu
