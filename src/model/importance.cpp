#include "model/importance.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <utility>

#include "gguf/file.h"
#include "gguf/writer.h"
#include "support/error.h"
#include "support/file.h"

namespace hearth::model {
namespace {

constexpr std::string_view kSums = ".in_sum2";
constexpr std::string_view kCounts = ".counts";

[[noreturn]] void fail(const std::string& file, const std::string& what) {
  throw Error(fmt::format("bad importance matrix '{}': {}", printable(file, 300), what),
              "make it again with hearth imatrix");
}

bool measurable(std::span<const float> values) {
  return std::all_of(values.begin(), values.end(),
                     [](float value) { return std::isfinite(value) && value >= 0; });
}

/// Checks an entry and puts it into `matrix`.
void insert(ImportanceMatrix& matrix, const std::string& file, std::string name,
            Importance importance) {
  const auto refuse = [&](const char* what) {
    fail(file, fmt::format("what it says about '{}' {}", printable(name), what));
  };
  if (importance.sums.empty() || importance.counts.empty() ||
      importance.sums.size() % importance.counts.size() != 0)
    refuse("is not a whole number of rows");
  if (!measurable(importance.sums) || !measurable(importance.counts))
    refuse("contains values that are negative or not finite");
  if (!matrix.tensors.try_emplace(std::move(name), std::move(importance)).second)
    fail(file, "it names a tensor twice");
}

std::vector<float> floats_of(const gguf::File& gguf, const gguf::TensorInfo& tensor,
                             const std::string& file) {
  if (tensor.dtype != tensor::DType::kF32)
    fail(file, fmt::format("the tensor '{}' is not F32", printable(tensor.name)));
  const std::span<const std::byte> data = gguf.data(tensor);
  std::vector<float> values(data.size() / sizeof(float));
  std::memcpy(values.data(), data.data(), data.size());
  return values;
}

ImportanceMatrix from_gguf(const gguf::File& gguf, const std::string& file) {
  const gguf::Metadata& metadata = gguf.metadata();
  if (metadata.get_string("general.type") != "imatrix") {
    throw Error(fmt::format("'{}' is not an importance matrix", printable(file, 300)),
                "make one with hearth imatrix");
  }
  ImportanceMatrix matrix;
  if (const auto datasets = metadata.get_strings("imatrix.datasets"))
    matrix.datasets.assign(datasets->begin(), datasets->end());
  const auto number = [&](const char* key) {
    const std::uint64_t value = metadata.get_uint(key).value_or(0);
    return static_cast<std::uint32_t>(
        std::min<std::uint64_t>(value, std::numeric_limits<std::uint32_t>::max()));
  };
  matrix.chunk_count = number("imatrix.chunk_count");
  matrix.chunk_size = number("imatrix.chunk_size");
  for (const gguf::TensorInfo& tensor : gguf.tensors()) {
    if (!tensor.name.ends_with(kSums)) continue;
    const std::string name = tensor.name.substr(0, tensor.name.size() - kSums.size());
    const gguf::TensorInfo* counts = gguf.find_tensor(name + std::string(kCounts));
    if (counts == nullptr) fail(file, fmt::format("there are no counts of '{}'", printable(name)));
    insert(matrix, file, name, {floats_of(gguf, tensor, file), floats_of(gguf, *counts, file)});
  }
  gguf.check();
  return matrix;
}

/// Reads the older format from its bytes, every length checked against what is left.
class OldReader {
 public:
  OldReader(std::span<const std::byte> bytes, const std::string& file)
      : bytes_(bytes), file_(&file) {}

  [[nodiscard]] ImportanceMatrix read() {
    ImportanceMatrix matrix;
    const std::size_t entries = take_size("the number of tensors");
    for (std::size_t entry = 0; entry < entries; ++entry) {
      std::string name = take_text("a name");
      const auto calls = static_cast<float>(take_size("a number of calls"));
      std::vector<float> sums = take_floats();
      insert(matrix, *file_, std::move(name), {std::move(sums), {calls}});
    }
    // What follows came with later versions.
    if (!bytes_.empty())
      matrix.chunk_count = static_cast<std::uint32_t>(take_size("the number of chunks"));
    if (!bytes_.empty()) matrix.datasets = {take_text("the name of the dataset")};
    if (!bytes_.empty()) fail(*file_, "something follows behind its end");
    return matrix;
  }

 private:
  std::span<const std::byte> take(std::size_t count, const char* what) {
    if (count > bytes_.size()) fail(*file_, fmt::format("it ends within {}", what));
    const auto taken = bytes_.first(count);
    bytes_ = bytes_.subspan(count);
    return taken;
  }
  std::size_t take_size(const char* what) {
    std::int32_t value = 0;
    std::memcpy(&value, take(sizeof(value), what).data(), sizeof(value));
    if (value < 0) fail(*file_, fmt::format("{} is negative", what));
    return static_cast<std::size_t>(value);
  }
  std::string take_text(const char* what) {
    const std::size_t length = take_size("a length");
    const auto text = take(length, what);
    return {reinterpret_cast<const char*>(text.data()), text.size()};
  }
  std::vector<float> take_floats() {
    const std::size_t count = take_size("a number of values");
    const auto data = take(count * sizeof(float), "its values");
    std::vector<float> values(count);
    if (count != 0) std::memcpy(values.data(), data.data(), data.size());
    return values;
  }

