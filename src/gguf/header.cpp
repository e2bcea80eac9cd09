#include "gguf/header.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <numeric>
#include <optional>
#include <type_traits>
#include <utility>

#include "gguf/byte_order.h"
#include "support/error.h"
#include "support/utf8.h"

namespace hearth::gguf {
namespace {

constexpr std::uint64_t kMinEntryBytes = 8 + 1 + 4 + 1;           // key of one byte, type, u8
constexpr std::uint64_t kMinTensorBytes = 8 + 1 + 4 + 8 + 4 + 8;  // name of one byte, one dimension
constexpr const char* kTruncatedHint = "the file is incomplete or damaged; download it again";

/// What a stored number is kept as.
template <typename T>
using Widened =
    std::conditional_t<std::is_floating_point_v<T>, double,
                       std::conditional_t<std::is_signed_v<T>, std::int64_t, std::uint64_t>>;

/// Calls `action` with a zero of the C++ type of a number type and returns true; returns false for
/// other types.
template <typename Action>
bool with_number_type(ValueType type, Action action) {
  switch (type) {
    case ValueType::kU8:
      action(std::uint8_t{});
      return true;
    case ValueType::kI8:
      action(std::int8_t{});
      return true;
    case ValueType::kU16:
      action(std::uint16_t{});
      return true;
    case ValueType::kI16:
      action(std::int16_t{});
      return true;
    case ValueType::kU32:
      action(std::uint32_t{});
      return true;
    case ValueType::kI32:
      action(std::int32_t{});
      return true;
    case ValueType::kU64:
      action(std::uint64_t{});
      return true;
    case ValueType::kI64:
      action(std::int64_t{});
      return true;
    case ValueType::kF32:
      action(float{});
      return true;
    case ValueType::kF64:
      action(double{});
      return true;
    case ValueType::kBool:
    case ValueType::kString:
    case ValueType::kArray:
      return false;
  }
  return false;
}

/// Bytes an element of an array takes at least, or 0 for ids that are not element types.
std::uint64_t min_element_bytes(std::uint32_t id) {
  const auto type = static_cast<ValueType>(id);
  std::uint64_t bytes = 0;
  if (with_number_type(type, [&](auto number) { bytes = sizeof(number); })) return bytes;
  if (type == ValueType::kBool) return 1;
  return type == ValueType::kString ? sizeof(std::uint64_t) : 0;
}

/// What a file that does not begin with "GGUF" probably is.
std::string guess_hint(std::span<const std::byte> bytes) {
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()),
                              std::min<std::size_t>(bytes.size(), 64));
  if (text.starts_with("version https://git-lfs")) {
    return "it is a Git LFS pointer; fetch the real file with 'git lfs pull'";
  }
  if (text.starts_with("<")) return "it is a web page; download the model file itself";
  if (text.starts_with("tjgg") || text.starts_with("lmgg") || text.starts_with("fmgg")) {
    return "it is a GGML file from before GGUF; convert the original model to GGUF";
  }
  return "give a model file in GGUF format";
}

}  // namespace

void throw_bad_file(std::string_view name, std::uint64_t offset, const std::string& what,
                    std::string hint) {
  throw Error("bad GGUF file " + in_quotes(name, kPathLimit) + ": at byte " +
                  std::to_string(offset) + ", " + what,
              std::move(hint));
}

void HeaderReader::fail(std::uint64_t offset, const std::string& what, std::string hint) const {
  throw_bad_file(name_, offset, what, std::move(hint));
}

void HeaderReader::need(std::uint64_t count, const std::string& what) const {
  if (count <= remaining()) return;
  fail(position_,
       what + " needs " + std::to_string(count) + " bytes but only " + std::to_string(remaining()) +
           " are left in the file",
       kTruncatedHint);
}

void HeaderReader::fail_count(std::uint64_t offset, const std::string& claim, std::uint64_t count,
                              const char* items) const {
  fail(offset,
       claim + " " + std::to_string(count) + " " + items + ", which cannot fit in the " +
           std::to_string(remaining()) + " bytes that follow",
       kTruncatedHint);
}

template <typename T>
T HeaderReader::take(const char* what) {
  if (sizeof(T) > remaining()) need(sizeof(T), what);
  T value;
  std::memcpy(&value, bytes_.data() + position_, sizeof(T));
  position_ += sizeof(T);
  return header_.swapped ? byte_swapped(value) : value;
}

std::string_view HeaderReader::take_string(const char* what, std::uint64_t limit) {
  const std::uint64_t at = position_;
  const auto length = take<std::uint64_t>(what);
  if (length > limit) {
    fail(at, std::string(what) + " claims a length of " + std::to_string(length) +
                 " bytes, more than the " + std::to_string(limit) + " allowed");
  }
  if (length > remaining()) need(length, what);
  const std::string_view text(reinterpret_cast<const char*>(bytes_.data() + position_),
                              static_cast<std::size_t>(length));
  position_ += length;
  return text;
}

