#include "gguf/safetensors.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <utility>

#include "gguf/json_cursor.h"
#include "quant/quant.h"
#include "support/error.h"
#include "support/file.h"
#include "tensor/dtype.h"

namespace hearth::gguf {
namespace {

static_assert(std::endian::native == std::endian::little, "safetensors are little-endian");

constexpr std::uint64_t kMaxHeaderBytes = 100'000'000;  // the format's own limit
constexpr std::size_t kMaxIndexBytes = std::size_t{64} << 20;
constexpr std::size_t kMaxNameBytes = 4096;
constexpr std::size_t kMaxDimensions = 16;
constexpr std::size_t kMaxParts = 1000;
constexpr const char* kFetchAgain = "the file is damaged or incomplete: fetch it again";

struct TypeInfo {
  std::string_view name;
  std::size_t bytes;
};
constexpr std::array<TypeInfo, 15> kTypes = {{{"BOOL", 1},
                                              {"U8", 1},
                                              {"I8", 1},
                                              {"F8_E4M3", 1},
                                              {"F8_E5M2", 1},
                                              {"U16", 2},
                                              {"I16", 2},
                                              {"F16", 2},
                                              {"BF16", 2},
                                              {"U32", 4},
                                              {"I32", 4},
                                              {"F32", 4},
                                              {"U64", 8},
                                              {"I64", 8},
                                              {"F64", 8}}};

/// Parses the header of one file. The memory it takes is bounded by the header's size.
class HeaderParser {
 public:
  HeaderParser(std::span<const std::byte> bytes, const std::string& name)
      : bytes_(bytes), name_(name), json_(text(), name_) {}

  /// Appends the tensors of this file, which is number `part`.
  void read(std::uint32_t part, std::vector<SafeTensor>& tensors,
            std::map<std::string, std::string>& metadata) {
    const std::size_t first = tensors.size();
    json_.object([&](const std::string& key) {
      if (key == "__metadata__") {
        json_.object([&](const std::string& entry) { metadata[entry] = json_.string(); });
        return;
      }
      tensors.push_back(read_tensor(key));
      tensors.back().part = part;
    });
    json_.finish();
    check_places(std::span(tensors).subspan(first));
  }

 private:
  std::string_view text() {
    std::uint64_t size = 0;
    if (bytes_.size() < sizeof(size)) fail("it is too short for a header");
    std::memcpy(&size, bytes_.data(), sizeof(size));
    if (size > kMaxHeaderBytes || size > bytes_.size() - sizeof(size)) {
      fail("its header claims " + std::to_string(size) + " bytes, but the file has " +
           std::to_string(bytes_.size()));
    }
    data_start_ = sizeof(size) + size;
    return {reinterpret_cast<const char*>(bytes_.data()) + sizeof(size),
            static_cast<std::size_t>(size)};
  }

  [[noreturn]] void fail(const std::string& what) const {
    throw Error("bad safetensors file " + in_quotes(name_, kPathLimit) + ": " + what, kFetchAgain);
  }
  [[noreturn]] void fail(const SafeTensor& tensor, const std::string& what) const {
    fail("tensor " + in_quotes(tensor.name) + " " + what);
  }

  SafeTensor read_tensor(const std::string& key) {
    if (key.empty() || key.size() > kMaxNameBytes) fail("a tensor's name is empty or too long");
    SafeTensor tensor;
    tensor.name = key;
    bool has_type = false, has_shape = false;
    std::vector<std::uint64_t> offsets;
    json_.object([&](const std::string& field) {
      if (field == "dtype") {
        has_type = true;
        tensor.type = read_type(tensor);
      } else if (field == "shape") {
        has_shape = true;
        read_shape(tensor);
      } else if (field == "data_offsets") {
        json_.array([&] {
          if (offsets.size() == 2) fail(tensor, "has more than two offsets");
          offsets.push_back(json_.unsigned_integer());
        });
      } else {
        json_.skip();
      }
    });
    if (!has_type || !has_shape || offsets.size() != 2)
      fail(tensor, "lacks its dtype, shape or data_offsets");
    place(tensor, offsets[0], offsets[1]);
    return tensor;
  }

  SafeType read_type(const SafeTensor& tensor) {
    const std::string type = json_.string();
    for (std::size_t i = 0; i < kTypes.size(); ++i) {
      if (kTypes[i].name == type) return static_cast<SafeType>(i);
    }
    fail(tensor, "has the unknown dtype " + in_quotes(type));
  }

