// Builds GGUF files field by field, right or wrong, in either byte order: what the checked Writer
// refuses to make.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "gguf/byte_order.h"
#include "gguf/file.h"

namespace hearth::gguf::testing {

class RawFile {
 public:
  explicit RawFile(bool swapped = false) : swapped_(swapped) {}

  template <typename T>
  RawFile& number(T value) {
    if (swapped_) value = byte_swapped(value);
    char bytes[sizeof(T)];
    std::memcpy(bytes, &value, sizeof(T));
    bytes_.append(bytes, sizeof(T));
    return *this;
  }
  RawFile& u32(std::uint32_t value) { return number(value); }
  RawFile& u64(std::uint64_t value) { return number(value); }
  RawFile& raw(std::string_view text) {
    bytes_ += text;
    return *this;
  }
  RawFile& text(std::string_view text) { return u64(text.size()).raw(text); }
  RawFile& header(std::uint64_t tensors, std::uint64_t entries, std::uint32_t version = 3) {
    return raw("GGUF").u32(version).u64(tensors).u64(entries);
  }
  RawFile& key(std::string_view name, ValueType type) {
    return text(name).u32(static_cast<std::uint32_t>(type));
  }
  template <typename T>
  RawFile& entry(std::string_view name, ValueType type, T value) {
    return key(name, type).number(value);
  }
  RawFile& entry(std::string_view name, std::string_view value) {
    return key(name, ValueType::kString).text(value);
  }
  RawFile& array(std::string_view name, ValueType type, std::uint64_t count) {
    return key(name, ValueType::kArray).u32(static_cast<std::uint32_t>(type)).u64(count);
  }
  RawFile& tensor(std::string_view name, const std::vector<std::int64_t>& shape, std::uint32_t type,
                  std::uint64_t offset) {
    text(name).u32(static_cast<std::uint32_t>(shape.size()));
    for (const std::int64_t size : shape) number(size);
    return u32(type).u64(offset);
  }
  RawFile& pad(std::size_t alignment = 32) {
    while (bytes_.size() % alignment != 0) bytes_ += '\0';
    return *this;
  }
  RawFile& zeros(std::size_t count) {
    bytes_.append(count, '\0');
    return *this;
  }
  /// Notes a boundary between fields, for truncation.
  RawFile& mark() {
    marks_.push_back(bytes_.size());
    return *this;
  }

  [[nodiscard]] const std::string& bytes() const { return bytes_; }
  [[nodiscard]] const std::vector<std::size_t>& marks() const { return marks_; }

 private:
  bool swapped_;
  std::string bytes_;
  std::vector<std::size_t> marks_;
};

/// Parses `bytes`, which must outlive the result.
[[nodiscard]] inline File parse(const std::string& bytes, const std::string& name = "memory") {
  return File::from_bytes(std::as_bytes(std::span(bytes)), name);
}

}  // namespace hearth::gguf::testing