std::string_view HeaderReader::take_name(const char* what, std::uint64_t limit) {
  const std::uint64_t at = position_;
  const std::string_view name = take_string(what, limit);
  if (name.empty()) fail(at, std::string(what) + " is empty");
  if (find_invalid_utf8(name) != std::string_view::npos) {
    fail(at, std::string(what) + " " + in_quotes(name) + " is not valid UTF-8");
  }
  if (name.find('\0') != std::string_view::npos) {
    fail(at, std::string(what) + " " + in_quotes(name) + " contains a zero byte");
  }
  return name;
}

Header HeaderReader::read() {
  read_magic_and_version();
  const std::uint64_t tensors_at = position_;
  const auto tensor_count = take<std::uint64_t>("the tensor count");
  const std::uint64_t entries_at = position_;
  const auto entry_count = take<std::uint64_t>("the key-value count");
  // A count is believed only as far as its items could fit in the file.
  if (tensor_count > remaining() / kMinTensorBytes) {
    fail_count(tensors_at, "the file claims", tensor_count, "tensors");
  }
  if (entry_count > remaining() / kMinEntryBytes) {
    fail_count(entries_at, "the file claims", entry_count, "key-value pairs");
  }
  read_entries(entry_count);
  read_alignment();
  read_tensors(tensor_count);
  place_tensors();
  return std::move(header_);
}

void HeaderReader::read_magic_and_version() {
  if (bytes_.empty()) fail(0, "the file is empty", kTruncatedHint);
  std::uint32_t magic = 0;
  if (bytes_.size() >= 4) std::memcpy(&magic, bytes_.data(), 4);
  if constexpr (std::endian::native == std::endian::big) magic = byte_swapped(magic);
  if (magic != kMagic) {
    fail(0, "the file does not begin with the letters GGUF, so it is not a GGUF file",
         guess_hint(bytes_));
  }
  position_ = 4;
  header_.version = take<std::uint32_t>("the version");
  if ((header_.version & 0xFFFF) == 0) {
    header_.swapped = true;
    header_.version = byte_swapped(header_.version);
  }
  if (header_.version == 1) {
    fail(4, "version 1 is not supported", "convert the model again with a current converter");
  }
  if (header_.version != 2 && header_.version != 3) {
    fail(4, "version " + std::to_string(header_.version) + " is not supported",
         "this program reads GGUF versions 2 and 3");
  }
}

void HeaderReader::read_entries(std::uint64_t count) {
  key_positions_.reserve(static_cast<std::size_t>(count));
  header_.metadata.entries_.reserve(static_cast<std::size_t>(count));
  for (std::uint64_t i = 0; i < count; ++i) {
    key_positions_.push_back(position_);
    const std::string_view key = take_name("a key", kMaxKeyBytes);
    header_.metadata.entries_.push_back({key, read_value(key)});
  }
  index_keys();
}

Value HeaderReader::read_value(std::string_view key) {
  const std::uint64_t at = position_;
  const auto type = take<std::uint32_t>("a value type");
  Value value;
  value.type = static_cast<ValueType>(type);
  const bool is_number = with_number_type(value.type, [&]<typename T>(T) {
    value.data = static_cast<Widened<T>>(take<T>("a number"));
  });
  if (is_number) return value;
  switch (value.type) {
    case ValueType::kString:
      value.data = take_string("a string value", bytes_.size());
      break;
    case ValueType::kArray:
      value.data = read_array(key);
      break;
    case ValueType::kBool:
      value.data = read_bool(key);
      break;
    default:
      fail(at, "the value of " + in_quotes(key) + " has the unknown type " + std::to_string(type));
  }
  return value;
}

bool HeaderReader::read_bool(std::string_view key) {
  const auto stored = take<std::uint8_t>("a bool");
  if (stored <= 1) return stored == 1;
  fail(position_ - 1,
       "a bool of " + in_quotes(key) + " is " + std::to_string(stored) + " instead of 0 or 1");
}