  void read_shape(SafeTensor& tensor) {
    tensor.shape.clear();
    json_.array([&] {
      if (tensor.shape.size() == kMaxDimensions) fail(tensor, "has too many dimensions");
      const std::uint64_t size = json_.unsigned_integer();
      if (size > std::uint64_t{1} << 62) fail(tensor, "is too large");
      tensor.shape.push_back(static_cast<std::int64_t>(size));
    });
  }

  void place(SafeTensor& tensor, std::uint64_t begin, std::uint64_t end) const {
    std::uint64_t bytes = element_bytes(tensor.type);
    for (const std::int64_t size : tensor.shape) {
      if (__builtin_mul_overflow(bytes, static_cast<std::uint64_t>(size), &bytes))
        fail(tensor, "is too large");
    }
    if (begin > end || end - begin != bytes) {
      fail(tensor, "has " + shape_text(tensor.shape) + " values of type " +
                       std::string(gguf::name(tensor.type)) + ", which are " +
                       std::to_string(bytes) + " bytes, but its data_offsets are " +
                       std::to_string(begin) + " and " + std::to_string(end));
    }
    if (end > bytes_.size() - data_start_) {
      fail(tensor, "ends at byte " + std::to_string(end) + " of the data, but there are only " +
                       std::to_string(bytes_.size() - data_start_) + ": the file is truncated");
    }
    tensor.bytes = bytes;
    tensor.offset = data_start_ + begin;
  }

  /// The data must be covered without holes and overlaps, as the format says.
  void check_places(std::span<const SafeTensor> tensors) const {
    std::vector<const SafeTensor*> order;
    for (const SafeTensor& tensor : tensors) order.push_back(&tensor);
    std::sort(order.begin(), order.end(), [](const SafeTensor* a, const SafeTensor* b) {
      return std::pair(a->offset, a->bytes) < std::pair(b->offset, b->bytes);
    });
    std::uint64_t end = data_start_;
    for (const SafeTensor* tensor : order) {
      if (tensor->offset < end) fail(*tensor, "overlaps another one");
      if (tensor->offset > end) fail(*tensor, "is preceded by bytes that belong to no tensor");
      end = tensor->offset + tensor->bytes;
    }
    if (end != bytes_.size()) fail("it has bytes after its last tensor");
  }

