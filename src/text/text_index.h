// Texts in one owned block, numbered from 0, with a hash index from text to number.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace hearth::text {

class TextIndex {
 public:
  static constexpr std::uint32_t kNone = UINT32_MAX;

  /// Reserves room for `count` texts of `bytes` bytes in all.
  void reserve(std::size_t count, std::size_t bytes);

  /// Appends a text and returns its number, or kNone (and appends nothing) when it is there
  /// already.
  std::uint32_t add(std::string_view text);
  /// The number of `text`, appending it if it is new.
  std::uint32_t intern(std::string_view text);
  /// The number of `text`, or kNone.
  [[nodiscard]] std::uint32_t find(std::string_view text) const noexcept {
    return find_hashed(text, hash(text));
  }

  [[nodiscard]] std::string_view operator[](std::size_t number) const noexcept {
    return std::string_view(bytes_).substr(starts_[number], starts_[number + 1] - starts_[number]);
  }
  [[nodiscard]] std::size_t size() const noexcept { return starts_.size() - 1; }

  // For callers that look up many texts: hash first, prefetch, then find.
  [[nodiscard]] static std::uint64_t hash(std::string_view text) noexcept;
  void prefetch(std::uint64_t hashed) const noexcept;
  [[nodiscard]] std::uint32_t find_hashed(std::string_view text,
                                          std::uint64_t hashed) const noexcept;

 private:
  struct Slot {
    std::uint32_t tag = 0;  // upper half of the hash
    std::uint32_t number = kNone;
  };

  void grow(std::size_t slots);
  std::uint32_t append(std::string_view text, std::uint64_t hashed);

  std::string bytes_;
  std::vector<std::size_t> starts_{0};
  std::vector<Slot> slots_;
  std::size_t mask_ = 0;
};

}  // namespace hearth::text
