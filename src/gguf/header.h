// Parsing of the part of a GGUF file before its tensor data: metadata and tensor infos
// (reference/gguf.md sections 1.1 and 1.2). Internal to the room; use gguf/file.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "gguf/file.h"

namespace hearth::gguf {

constexpr std::uint32_t kMagic = 0x46554747;  // "GGUF" read as a little-endian number
constexpr std::uint64_t kDefaultAlignment = 32;
constexpr std::uint64_t kMaxAlignment = std::uint64_t{1} << 26;
constexpr std::size_t kMaxKeyBytes = 65535;
constexpr std::size_t kMaxTensorNameBytes =
    1024;  // the format asks for 64; image models in the wild use more
/// Numbers are widened to 8 bytes, so this bounds the memory a metadata array may take to 64 MiB.
constexpr std::uint64_t kMaxArrayElements = std::uint64_t{1} << 23;

/// One parsed header. Keys and string values are views into the parsed bytes.
struct Header {
  std::uint32_t version = 0;
  bool swapped = false;  // the file has the other byte order than this machine
  std::uint64_t alignment = kDefaultAlignment;
  std::uint64_t data_start = 0;  // offset of the tensor data
  Metadata metadata;
  std::vector<TensorInfo>
      tensors;  // offsets are absolute; all checked to lie inside the file without overlap
};

/// Throws Error "bad GGUF file 'NAME': at byte OFFSET, WHAT".
[[noreturn]] void throw_bad_file(std::string_view name, std::uint64_t offset,
                                 const std::string& what, std::string hint = {});

/// Reads and checks a header. One instance per file; the memory it uses is bounded by the file's
/// size.
class HeaderReader {
 public:
  /// `with_data` false: tensor data may be missing behind the end of `bytes`.
  HeaderReader(std::span<const std::byte> bytes, std::string_view name, bool with_data = true)
      : bytes_(bytes), name_(name), with_data_(with_data) {}

  /// Throws Error when anything in the header is not as the format says.
  [[nodiscard]] Header read();

 private:
  struct TensorPlace {
    std::uint64_t info_at;  // where in the file the tensor's info begins
    std::uint32_t index;
  };

  [[nodiscard]] std::uint64_t remaining() const noexcept { return bytes_.size() - position_; }
  [[noreturn]] void fail(std::uint64_t offset, const std::string& what,
                         std::string hint = {}) const;
  [[noreturn]] void fail_count(std::uint64_t offset, const std::string& claim, std::uint64_t count,
                               const char* items) const;
  void need(std::uint64_t count, const std::string& what) const;
  template <typename T>
  [[nodiscard]] T take(const char* what);
  [[nodiscard]] std::string_view take_string(const char* what, std::uint64_t limit);
  [[nodiscard]] std::string_view take_name(const char* what, std::uint64_t limit);

  void read_magic_and_version();
  void read_entries(std::uint64_t count);
  [[nodiscard]] Value read_value(std::string_view key);
  [[nodiscard]] Array read_array(std::string_view key);
  void read_elements(std::string_view key, Array& array);
  [[nodiscard]] bool read_bool(std::string_view key);
  template <typename Stored, typename Wide>
  [[nodiscard]] std::vector<Wide> read_numbers(std::size_t count);
  void index_keys();
  void read_alignment();
  void read_tensors(std::uint64_t count);
  [[nodiscard]] TensorInfo read_tensor();
  void read_shape(TensorInfo& tensor);
  void set_bytes(TensorInfo& tensor, std::uint64_t at) const;
  void place_tensors();

  std::span<const std::byte> bytes_;
  std::string_view name_;
  bool with_data_;
  std::uint64_t position_ = 0;
  Header header_;
  std::vector<std::uint64_t> key_positions_;
  std::vector<TensorPlace> places_;
};

}  // namespace hearth::gguf
