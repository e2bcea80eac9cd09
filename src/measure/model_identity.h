// Which model a file is, without saying where it lies.
#pragma once

#include <cstdint>
#include <string>

#include "gguf/file.h"

namespace hearth::measure {

struct ModelIdentity {
  std::string name;          // general.name, its last part where it is a path; may be empty
  std::string architecture;  // "llama"
  std::uint64_t parameters = 0;
  std::string type;  // what most bytes of the weights are stored in: "Q4_K"
  std::uint64_t file_bytes = 0;

  /// The same weights in the same format, as far as can be told. Names do not count: they are
  /// changed without changing a speed.
  [[nodiscard]] bool same_model(const ModelIdentity& other) const noexcept {
    return architecture == other.architecture && parameters == other.parameters &&
           type == other.type && file_bytes == other.file_bytes;
  }
};
[[nodiscard]] ModelIdentity identify_model(const gguf::File& file);

/// The type that most bytes of a file's tensors are stored in; empty when it has none.
[[nodiscard]] std::string main_type(const gguf::File& file);

}  // namespace hearth::measure
