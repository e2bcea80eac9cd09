// What the parts of FamilyReader check sizes with.
#pragma once

#include <cstdint>
#include <string>

#include "gguf/file.h"
#include "support/error.h"

namespace hearth::model {

// Larger than any model; small enough that products of two sizes cannot overflow.
inline constexpr std::int64_t kMaxSize = std::int64_t{1} << 30;
inline constexpr std::int64_t kMaxLayers = 4096;

[[noreturn]] inline void throw_bad_key(const std::string& key, const std::string& problem) {
  throw Error("the model's metadata key '" + key + "' " + problem,
              "the file is damaged or of an unknown kind");
}

inline std::int64_t checked_size(const std::string& key, std::int64_t value, std::int64_t low,
                                 std::int64_t high) {
  if (value < low || value > high) {
    throw_bad_key(key, "is " + std::to_string(value) + ", which is out of range");
  }
  return value;
}

[[nodiscard]] std::string shape_text(const gguf::TensorInfo& tensor);

}  // namespace hearth::model