  std::span<const std::byte> bytes_;
  const std::string* file_;
};

bool is_gguf(std::span<const std::byte> bytes) {
  return bytes.size() >= 4 && std::memcmp(bytes.data(), "GGUF", 4) == 0;
}

ImportanceMatrix checked(ImportanceMatrix matrix, const std::string& file) {
  if (matrix.tensors.empty()) fail(file, "it says nothing about any tensor");
  return matrix;
}

gguf::Writer writer_of(const ImportanceMatrix& matrix) {
  gguf::Writer writer;
  writer.set("general.type", "imatrix");
  writer.set_array("imatrix.datasets", matrix.datasets);
  writer.set("imatrix.chunk_count", matrix.chunk_count);
  writer.set("imatrix.chunk_size", matrix.chunk_size);
  for (const auto& [name, importance] : matrix.tensors) {
    const auto matrices = static_cast<std::int64_t>(importance.counts.size());
    const auto columns = static_cast<std::int64_t>(importance.sums.size()) / matrices;
    writer.add_tensor(name + std::string(kSums), tensor::DType::kF32, {columns, matrices},
                      std::as_bytes(std::span(importance.sums)));
    writer.add_tensor(name + std::string(kCounts), tensor::DType::kF32, {1, matrices},
                      std::as_bytes(std::span(importance.counts)));
  }
  return writer;
}

/// The sums and counts of `other` added to those of `importance`.
void add_to(Importance& importance, const Importance& other, const std::string& name) {
  if (importance.sums.size() != other.sums.size() ||
      importance.counts.size() != other.counts.size()) {
    throw Error(
        fmt::format("the importance matrices have different sizes of '{}'", printable(name)),
        "both have to be of the same model and in the same format");
  }
  const auto plus = [](std::vector<float>& to, const std::vector<float>& from) {
    std::transform(to.begin(), to.end(), from.begin(), to.begin(), std::plus<float>());
  };
  plus(importance.sums, other.sums);
  plus(importance.counts, other.counts);
}

}  // namespace

bool Importance::fits(std::int64_t columns, std::int64_t matrices) const noexcept {
  std::int64_t values = 0;
  if (__builtin_mul_overflow(columns, matrices, &values)) return false;
  const auto known = static_cast<std::int64_t>(counts.size());
  return static_cast<std::int64_t>(sums.size()) == values && (known == matrices || known == 1);
}

void Importance::weights(std::int64_t matrix, std::span<float> out) const noexcept {
  const auto index = static_cast<std::size_t>(matrix);
  const float count = counts.size() == 1 ? counts[0] : counts[index];
  if (count <= 0) return std::fill(out.begin(), out.end(), 1.0f);
  const float* row = sums.data() + index * out.size();
  std::transform(row, row + out.size(), out.begin(), [=](float sum) { return sum / count; });
}

const Importance* ImportanceMatrix::find(std::string_view name) const noexcept {
  const auto found = tensors.find(name);
  return found == tensors.end() ? nullptr : &found->second;
}

void ImportanceMatrix::add(const ImportanceMatrix& other) {
  for (const auto& [name, importance] : other.tensors) {
    const auto [place, added] = tensors.try_emplace(name, importance);
    if (!added) add_to(place->second, importance, name);
  }
  for (const std::string& dataset : other.datasets) {
    if (std::find(datasets.begin(), datasets.end(), dataset) == datasets.end())
      datasets.push_back(dataset);
  }
  chunk_count += other.chunk_count;
  chunk_size = std::max(chunk_size, other.chunk_size);
}

ImportanceMatrix parse_importance(std::span<const std::byte> bytes, const std::string& name) {
  if (is_gguf(bytes)) return checked(from_gguf(gguf::File::from_bytes(bytes, name), name), name);
  return checked(OldReader(bytes, name).read(), name);
}

ImportanceMatrix read_importance(const std::filesystem::path& path) {
  const Mapping mapping(path);
  const std::string name = path.string();
  // Opened by its path, a GGUF file may have parts.
  if (is_gguf(mapping.bytes())) return checked(from_gguf(gguf::File::open(path), name), name);
  ImportanceMatrix matrix = parse_importance(mapping.bytes(), name);
  mapping.check();
  return matrix;
}

void write_importance(const std::filesystem::path& path, const ImportanceMatrix& matrix) {
  writer_of(matrix).write(path);
}

std::string importance_bytes(const ImportanceMatrix& matrix) { return writer_of(matrix).bytes(); }

}  // namespace hearth::model
