#include "gguf/writer.h"

#include <algorithm>
#include <bit>
#include <memory>
#include <utility>

#include "gguf/header.h"
#include "gguf/split.h"
#include "quant/quant.h"
#include "support/error.h"
#include "support/file.h"
#include "support/utf8.h"

namespace hearth::gguf {
namespace {

constexpr std::uint32_t kVersion = 3;
constexpr std::uint64_t kChunkBytes = std::uint64_t{1} << 20;

std::uint64_t padding(std::uint64_t position, std::uint64_t alignment) {
  return (alignment - position % alignment) % alignment;
}

std::uint64_t checked_bytes(const std::string& name, tensor::DType dtype,
                            const std::vector<std::int64_t>& shape) {
  const auto refuse = [&](const std::string& why) {
    throw Error("cannot write tensor " + in_quotes(name) + ": " + why);
  };
  const tensor::DTypeInfo& type = tensor::info(dtype);
  if (shape.empty() || shape.size() > 4) refuse("it does not have 1 to 4 dimensions");
  std::int64_t elements = 1;
  for (const std::int64_t size : shape) {
    if (size <= 0 || __builtin_mul_overflow(elements, size, &elements)) {
      refuse("its dimensions are not positive or too large");
    }
  }
  if (shape[0] % type.block_elements != 0) {
    refuse("its rows are not whole blocks of " + std::string(type.name));
  }
  std::int64_t bytes = 0;
  if (__builtin_mul_overflow(elements / type.block_elements,
                             static_cast<std::int64_t>(type.block_bytes), &bytes)) {
    refuse("it is too large");
  }
  return static_cast<std::uint64_t>(bytes);
}

void require_name(const char* what, std::string_view name, std::size_t limit) {
  if (!name.empty() && name.size() <= limit && name.find('\0') == std::string_view::npos &&
      find_invalid_utf8(name) == std::string_view::npos) {
    return;
  }
  throw Error(std::string("cannot write the ") + what + " " + in_quotes(name) +
              ": names are UTF-8 of 1 to " + std::to_string(limit) + " bytes");
}

}  // namespace

void Writer::append_string(std::string& to, std::string_view text) {
  append(to, static_cast<std::uint64_t>(text.size()));
  to.append(text);
}

std::string Writer::array_header(ValueType type, std::uint64_t size) {
  std::string header;
  append(header, static_cast<std::uint32_t>(type));
  append(header, size);
  return header;
}

void Writer::put(std::string_view key, ValueType type, std::string payload) {
  require_name("key", key, kMaxKeyBytes);
  if (key.starts_with("split.")) {
    throw Error("cannot set the key " + in_quotes(key) + ": the writer makes split keys itself");
  }
  if (key == "general.alignment") {
    std::uint32_t alignment = 0;
    if (type == ValueType::kU32) std::memcpy(&alignment, payload.data(), sizeof(alignment));
    if (!std::has_single_bit(alignment) || alignment > kMaxAlignment) {
      throw Error("cannot write 'general.alignment': it has to be a u32 and a power of two");
    }
    alignment_ = alignment;
  }
  const auto found = std::find_if(entries_.begin(), entries_.end(),
                                  [&](const Entry& entry) { return entry.key == key; });
  if (found != entries_.end()) {
    *found = {std::string(key), type, std::move(payload)};
  } else {
    entries_.push_back({std::string(key), type, std::move(payload)});
  }
}

void Writer::set_bool(std::string_view key, bool value) {
  put(key, ValueType::kBool, std::string(1, value ? '\1' : '\0'));
}

void Writer::set(std::string_view key, std::string_view value) {
  std::string payload;
  append_string(payload, value);
  put(key, ValueType::kString, std::move(payload));
}

void Writer::set_array(std::string_view key, const std::vector<bool>& values) {
  std::string payload = array_header(ValueType::kBool, values.size());
  for (const bool value : values) payload += value ? '\1' : '\0';
  put(key, ValueType::kArray, std::move(payload));
}

void Writer::set_array(std::string_view key, const std::vector<std::string>& values) {
  set_array(key, std::vector<std::string_view>(values.begin(), values.end()));
}

void Writer::set_array(std::string_view key, const std::vector<std::string_view>& values) {
  std::string payload = array_header(ValueType::kString, values.size());
  for (const std::string_view value : values) append_string(payload, value);
  put(key, ValueType::kArray, std::move(payload));
}

namespace {

/// `values` narrowed back to the type that a file stores.
template <typename Stored, typename Wide>
std::vector<Stored> narrowed(const std::vector<Wide>& values) {
  std::vector<Stored> result;
  result.reserve(values.size());
  for (const Wide value : values) result.push_back(static_cast<Stored>(value));
  return result;
}

void copy_array(Writer& writer, std::string_view key, const Array& array) {
  const auto& data = array.elements;
  using Ints = std::vector<std::int64_t>;
  using Uints = std::vector<std::uint64_t>;
  using Floats = std::vector<double>;
  const auto put = [&]<typename Stored, typename Wide>(Stored, const Wide& values) {
    writer.set_array(key, narrowed<Stored>(values));
  };
  switch (array.element_type) {
    case ValueType::kU8:
      return put(std::uint8_t{}, std::get<Uints>(data));
    case ValueType::kU16:
      return put(std::uint16_t{}, std::get<Uints>(data));
    case ValueType::kU32:
      return put(std::uint32_t{}, std::get<Uints>(data));
    case ValueType::kU64:
      return put(std::uint64_t{}, std::get<Uints>(data));
    case ValueType::kI8:
      return put(std::int8_t{}, std::get<Ints>(data));
    case ValueType::kI16:
      return put(std::int16_t{}, std::get<Ints>(data));
    case ValueType::kI32:
      return put(std::int32_t{}, std::get<Ints>(data));
    case ValueType::kI64:
      return put(std::int64_t{}, std::get<Ints>(data));
    case ValueType::kF32:
      return put(float{}, std::get<Floats>(data));
    case ValueType::kF64:
      return put(double{}, std::get<Floats>(data));
    case ValueType::kBool:
      return put(bool{}, std::get<Ints>(data));
    case ValueType::kString:
      return writer.set_array(key, std::get<std::vector<std::string_view>>(data));
    case ValueType::kArray:
      return;  // readers refuse arrays of arrays
  }
}

}  // namespace

void Writer::set(std::string_view key, const Value& value) {
  const auto unsigned_value = [&] { return std::get<std::uint64_t>(value.data); };
  const auto signed_value = [&] { return std::get<std::int64_t>(value.data); };
  switch (value.type) {
    case ValueType::kU8:
      return set(key, static_cast<std::uint8_t>(unsigned_value()));
    case ValueType::kU16:
      return set(key, static_cast<std::uint16_t>(unsigned_value()));
    case ValueType::kU32:
      return set(key, static_cast<std::uint32_t>(unsigned_value()));
    case ValueType::kU64:
      return set(key, unsigned_value());
    case ValueType::kI8:
      return set(key, static_cast<std::int8_t>(signed_value()));
    case ValueType::kI16:
      return set(key, static_cast<std::int16_t>(signed_value()));
    case ValueType::kI32:
      return set(key, static_cast<std::int32_t>(signed_value()));
    case ValueType::kI64:
      return set(key, signed_value());
    case ValueType::kF32:
      return set(key, static_cast<float>(std::get<double>(value.data)));
    case ValueType::kF64:
      return set(key, std::get<double>(value.data));
    case ValueType::kBool:
      return set_bool(key, std::get<bool>(value.data));
    case ValueType::kString:
      return set(key, std::get<std::string_view>(value.data));
    case ValueType::kArray:
      return copy_array(*this, key, std::get<Array>(value.data));
  }
}

void Writer::copy(const Metadata& metadata) {
  for (const KeyValue& entry : metadata.entries()) {
    if (!entry.key.starts_with("split.")) set(entry.key, entry.value);
  }
}

void Writer::add_tensor(std::string_view name, tensor::DType dtype, std::vector<std::int64_t> shape,
                        std::span<const std::byte> data) {
  const std::uint64_t bytes = checked_bytes(std::string(name), dtype, shape);
  if (bytes != data.size()) {
    throw Error("cannot write tensor " + in_quotes(name) + ": it needs " + std::to_string(bytes) +
                " bytes but " + std::to_string(data.size()) + " are given");
  }
  add_tensor(name, dtype, std::move(shape), [data](std::uint64_t offset, std::span<std::byte> out) {
    std::memcpy(out.data(), data.data() + offset, out.size());
  });
}

void Writer::add_tensor(std::string_view name, tensor::DType dtype, std::vector<std::int64_t> shape,
                        TensorSource source) {
  require_name("tensor name", name, kMaxTensorNameBytes);
  const std::uint64_t bytes = checked_bytes(std::string(name), dtype, shape);
  if (!names_.insert(std::string(name)).second) {
    throw Error("cannot write two tensors called " + in_quotes(name));
  }
  tensors_.push_back({std::string(name), dtype, std::move(shape), bytes, std::move(source)});
}

void Writer::add_floats(std::string_view name, std::vector<std::int64_t> shape,
                        std::span<const float> values, tensor::DType dtype) {
  if (!quant::can_encode(dtype)) {
    throw Error("cannot write tensor " + in_quotes(name) + ": there is no encoder for " +
                std::string(tensor::name(dtype)));
  }
  const std::uint64_t bytes = checked_bytes(std::string(name), dtype, shape);
  std::uint64_t elements = 1;
  for (const std::int64_t size : shape) elements *= static_cast<std::uint64_t>(size);
  if (elements != values.size()) {
    throw Error("cannot write tensor " + in_quotes(name) + ": it has " + std::to_string(elements) +
                " elements but " + std::to_string(values.size()) + " are given");
  }
  const auto owned = std::make_shared<std::vector<std::byte>>(static_cast<std::size_t>(bytes));
  quant::encode(dtype, values, *owned);
  add_tensor(name, dtype, std::move(shape),
             [owned](std::uint64_t offset, std::span<std::byte> out) {
               std::memcpy(out.data(), owned->data() + offset, out.size());
             });
}

std::string Writer::header_bytes(std::span<const Entry> entries, std::span<const Tensor> tensors,
                                 std::uint64_t alignment) {
  std::string header = "GGUF";
  append(header, kVersion);
  append(header, static_cast<std::uint64_t>(tensors.size()));
  append(header, static_cast<std::uint64_t>(entries.size()));
  for (const Entry& entry : entries) {
    append_string(header, entry.key);
    append(header, static_cast<std::uint32_t>(entry.type));
    header += entry.payload;
  }
  std::uint64_t offset = 0;
  for (const Tensor& tensor : tensors) {
    append_string(header, tensor.name);
    append(header, static_cast<std::uint32_t>(tensor.shape.size()));
    for (const std::int64_t size : tensor.shape) append(header, size);
    append(header, static_cast<std::uint32_t>(tensor.dtype));
    append(header, offset);
    offset += tensor.bytes + padding(tensor.bytes, alignment);
  }
  header.append(static_cast<std::size_t>(padding(header.size(), alignment)), '\0');
  return header;
}

void Writer::emit_data(const Tensor& tensor, const Sink& sink) {
  std::vector<std::byte> chunk(static_cast<std::size_t>(std::min(tensor.bytes, kChunkBytes)));
  for (std::uint64_t done = 0; done < tensor.bytes; done += chunk.size()) {
    chunk.resize(static_cast<std::size_t>(std::min(tensor.bytes - done, kChunkBytes)));
    tensor.source(done, chunk);
    sink(chunk);
  }
}

void Writer::emit(std::span<const Entry> entries, std::span<const Tensor> tensors,
                  std::uint64_t alignment, const Sink& sink) {
  const std::string header = header_bytes(entries, tensors, alignment);
  sink(std::as_bytes(std::span(header)));
  for (const Tensor& tensor : tensors) {
    emit_data(tensor, sink);
    const std::vector<std::byte> zeros(static_cast<std::size_t>(padding(tensor.bytes, alignment)));
    sink(zeros);
  }
}

std::string Writer::header() const { return header_bytes(entries_, tensors_, alignment_); }

std::string Writer::bytes() const {
  std::string all;
  emit(entries_, tensors_, alignment_, [&](std::span<const std::byte> some) {
    all.append(reinterpret_cast<const char*>(some.data()), some.size());
  });
  return all;
}

void Writer::write(const std::filesystem::path& path) const {
  AtomicFile file(path);
  emit(entries_, tensors_, alignment_, [&](auto some) { file.write(some); });
  file.commit();
}

std::vector<std::span<const Writer::Tensor>> Writer::cut(const SplitLimits& limits) const {
  std::vector<std::span<const Tensor>> parts;
  std::size_t begin = 0;
  std::uint64_t bytes = 0;
  for (std::size_t i = 0; i < tensors_.size(); ++i) {
    const bool full = i - begin >= limits.max_tensors || bytes > limits.max_data_bytes ||
                      tensors_[i].bytes > limits.max_data_bytes - bytes;
    if (i > begin && full) {
      parts.push_back(std::span(tensors_).subspan(begin, i - begin));
      begin = i;
      bytes = 0;
    }
    bytes += tensors_[i].bytes + padding(tensors_[i].bytes, alignment_);
  }
  parts.push_back(std::span(tensors_).subspan(begin));
  return parts;
}

std::vector<Writer::Entry> Writer::part_entries(std::size_t part, std::size_t parts) const {
  std::vector<Entry> entries;
  const auto add = [&](const char* key, auto number) {
    std::string payload;
    append(payload, number);
    entries.push_back({key, value_type_of<decltype(number)>(), std::move(payload)});
  };
  if (part == 0) {
    entries = entries_;
  } else if (alignment_ != kDefaultAlignment) {
    add("general.alignment", static_cast<std::uint32_t>(alignment_));
  }
  add("split.no", static_cast<std::uint16_t>(part));
  add("split.count", static_cast<std::uint16_t>(parts));
  add("split.tensors.count", static_cast<std::int32_t>(tensors_.size()));
  return entries;
}

std::vector<std::filesystem::path> Writer::write_split(const std::filesystem::path& path,
                                                       const SplitLimits& limits) const {
  const auto parts = cut(limits);
  if (parts.size() > kMaxSplitParts) {
    throw Error("cannot write " + in_quotes(path.string()) + ": it would have " +
                std::to_string(parts.size()) + " parts, more than " +
                std::to_string(kMaxSplitParts));
  }
  const SplitName name{path.parent_path(), path.stem().string()};
  const auto count = static_cast<std::uint32_t>(parts.size());
  std::vector<std::filesystem::path> paths;
  std::vector<AtomicFile> files;
  for (std::uint32_t part = 0; part < count; ++part) {
    paths.push_back(split_part_path(name, part, count));
    AtomicFile& file = files.emplace_back(paths.back());
    emit(part_entries(part, count), parts[part], alignment_, [&](auto some) { file.write(some); });
    file.sync();
  }
  for (AtomicFile& file : files) file.commit();
  return paths;
}

}  // namespace hearth::gguf
