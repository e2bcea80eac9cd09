// Reading GGUF files (v2, v3, both byte orders; format document: ggml's docs/gguf.md, facts in
// reference/gguf.md). Everything read from the file is checked against the file before it is
// believed: a bad file ends in hearth::Error with one sentence naming the file, the byte offset and
// what is wrong.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "tensor/dtype.h"

namespace hearth::gguf {

/// Value type ids of the format.
enum class ValueType : std::uint32_t {
  kU8 = 0,
  kI8 = 1,
  kU16 = 2,
  kI16 = 3,
  kU32 = 4,
  kI32 = 5,
  kF32 = 6,
  kBool = 7,
  kString = 8,
  kArray = 9,
  kU64 = 10,
  kI64 = 11,
  kF64 = 12,
};

/// An array value: numbers and bools widened, or strings as views into the mapping (valid as long
/// as the File).
struct Array {
  ValueType element_type = ValueType::kU8;
  std::size_t size = 0;
  std::variant<std::vector<std::int64_t>, std::vector<std::uint64_t>, std::vector<double>,
               std::vector<std::string_view>>
      elements;  // signed and bool -> int64, unsigned -> uint64, floats -> double
};

/// One metadata value. Integers keep their signedness.
struct Value {
  ValueType type = ValueType::kU8;
  std::variant<std::int64_t, std::uint64_t, double, bool, std::string_view, Array> data;
};

struct KeyValue {
  std::string_view key;
  Value value;
};

/// The metadata of a model in file order. Lookups are by exact key. Getters return nothing when the
/// key is absent or when the value cannot be represented in the asked type without loss (a float
/// where an integer is wanted, a negative number where an unsigned one is); integers of any width
/// are accepted for integers, numbers of any kind for floats.
class Metadata {
 public:
  [[nodiscard]] const Value* find(std::string_view key) const noexcept;
  [[nodiscard]] bool contains(std::string_view key) const noexcept { return find(key) != nullptr; }
  [[nodiscard]] std::span<const KeyValue> entries() const noexcept { return entries_; }

  [[nodiscard]] std::optional<std::uint64_t> get_uint(std::string_view key) const;
  [[nodiscard]] std::optional<std::int64_t> get_int(std::string_view key) const;
  [[nodiscard]] std::optional<double> get_float(std::string_view key) const;
  [[nodiscard]] std::optional<bool> get_bool(std::string_view key) const;
  [[nodiscard]] std::optional<std::string_view> get_string(std::string_view key) const;
  [[nodiscard]] std::optional<std::vector<std::string_view>> get_strings(
      std::string_view key) const;
  /// A scalar is accepted where an array is allowed and becomes an array of one element. Bools
  /// become 0 and 1.
  [[nodiscard]] std::optional<std::vector<std::int64_t>> get_ints(std::string_view key) const;
  [[nodiscard]] std::optional<std::vector<double>> get_floats(std::string_view key) const;

 private:
  friend class HeaderReader;
  std::vector<KeyValue> entries_;
  std::vector<std::uint32_t> sorted_;  // indices of entries_ by key
};

/// A tensor of the file. `shape` is in GGUF order: shape[0] is contiguous; missing dimensions
/// are 1.
struct TensorInfo {
  std::string name;
  tensor::DType dtype = tensor::DType::kF32;
  std::uint32_t dimensions = 1;
  std::int64_t shape[4] = {1, 1, 1, 1};
  std::uint64_t bytes = 0;   // of the data
  std::uint32_t part = 0;    // which split file holds it
  std::uint64_t offset = 0;  // absolute, in that file

  [[nodiscard]] std::int64_t elements() const noexcept {
    return shape[0] * shape[1] * shape[2] * shape[3];
  }
};

/// An open GGUF model: one file or all parts of a split one, mapped read-only. Move-only; tensor
/// data and strings are views into the mappings and live as long as the File.
class File {
 public:
  /// Opens `path`; when it is a part of a split model, all parts (they must be in the same folder).
  /// Throws Error.
  [[nodiscard]] static File open(const std::filesystem::path& path);
  /// Opens the header of one file, whose data may be missing: a download that has just begun.
  /// data() must not be asked for. Throws Error; parts of a split model are refused.
  [[nodiscard]] static File open_header(const std::filesystem::path& path);
  /// Parses a whole file held in memory, which must outlive the result (tests, fuzzing). Splits are
  /// refused.
  [[nodiscard]] static File from_bytes(std::span<const std::byte> bytes,
                                       const std::string& name = "memory");

  /// Parses headers held in memory, which must outlive the result: that of one file, or those of
  /// all parts of a split one in order. Bytes behind them may be missing; data() must not be asked
  /// for. Throws Error.
  [[nodiscard]] static File from_headers(std::span<const std::span<const std::byte>> parts,
                                         const std::string& name);

  File(File&&) noexcept;
  File& operator=(File&&) noexcept;
  ~File();

  [[nodiscard]] const Metadata& metadata() const noexcept;
  [[nodiscard]] std::span<const TensorInfo> tensors() const noexcept;
  /// The tensor called `name`, or null.
  [[nodiscard]] const TensorInfo* find_tensor(std::string_view name) const noexcept;
  /// The bytes of a tensor of this file, in the machine's byte order. Alignment is not guaranteed
  /// beyond what the file gives; readers use memcpy loads.
  [[nodiscard]] std::span<const std::byte> data(const TensorInfo& tensor) const noexcept;

  /// Says that a tensor's bytes [offset, offset + size) are not needed soon. They can still be
  /// read.
  void release(const TensorInfo& tensor, std::uint64_t offset, std::uint64_t size) const noexcept;

  [[nodiscard]] std::uint32_t version() const noexcept;
  [[nodiscard]] std::uint64_t alignment() const noexcept;
  /// Bytes of all parts together.
  [[nodiscard]] std::uint64_t file_bytes() const noexcept;
  [[nodiscard]] const std::filesystem::path& path() const noexcept;
  [[nodiscard]] std::size_t parts() const noexcept;
  /// Says that the data was used and will hardly be again: it no longer counts as memory of this
  /// process (Mapping::forget_pages).
  void forget_pages() const noexcept;
  /// Throws Error if a mapped part was truncated since it was opened. Cheap: call it after every
  /// pass.
  void check() const;

 private:
  struct Impl;
  explicit File(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace hearth::gguf
