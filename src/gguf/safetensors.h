// Reading safetensors files: one file, or the shards that a model.safetensors.index.json names
// (format: huggingface.co/docs/safetensors, "Format"). A file is a 64-bit little-endian header
// size, a JSON header with the type, shape and place of every tensor, and the data without holes.
// Everything is checked against the file before it is believed; bad files end in hearth::Error.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace hearth::gguf {

/// Element types of safetensors.
enum class SafeType : std::uint8_t {
  kBool,
  kU8,
  kI8,
  kF8E4M3,  // 4 exponent bits, bias 7, no infinities ("FN")
  kF8E5M2,
  kU16,
  kI16,
  kF16,
  kBF16,
  kU32,
  kI32,
  kF32,
  kU64,
  kI64,
  kF64,
};

/// As safetensors writes it: "BF16".
[[nodiscard]] std::string_view name(SafeType type) noexcept;
[[nodiscard]] std::size_t element_bytes(SafeType type) noexcept;

/// A tensor of a file. `shape` is in PyTorch's order, the last dimension contiguous; it is empty
/// for a single number.
struct SafeTensor {
  std::string name;
  SafeType type = SafeType::kF32;
  std::vector<std::int64_t> shape;
  std::uint64_t bytes = 0;
  std::uint32_t part = 0;    // which shard holds it
  std::uint64_t offset = 0;  // absolute, in that shard

  [[nodiscard]] std::int64_t elements() const noexcept;
};

/// "[64, 128]".
[[nodiscard]] std::string shape_text(std::span<const std::int64_t> shape);

/// Open safetensors: one file or all shards of a checkpoint, mapped read-only. Move-only; tensor
/// data are views into the mappings and live as long as this.
class SafeTensors {
 public:
  /// Opens a .safetensors file, an index (.json), or a folder: its model.safetensors.index.json,
  /// else model.safetensors, else adapter_model.safetensors, else its only .safetensors file.
  /// Throws Error, also when the index names tensors or shards that are not there.
  [[nodiscard]] static SafeTensors open(const std::filesystem::path& path);
  /// Parses a whole file held in memory, which must outlive the result (tests, fuzzing).
  [[nodiscard]] static SafeTensors from_bytes(std::span<const std::byte> bytes,
                                              const std::string& name = "memory");

  SafeTensors(SafeTensors&&) noexcept;
  SafeTensors& operator=(SafeTensors&&) noexcept;
  ~SafeTensors();

  /// All tensors, by name.
  [[nodiscard]] std::span<const SafeTensor> tensors() const noexcept;
  /// The tensor called `name`, or null.
  [[nodiscard]] const SafeTensor* find(std::string_view name) const noexcept;
  /// The bytes of a tensor of this object, little-endian as they are stored, without alignment.
  [[nodiscard]] std::span<const std::byte> data(const SafeTensor& tensor) const noexcept;
  /// The values [first, first + out.size()) of a tensor as floats: widened exactly for types of up
  /// to 16 bits, rounded to nearest for wider integers and F64. The range must lie inside.
  void read(const SafeTensor& tensor, std::int64_t first, std::span<float> out) const noexcept;

  /// The strings under "__metadata__" of all files.
  [[nodiscard]] const std::map<std::string, std::string>& metadata() const noexcept;
  [[nodiscard]] std::size_t parts() const noexcept;
  /// What was opened: the file or the index.
  [[nodiscard]] const std::filesystem::path& path() const noexcept;
  /// Throws Error if a shard was truncated since it was opened.
  void check() const;

 private:
  struct Impl;
  explicit SafeTensors(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace hearth::gguf
