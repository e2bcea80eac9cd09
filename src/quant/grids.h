// The codebooks of the IQ formats (numbers of the format: reference/quant-blocks.md section 4).
// Internal to the room.
#pragma once

#include <array>
#include <cstdint>

namespace hearth::quant {

/// A point packs its values from the least significant byte upwards. Magnitudes, except kIq1Grid
/// whose bytes are signed.
extern const std::array<std::uint64_t, 256> kIq2XxsGrid;
extern const std::array<std::uint64_t, 512> kIq2XsGrid;
extern const std::array<std::uint64_t, 1024> kIq2SGrid;
extern const std::array<std::uint32_t, 256> kIq3XxsGrid;
extern const std::array<std::uint32_t, 512> kIq3SGrid;
extern const std::array<std::uint64_t, 2048> kIq1Grid;

}  // namespace hearth::quant