  std::span<const std::byte> bytes_;
  const std::string& name_;
  std::uint64_t data_start_ = 0;
  JsonCursor json_;
};

/// weight_map of an index: which tensor is in which file.
std::map<std::string, std::string> read_index(const std::filesystem::path& path) {
  const std::string text = read_file(path, kMaxIndexBytes);
  const std::string name = path.string();
  JsonCursor json(text, name);
  std::map<std::string, std::string> map;
  bool found = false;
  json.object([&](const std::string& key) {
    if (key != "weight_map") return json.skip();
    found = true;
    json.object([&](const std::string& tensor) { map[tensor] = json.string(); });
  });
  json.finish();
  if (!found || map.empty()) {
    throw Error("the index " + in_quotes(name, kPathLimit) + " has no weight_map", kFetchAgain);
  }
  for (const auto& [tensor, file] : map) {
    // The files lie beside the index; an index from a stranger must not reach anywhere else.
    if (file.empty() || file.find('/') != file.npos || file.find('\\') != file.npos ||
        file.find('\0') != file.npos || file == "." || file == "..") {
      throw Error("the index " + in_quotes(name, kPathLimit) + " names the file " +
                      in_quotes(file, kPathLimit) + ", which is not a plain file name",
                  "the index is not from a trustworthy place: fetch it again");
    }
  }
  return map;
}

/// What a folder offers to open.
std::filesystem::path choose_file(const std::filesystem::path& folder) {
  for (const char* name :
       {"model.safetensors.index.json", "model.safetensors", "adapter_model.safetensors"}) {
    if (std::filesystem::exists(folder / name)) return folder / name;
  }
  std::vector<std::filesystem::path> candidates;
  bool pickled = false;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    const std::string extension = entry.path().extension().string();
    if (extension == ".safetensors") candidates.push_back(entry.path());
    pickled = pickled || extension == ".bin" || extension == ".pt" || extension == ".pth";
  }
  if (candidates.size() == 1) return candidates.front();
  if (candidates.empty()) {
    throw Error(
        "the folder " + in_quotes(folder.string(), kPathLimit) + " has no .safetensors file",
        pickled ? "its weights are in PyTorch's own format: save them as safetensors first"
                : "fetch the model.safetensors files of the checkpoint");
  }
  throw Error("the folder " + in_quotes(folder.string(), kPathLimit) + " has " +
                  std::to_string(candidates.size()) +
                  " .safetensors files and no model.safetensors.index.json",
              "fetch the index, too, or name one of the files");
}

template <class Stored>
void widen(const std::byte* from, std::span<float> out) noexcept {
  for (std::size_t i = 0; i < out.size(); ++i) {
    Stored value;
    std::memcpy(&value, from + i * sizeof(Stored), sizeof(Stored));
    out[i] = static_cast<float>(value);
  }
}

float float_from_e4m3(unsigned bits) noexcept {
  const int exponent = static_cast<int>(bits >> 3) & 15;
  const int mantissa = static_cast<int>(bits & 7);
  float value = 0;
  if (exponent == 15 && mantissa == 7) {
    value = std::numeric_limits<float>::quiet_NaN();
  } else if (exponent == 0) {
    value = std::ldexp(static_cast<float>(mantissa), -9);
  } else {
    value = std::ldexp(static_cast<float>(8 + mantissa), exponent - 10);
  }
  return (bits & 0x80) != 0 ? -value : value;
}

/// What the 256 bytes of an 8-bit float type stand for.
using ByteValues = std::array<float, 256>;

const ByteValues& values_of(SafeType type) noexcept {
  static const std::array<ByteValues, 2> tables = [] {
    std::array<ByteValues, 2> made;
    for (unsigned bits = 0; bits < 256; ++bits) {
      made[0][bits] = float_from_e4m3(bits);
      // E5M2 is the upper half of a binary16.
      made[1][bits] = tensor::float_from_half(static_cast<std::uint16_t>(bits << 8));
    }
    return made;
  }();
  return tables[type == SafeType::kF8E4M3 ? 0 : 1];
}

/// The type of GGUF files with the same values, where there is one.
std::optional<tensor::DType> same_type(SafeType type) noexcept {
  switch (type) {
    case SafeType::kI8:
      return tensor::DType::kI8;
    case SafeType::kI16:
      return tensor::DType::kI16;
    case SafeType::kF16:
      return tensor::DType::kF16;
    case SafeType::kBF16:
      return tensor::DType::kBF16;
    case SafeType::kI32:
      return tensor::DType::kI32;
    case SafeType::kF32:
      return tensor::DType::kF32;
    case SafeType::kI64:
      return tensor::DType::kI64;
    case SafeType::kF64:
      return tensor::DType::kF64;
    default:
      return std::nullopt;
  }
}

}  // namespace

std::string_view name(SafeType type) noexcept {
  return kTypes[static_cast<std::size_t>(type)].name;
}

std::size_t element_bytes(SafeType type) noexcept {
  return kTypes[static_cast<std::size_t>(type)].bytes;
}

std::int64_t SafeTensor::elements() const noexcept {
  return static_cast<std::int64_t>(bytes / element_bytes(type));
}

std::string shape_text(std::span<const std::int64_t> shape) {
  std::string text = "[";
  for (const std::int64_t size : shape) {
    text += (text.size() == 1 ? "" : ", ") + std::to_string(size);
  }
  return text + "]";
}

struct SafeTensors::Impl {
  std::filesystem::path path;
  std::vector<Mapping> mappings;
  std::vector<std::span<const std::byte>> parts;
  std::vector<SafeTensor> tensors;  // by name
  std::map<std::string, std::string> metadata;

  void add_part(std::span<const std::byte> bytes, const std::string& name) {
    parts.push_back(bytes);
    HeaderParser(bytes, name).read(static_cast<std::uint32_t>(parts.size() - 1), tensors, metadata);
  }

  void add_file(const std::filesystem::path& file) {
    mappings.emplace_back(file);
    add_part(mappings.back().bytes(), file.string());
    mappings.back().check();
  }

  void sort() {
    std::sort(tensors.begin(), tensors.end(),
              [](const SafeTensor& a, const SafeTensor& b) { return a.name < b.name; });
    const auto twin = std::adjacent_find(
        tensors.begin(), tensors.end(),
        [](const SafeTensor& a, const SafeTensor& b) { return a.name == b.name; });
    if (twin != tensors.end()) {
      throw Error("bad safetensors file " + in_quotes(path.string(), kPathLimit) +
                      ": it has two tensors called " + in_quotes(twin->name),
                  kFetchAgain);
    }
  }

