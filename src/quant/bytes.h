// Unaligned access to the fields of blocks. Internal to the room.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "tensor/dtype.h"

namespace hearth::quant {

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

[[nodiscard]] inline float load_half(const void* from) noexcept {
  return tensor::float_from_half(load<std::uint16_t>(from));
}

}  // namespace hearth::quant
