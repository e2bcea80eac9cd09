// Unaligned access to the fields of blocks. Internal to the room.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "tensor/dtype.h"

namespace hearth::quant {

/// Values of a block of the legacy formats, and of the K and IQ formats.
inline constexpr int kLegacyBlock = 32, kSuperBlock = 256;

/// The bytes of a block as numbers (aliasing any object as unsigned char is allowed).
[[nodiscard]] inline const std::uint8_t* as_u8(const std::byte* from) noexcept {
  return reinterpret_cast<const std::uint8_t*>(from);
}

template <typename T>
[[nodiscard]] inline T load(const void* from) noexcept {
  T value;
  std::memcpy(&value, from, sizeof(T));
  return value;
}

template <typename T>
inline void store(void* to, T value) noexcept {
  std::memcpy(to, &value, sizeof(T));
}

/// Half `index` mod 2 of a byte, the lower one first.
[[nodiscard]] inline unsigned nibble_of(std::uint8_t byte, int index) noexcept {
  return static_cast<unsigned>(byte) >> (4 * (index & 1)) & 15U;
}

/// The lowest four bits of 32 codes: those of code i and of code i + 16 share byte i.
inline void store_nibbles(const int* codes, std::byte* to) noexcept {
  for (int i = 0; i < 16; ++i) {
    to[i] = static_cast<std::byte>((codes[i] & 15) | (codes[i + 16] & 15) << 4);
  }
}

/// Sets bits of a field that was zero.
inline void or_bits(std::uint8_t& byte, int bits) noexcept {
  byte = static_cast<std::uint8_t>(byte | bits);
}
inline void or_bits(std::byte& byte, unsigned bits) noexcept {
  byte |= static_cast<std::byte>(bits);
}

[[nodiscard]] inline float load_half(const void* from) noexcept {
  return tensor::float_from_half(load<std::uint16_t>(from));
}

}  // namespace hearth::quant
