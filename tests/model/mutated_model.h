// Models made by mutating the metadata and tensors of others, and what must hold of every one of
// them: a clear Error, or a valid spec whose passes can be counted and run. Shared by a test, which
// draws mutations at random, and by a fuzzer, which steers them (fuzz/spec.cpp).
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "gguf/file.h"

namespace hearth::testing {

/// Decisions, read from bytes; zeros once they are used up.
class Choices {
 public:
  explicit Choices(std::span<const std::uint8_t> bytes) : bytes_(bytes) {}
  [[nodiscard]] bool done() const noexcept { return next_ >= bytes_.size(); }
  std::uint8_t byte() noexcept { return done() ? std::uint8_t{0} : bytes_[next_++]; }
  std::uint64_t number(int bytes) noexcept {
    std::uint64_t value = 0;
    for (int i = 0; i < bytes; ++i) value |= std::uint64_t{byte()} << (8 * i);
    return value;
  }
  /// 0 .. count - 1; count at most 65536.
  std::size_t below(std::size_t count) noexcept {
    return static_cast<std::size_t>(number(2)) % count;
  }

 private:
  std::span<const std::uint8_t> bytes_;
  std::size_t next_ = 0;
};

/// The model files of a folder by name; large tables of tokens are fine, they are only copied.
[[nodiscard]] std::vector<gguf::File> model_files(const std::filesystem::path& folder);

/// The image of a GGUF file: `seed` with up to eight mutations of its keys and tensors. `all` give
/// values and names of other families. Throws Error for what cannot be written as GGUF.
[[nodiscard]] std::string mutated_image(const gguf::File& seed, std::span<const gguf::File> all,
                                        Choices& choices);

enum class Outcome : std::uint8_t { kRefused, kCounted, kRan };

/// Describes the model and its draft heads, counts a prompt and a token, and, if `run` and it is
/// small, evaluates them. Exceptions other than Error pass through; a bad message or a spec that
/// contradicts itself throws std::logic_error.
[[nodiscard]] Outcome check_model(std::span<const std::byte> image, bool run);

}  // namespace hearth::testing
