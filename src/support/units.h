// Multiples of units, as sizes and speeds are stated in: 8 GB are 8 * kGiga bytes.
#pragma once

#include <cstdint>
#include <string>

namespace hearth {

inline constexpr double kGiga = 1e9, kTera = 1e12, kGibi = 1073741824.0;

/// A size that others are compared with: "0.1 MB", "710.3 MB", "6.52 GB".
[[nodiscard]] std::string precise_size_text(std::uint64_t bytes);

}  // namespace hearth
