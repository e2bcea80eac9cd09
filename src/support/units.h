// Multiples of units, as sizes and speeds are stated in: 8 GB are 8 * kGiga bytes.
#pragma once

namespace hearth {

inline constexpr double kGiga = 1e9, kTera = 1e12, kGibi = 1073741824.0;

}  // namespace hearth