  void open_index() {
    const std::map<std::string, std::string> map = read_index(path);
    std::map<std::string, std::uint32_t> numbers;
    for (const auto& [tensor, file] : map) numbers.emplace(file, 0);
    if (numbers.size() > kMaxParts) {
      throw Error("the index " + in_quotes(path.string(), kPathLimit) + " names more than " +
                  std::to_string(kMaxParts) + " files");
    }
    for (auto& [file, number] : numbers) {
      number = static_cast<std::uint32_t>(parts.size());
      const std::filesystem::path shard = path.parent_path() / file;
      if (!std::filesystem::exists(shard)) {
        throw Error("the shard " + in_quotes(shard.string(), kPathLimit) + " is missing",
                    "fetch it");
      }
      add_file(shard);
    }
    // The index decides; what a shard holds besides is not part of the model.
    std::erase_if(tensors, [&](const SafeTensor& tensor) {
      const auto entry = map.find(tensor.name);
      return entry == map.end() || numbers.at(entry->second) != tensor.part;
    });
    sort();
    if (tensors.size() == map.size()) return;
    for (const auto& [tensor, file] : map) {
      if (!std::binary_search(tensors.begin(), tensors.end(), tensor, ByName{})) {
        throw Error("the shard " + in_quotes(file, kPathLimit) + " lacks the tensor " +
                        in_quotes(tensor) + ", which the index places there",
                    kFetchAgain);
      }
    }
  }

  struct ByName {
    bool operator()(const SafeTensor& a, std::string_view b) const { return a.name < b; }
    bool operator()(std::string_view a, const SafeTensor& b) const { return a < b.name; }
  };
};

SafeTensors::SafeTensors(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
SafeTensors::SafeTensors(SafeTensors&&) noexcept = default;
SafeTensors& SafeTensors::operator=(SafeTensors&&) noexcept = default;
SafeTensors::~SafeTensors() = default;

SafeTensors SafeTensors::open(const std::filesystem::path& path) {
  auto impl = std::make_unique<Impl>();
  impl->path = std::filesystem::is_directory(path) ? choose_file(path) : path;
  if (impl->path.extension() == ".json") {
    impl->open_index();
  } else {
    impl->add_file(impl->path);
    impl->sort();
  }
  return SafeTensors(std::move(impl));
}

SafeTensors SafeTensors::from_bytes(std::span<const std::byte> bytes, const std::string& name) {
  auto impl = std::make_unique<Impl>();
  impl->path = name;
  impl->add_part(bytes, name);
  impl->sort();
  return SafeTensors(std::move(impl));
}

std::span<const SafeTensor> SafeTensors::tensors() const noexcept { return impl_->tensors; }

const SafeTensor* SafeTensors::find(std::string_view name) const noexcept {
  const auto found =
      std::lower_bound(impl_->tensors.begin(), impl_->tensors.end(), name, Impl::ByName{});
  return found != impl_->tensors.end() && found->name == name ? &*found : nullptr;
}

std::span<const std::byte> SafeTensors::data(const SafeTensor& tensor) const noexcept {
  return impl_->parts[tensor.part].subspan(static_cast<std::size_t>(tensor.offset),
                                           static_cast<std::size_t>(tensor.bytes));
}

void SafeTensors::read(const SafeTensor& tensor, std::int64_t first,
                       std::span<float> out) const noexcept {
  const std::size_t element = element_bytes(tensor.type);
  const std::span<const std::byte> from =
      data(tensor).subspan(static_cast<std::size_t>(first) * element, out.size() * element);
  if (const auto dtype = same_type(tensor.type)) return quant::decode(*dtype, from, out);
  switch (tensor.type) {
    case SafeType::kU16:
      return widen<std::uint16_t>(from.data(), out);
    case SafeType::kU32:
      return widen<std::uint32_t>(from.data(), out);
    case SafeType::kU64:
      return widen<std::uint64_t>(from.data(), out);
    case SafeType::kF8E4M3:
    case SafeType::kF8E5M2: {
      const ByteValues& values = values_of(tensor.type);
      for (std::size_t i = 0; i < out.size(); ++i)
        out[i] = values[static_cast<std::uint8_t>(from[i])];
      return;
    }
    default:
      return widen<std::uint8_t>(from.data(), out);
  }
}

const std::map<std::string, std::string>& SafeTensors::metadata() const noexcept {
  return impl_->metadata;
}
std::size_t SafeTensors::parts() const noexcept { return impl_->parts.size(); }
const std::filesystem::path& SafeTensors::path() const noexcept { return impl_->path; }

void SafeTensors::check() const {
  for (const Mapping& mapping : impl_->mappings) mapping.check();
}

}  // namespace hearth::gguf
