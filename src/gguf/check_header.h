// Whether the beginning of a file is all of a GGUF header: for files that are fetched piece by
// piece.
#pragma once

#include <cstddef>
#include <span>
#include <string>

namespace hearth::gguf {

/// Throws Error unless `bytes` begin with a complete and sound header, be it of a part of a split
/// model. What follows the header may be missing.
void check_header(std::span<const std::byte> bytes, const std::string& name);

}  // namespace hearth::gguf
