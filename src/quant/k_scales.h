// The packing of eight (scale, minimum) pairs of 6 bits into the 12 bytes of Q4_K and Q5_K.
// Internal to the room.
#pragma once

#include <cstdint>

namespace hearth::quant {

struct SubScale {
  int scale;    // 0..63
  int minimum;  // 0..63
};

[[nodiscard]] inline SubScale unpack_sub_scale(const std::uint8_t* packed, int sub) noexcept {
  if (sub < 4) return {packed[sub] & 63, packed[sub + 4] & 63};
  return {(packed[sub + 4] & 15) | (packed[sub - 4] >> 6) << 4,
          (packed[sub + 4] >> 4) | (packed[sub] >> 6) << 4};
}

/// Sets the pair `sub`; `packed` must have been zeroed before the first one is set.
inline void pack_sub_scale(std::uint8_t* packed, int sub, SubScale value) noexcept {
  const auto set = [&](int index, int bits) {
    packed[index] = static_cast<std::uint8_t>(packed[index] | bits);
  };
  if (sub < 4) {
    set(sub, value.scale);
    set(sub + 4, value.minimum);
    return;
  }
  set(sub + 4, (value.scale & 15) | (value.minimum & 15) << 4);
  set(sub - 4, (value.scale >> 4) << 6);
  set(sub, (value.minimum >> 4) << 6);
}

}  // namespace hearth::quant