Array HeaderReader::read_array(std::string_view key) {
  const std::uint64_t type_at = position_;
  const auto type = take<std::uint32_t>("an array's element type");
  const std::uint64_t element_bytes = min_element_bytes(type);
  if (static_cast<ValueType>(type) == ValueType::kArray) {
    fail(type_at,
         "the value of " + in_quotes(key) + " is an array of arrays, which is not supported");
  }
  if (element_bytes == 0) {
    fail(type_at,
         "the array " + in_quotes(key) + " has the unknown element type " + std::to_string(type));
  }
  const std::uint64_t count_at = position_;
  const auto count = take<std::uint64_t>("an array's length");
  if (count > remaining() / element_bytes) {
    fail_count(count_at, "the array " + in_quotes(key) + " claims", count, "elements");
  }
  if (count > kMaxArrayElements) {
    fail(count_at, "the array " + in_quotes(key) + " claims " + std::to_string(count) +
                       " elements, more than the " + std::to_string(kMaxArrayElements) +
                       " supported");
  }
  Array array;
  array.element_type = static_cast<ValueType>(type);
  array.size = static_cast<std::size_t>(count);
  read_elements(key, array);
  return array;
}

void HeaderReader::read_elements(std::string_view key, Array& array) {
  const bool are_numbers = with_number_type(array.element_type, [&]<typename T>(T) {
    array.elements = read_numbers<T, Widened<T>>(array.size);
  });
  if (are_numbers) return;
  if (array.element_type == ValueType::kBool) {
    std::vector<std::int64_t> bools(array.size);
    for (std::int64_t& element : bools) element = read_bool(key) ? 1 : 0;
    array.elements = std::move(bools);
    return;
  }
  // A vocabulary holds hundreds of thousands of strings: the loop keeps the position in a register
  // and leaves a string that does not fit to take_string, which throws.
  std::vector<std::string_view> strings;
  strings.reserve(array.size);
  std::uint64_t position = position_;
  const auto* bytes = reinterpret_cast<const char*>(bytes_.data());
  for (std::size_t i = 0; i < array.size; ++i) {
    std::uint64_t length = 0;
    const std::uint64_t left = bytes_.size() - position;
    if (left >= sizeof(length)) {
      std::memcpy(&length, bytes + position, sizeof(length));
      if (header_.swapped) length = byte_swapped(length);
    }
    if (left < sizeof(length) || length > left - sizeof(length)) {
      position_ = position;
      (void)take_string("a string of an array", bytes_.size());
    }
    strings.emplace_back(bytes + position + sizeof(length), static_cast<std::size_t>(length));
    position += sizeof(length) + length;
  }
  position_ = position;
  array.elements = std::move(strings);
}

template <typename Stored, typename Wide>
std::vector<Wide> HeaderReader::read_numbers(std::size_t count) {
  need(count * sizeof(Stored), "an array");
  std::vector<Wide> numbers(count);
  const std::byte* from = bytes_.data() + position_;
  for (std::size_t i = 0; i < count; ++i) {
    Stored value;
    std::memcpy(&value, from + i * sizeof(Stored), sizeof(Stored));
    numbers[i] = static_cast<Wide>(header_.swapped ? byte_swapped(value) : value);
  }
  position_ += count * sizeof(Stored);
  return numbers;
}

void HeaderReader::index_keys() {
  const auto& entries = header_.metadata.entries_;
  auto& sorted = header_.metadata.sorted_;
  sorted.resize(entries.size());
  std::iota(sorted.begin(), sorted.end(), 0U);
  std::sort(sorted.begin(), sorted.end(), [&](std::uint32_t a, std::uint32_t b) {
    return std::pair(entries[a].key, a) < std::pair(entries[b].key, b);
  });
  for (std::size_t i = 1; i < sorted.size(); ++i) {
    if (entries[sorted[i]].key != entries[sorted[i - 1]].key) continue;
    fail(key_positions_[sorted[i]],
         "the key " + in_quotes(entries[sorted[i]].key) + " appears a second time");
  }
}

void HeaderReader::read_alignment() {
  const auto& entries = header_.metadata.entries_;
  const auto found = std::find_if(entries.begin(), entries.end(), [](const KeyValue& entry) {
    return entry.key == "general.alignment";
  });
  if (found == entries.end()) return;
  const std::uint64_t at = key_positions_[static_cast<std::size_t>(found - entries.begin())];
  const std::optional<std::uint64_t> alignment = header_.metadata.get_uint(found->key);
  if (!alignment) fail(at, "the key 'general.alignment' is not an unsigned integer");
  if (!std::has_single_bit(*alignment) || *alignment > kMaxAlignment) {
    fail(at, "the key 'general.alignment' is " + std::to_string(*alignment) +
                 ", not a power of two up to " + std::to_string(kMaxAlignment));
  }
  header_.alignment = *alignment;
}

void HeaderReader::read_tensors(std::uint64_t count) {
  if (count > remaining() / kMinTensorBytes) {
    fail_count(position_, "the file claims", count, "tensors");
  }
  header_.tensors.reserve(static_cast<std::size_t>(count));
  places_.reserve(static_cast<std::size_t>(count));
  for (std::uint64_t i = 0; i < count; ++i) {
    places_.push_back({position_, static_cast<std::uint32_t>(i)});
    header_.tensors.push_back(read_tensor());
  }
  // Padding to the alignment; a file without tensors may end before it.
  header_.data_start = (position_ + header_.alignment - 1) & ~(header_.alignment - 1);
}

