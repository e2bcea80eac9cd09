// Writing GGUF v3 files, in this machine's byte order (little-endian on all supported ones).
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <functional>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <unordered_set>
#include <vector>

#include "gguf/file.h"
#include "tensor/dtype.h"

namespace hearth::gguf {

template <typename T>
concept Number = std::is_arithmetic_v<T> && !std::same_as<T, bool> && !std::same_as<T, char>;

/// The value type that stores a C++ number without loss.
template <Number T>
[[nodiscard]] constexpr ValueType value_type_of() noexcept {
  if constexpr (std::is_floating_point_v<T>) {
    return sizeof(T) == 4 ? ValueType::kF32 : ValueType::kF64;
  } else if constexpr (std::is_signed_v<T>) {
    return sizeof(T) == 1   ? ValueType::kI8
           : sizeof(T) == 2 ? ValueType::kI16
           : sizeof(T) == 4 ? ValueType::kI32
                            : ValueType::kI64;
  } else {
    return sizeof(T) == 1   ? ValueType::kU8
           : sizeof(T) == 2 ? ValueType::kU16
           : sizeof(T) == 4 ? ValueType::kU32
                            : ValueType::kU64;
  }
}

/// Puts the bytes [offset, offset + out.size()) of a tensor's data into `out`. Called with rising
/// offsets.
using TensorSource = std::function<void(std::uint64_t offset, std::span<std::byte> out)>;

/// When to begin another part of a split model. A part holds at least one tensor.
struct SplitLimits {
  std::uint64_t max_data_bytes = std::numeric_limits<std::uint64_t>::max();
  std::size_t max_tensors = std::numeric_limits<std::size_t>::max();
};

/// Collects metadata and tensors and writes them as one file or as a split model. The wrong use of
/// a name, shape or size throws Error.
///
///     Writer writer;
///     writer.set("general.architecture", "llama");
///     writer.set("llama.block_count", std::uint32_t{2});
///     writer.add_floats("output_norm.weight", {64}, values);
///     writer.write("model.gguf");
class Writer {
 public:
  /// Numbers are stored in the type they have: set("k", 1) is an i32, set("k", 1u) a u32. Setting a
  /// key again replaces its value. `general.alignment` (a u32) also sets the alignment of the file.
  template <Number T>
  void set(std::string_view key, T value) {
    std::string payload;
    append(payload, value);
    put(key, value_type_of<T>(), std::move(payload));
  }
  void set(std::string_view key, std::same_as<bool> auto value) { set_bool(key, value); }
  void set(std::string_view key, std::string_view value);
  template <Number T>
  void set_array(std::string_view key, const std::vector<T>& values) {
    std::string payload = array_header(value_type_of<T>(), values.size());
    for (const T value : values) append(payload, value);
    put(key, ValueType::kArray, std::move(payload));
  }
  void set_array(std::string_view key, const std::vector<bool>& values);
  void set_array(std::string_view key, const std::vector<std::string>& values);
  void set_array(std::string_view key, const std::vector<std::string_view>& values);
  /// Copies a value as it is stored in a file.
  void set(std::string_view key, const Value& value);
  /// Copies all values but the split.* keys, which the writer makes itself.
  void copy(const Metadata& metadata);

  /// Adds a tensor of GGUF order `shape` (1 to 4 dimensions, the first contiguous) whose bytes stay
  /// with the caller until everything is written.
  void add_tensor(std::string_view name, tensor::DType dtype, std::vector<std::int64_t> shape,
                  std::span<const std::byte> data);
  /// Adds a tensor whose bytes are asked for while writing, a megabyte at a time.
  void add_tensor(std::string_view name, tensor::DType dtype, std::vector<std::int64_t> shape,
                  TensorSource source);
  /// Adds a copy of `values`, encoded as `dtype` (which quant::can_encode must name).
  void add_floats(std::string_view name, std::vector<std::int64_t> shape,
                  std::span<const float> values, tensor::DType dtype = tensor::DType::kF32);

  /// The file up to its tensor data, padded to its alignment.
  [[nodiscard]] std::string header() const;
  /// The file as bytes.
  [[nodiscard]] std::string bytes() const;
  /// Writes the file; it appears under its name only when it is complete.
  void write(const std::filesystem::path& path) const;
  /// Writes `path` (FOLDER/NAME.gguf) as FOLDER/NAME-00001-of-0000N.gguf …, all of which appear
  /// only when all are written. Metadata is in the first part. Returns the paths.
  std::vector<std::filesystem::path> write_split(const std::filesystem::path& path,
                                                 const SplitLimits& limits) const;

 private:
  struct Entry {
    std::string key;
    ValueType type;
    std::string payload;
  };
  struct Tensor {
    std::string name;
    tensor::DType dtype;
    std::vector<std::int64_t> shape;
    std::uint64_t bytes;
    TensorSource source;
  };
  using Sink = std::function<void(std::span<const std::byte>)>;

  template <typename T>
  static void append(std::string& to, T value) {
    char bytes[sizeof(T)];
    std::memcpy(bytes, &value, sizeof(T));
    to.append(bytes, sizeof(T));
  }
  static void append_string(std::string& to, std::string_view text);
  static std::string array_header(ValueType type, std::uint64_t size);
  static std::string header_bytes(std::span<const Entry> entries, std::span<const Tensor> tensors,
                                  std::uint64_t alignment);
  static void emit(std::span<const Entry> entries, std::span<const Tensor> tensors,
                   std::uint64_t alignment, const Sink& sink);
  static void emit_data(const Tensor& tensor, const Sink& sink);
  void put(std::string_view key, ValueType type, std::string payload);
  void set_bool(std::string_view key, bool value);
  [[nodiscard]] std::vector<std::span<const Tensor>> cut(const SplitLimits& limits) const;
  [[nodiscard]] std::vector<Entry> part_entries(std::size_t part, std::size_t parts) const;

  std::vector<Entry> entries_;
  std::vector<Tensor> tensors_;
  std::unordered_set<std::string> names_;  // of tensors_
  std::uint64_t alignment_ = 32;
};

}  // namespace hearth::gguf