TensorInfo HeaderReader::read_tensor() {
  const std::uint64_t at = position_;
  TensorInfo tensor;
  tensor.name = take_name("a tensor name", kMaxTensorNameBytes);
  read_shape(tensor);
  const std::uint64_t type_at = position_;
  const auto type = take<std::uint32_t>("a tensor type");
  const auto dtype = tensor::dtype_from_id(type);
  if (!dtype) {
    fail(type_at,
         "tensor " + in_quotes(tensor.name) + " has the unknown type " + std::to_string(type),
         "the file needs a newer version of this program, or uses a retired format");
  }
  tensor.dtype = *dtype;
  const std::uint64_t offset_at = position_;
  tensor.offset = take<std::uint64_t>("a tensor offset");
  if (tensor.offset % header_.alignment != 0) {
    fail(offset_at, "the offset " + std::to_string(tensor.offset) + " of tensor " +
                        in_quotes(tensor.name) + " is not a multiple of the alignment " +
                        std::to_string(header_.alignment));
  }
  set_bytes(tensor, at);
  return tensor;
}

void HeaderReader::read_shape(TensorInfo& tensor) {
  const std::uint64_t at = position_;
  tensor.dimensions = take<std::uint32_t>("a tensor's number of dimensions");
  if (tensor.dimensions < 1 || tensor.dimensions > 4) {
    fail(at, "tensor " + in_quotes(tensor.name) + " has " + std::to_string(tensor.dimensions) +
                 " dimensions instead of 1 to 4");
  }
  for (std::uint32_t i = 0; i < tensor.dimensions; ++i) {
    tensor.shape[i] = take<std::int64_t>("a tensor dimension");
    if (tensor.shape[i] <= 0) {
      fail(position_ - 8, "dimension " + std::to_string(i) + " of tensor " +
                              in_quotes(tensor.name) + " is " + std::to_string(tensor.shape[i]));
    }
  }
}

void HeaderReader::set_bytes(TensorInfo& tensor, std::uint64_t at) const {
  const tensor::DTypeInfo& type = tensor::info(tensor.dtype);
  if (tensor.shape[0] % type.block_elements != 0) {
    fail(at, "the rows of tensor " + in_quotes(tensor.name) + " have " +
                 std::to_string(tensor.shape[0]) + " elements, not a multiple of the " +
                 std::to_string(type.block_elements) + " in a block of " + std::string(type.name));
  }
  std::int64_t elements = 1;
  bool overflow = false;
  for (const std::int64_t size : tensor.shape) {
    overflow = __builtin_mul_overflow(elements, size, &elements) || overflow;
  }
  std::int64_t bytes = 0;
  overflow =
      overflow || __builtin_mul_overflow(elements / type.block_elements,
                                         static_cast<std::int64_t>(type.block_bytes), &bytes);
  if (overflow) fail(at, "the size of tensor " + in_quotes(tensor.name) + " overflows 64 bits");
  tensor.bytes = static_cast<std::uint64_t>(bytes);
}

void HeaderReader::place_tensors() {
  constexpr std::uint64_t kAnywhere = std::uint64_t{1} << 62;
  const std::uint64_t size = with_data_ ? bytes_.size() : kAnywhere;
  for (const TensorPlace& place : places_) {
    TensorInfo& tensor = header_.tensors[place.index];
    const bool inside = header_.data_start <= size && tensor.offset <= size - header_.data_start &&
                        tensor.bytes <= size - header_.data_start - tensor.offset;
    if (!inside) {
      fail(place.info_at,
           "tensor " + in_quotes(tensor.name) + " (" + std::to_string(tensor.bytes) +
               " bytes at offset " + std::to_string(tensor.offset) +
               " of the data) runs past the end of the file at " + std::to_string(size),
           kTruncatedHint);
    }
    tensor.offset += header_.data_start;
  }
  const std::vector<TensorInfo>& tensors = header_.tensors;
  std::sort(places_.begin(), places_.end(), [&](const TensorPlace& a, const TensorPlace& b) {
    return tensors[a.index].offset < tensors[b.index].offset;
  });
  for (std::size_t i = 1; i < places_.size(); ++i) {
    const TensorInfo& before = tensors[places_[i - 1].index];
    const TensorInfo& after = tensors[places_[i].index];
    if (before.bytes <= after.offset - before.offset) continue;
    fail(places_[i].info_at, "the data of tensors " + in_quotes(before.name) + " and " +
                                 in_quotes(after.name) + " overlap");
  }
}

}  // namespace hearth::gguf
