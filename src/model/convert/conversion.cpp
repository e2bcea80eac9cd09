#include "model/convert/conversion.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <utility>

#include "quant/quant.h"
#include "support/error.h"

namespace hearth::model::convert {
namespace {

/// Dimensions of size 1 carry no meaning: convolution kernels are [channels, 1, taps].
std::vector<std::int64_t> squeezed(const std::vector<std::int64_t>& shape) {
  std::vector<std::int64_t> result;
  std::copy_if(shape.begin(), shape.end(), std::back_inserter(result),
               [](std::int64_t size) { return size != 1; });
  return result;
}

/// A matrix as the bytes of a tensor of type `dtype`.
gguf::TensorSource source_of(
    std::string name, Matrix matrix, tensor::DType dtype,
    std::shared_ptr<const std::function<void(std::string_view, std::uint64_t)>> progress) {
  const std::size_t element = tensor::info(dtype).block_bytes;
  return [name = std::move(name), matrix = std::move(matrix), dtype, element,
          progress = std::move(progress),
          values = std::vector<float>()](std::uint64_t offset, std::span<std::byte> out) mutable {
    values.resize(out.size() / element);
    std::int64_t row = static_cast<std::int64_t>(offset / element) / matrix.width;
    std::int64_t column = static_cast<std::int64_t>(offset / element) % matrix.width;
    for (std::size_t done = 0; done < values.size();) {
      const std::size_t count =
          std::min(values.size() - done, static_cast<std::size_t>(matrix.width - column));
      matrix.read(row, column, std::span(values).subspan(done, count));
      done += count;
      column = 0;
      ++row;
    }
    if (dtype == tensor::DType::kF16) {
      // 65520 and more round to infinity; infinities of the checkpoint itself stay what they are.
      const auto overflows = [](float value) {
        return std::abs(value) >= 65520.0F && !std::isinf(value);
      };
      if (std::any_of(values.begin(), values.end(), overflows)) {
        throw Error(fmt::format("tensor '{}' has values that F16 cannot hold", printable(name)),
                    "convert with --type BF16");
      }
    }
    quant::encode(dtype, values, out);
    if (*progress) (*progress)(name, out.size());
  };
}

}  // namespace

Conversion::Conversion(const gguf::SafeTensors& tensors, Config config, gguf::Writer& writer,
                       tensor::DType type)
    : tensors_(&tensors), config_(std::move(config)), writer_(&writer), type_(type) {
  ignore_suffix(".rotary_emb.inv_freq");
  ignore_suffix(".position_ids");
}

void Conversion::set_architecture(std::string_view name) {
  architecture_ = name;
  writer_->set("general.architecture", name);
}

void Conversion::set_size(std::string_view name, std::int64_t value) {
  if (value < 0 || value > std::numeric_limits<std::int32_t>::max())
    throw Error(fmt::format("{} is {}, which is out of range", name, value));
  writer_->set(architecture_ + "." + std::string(name), static_cast<std::uint32_t>(value));
}

void Conversion::set_number(std::string_view name, double value) {
  writer_->set(architecture_ + "." + std::string(name), static_cast<float>(value));
}

void Conversion::set_flag(std::string_view name, bool value) {
  writer_->set(architecture_ + "." + std::string(name), value);
}

void Conversion::set_text(std::string_view name, std::string_view value) {
  writer_->set(architecture_ + "." + std::string(name), value);
}

void Conversion::set_texts(std::string_view name, const std::vector<std::string>& values) {
  writer_->set_array(architecture_ + "." + std::string(name), values);
}

void Conversion::set_integers(std::string_view name, const std::vector<std::int64_t>& values) {
  std::vector<std::int32_t> narrow;
  for (const std::int64_t value : values) narrow.push_back(static_cast<std::int32_t>(value));
  writer_->set_array(architecture_ + "." + std::string(name), narrow);
}

bool Conversion::has(const std::string& name) const noexcept {
  return tensors_->find(name) != nullptr;
}

const gguf::SafeTensor& Conversion::require(const std::string& name) const {
  const gguf::SafeTensor* tensor = tensors_->find(name);
  if (tensor == nullptr) {
    throw Error(fmt::format("the checkpoint has no tensor '{}', which a model of type '{}' needs",
                            printable(name), architecture_),
                "the checkpoint is incomplete, or its config.json belongs to another model");
  }
  return *tensor;
}

const gguf::SafeTensor& Conversion::use(const std::string& name) {
  const gguf::SafeTensor& tensor = require(name);
  used_.insert(tensor.name);
  return tensor;
}

const std::vector<std::int64_t>& Conversion::shape(const std::string& name) const {
  return require(name).shape;
}

bool Conversion::same(const std::string& a, const std::string& b) const {
  const gguf::SafeTensor &first = require(a), &second = require(b);
  if (first.type != second.type || first.shape != second.shape) return false;
  const auto left = tensors_->data(first), right = tensors_->data(second);
  return std::memcmp(left.data(), right.data(), left.size()) == 0;
}

Matrix Conversion::stored(const gguf::SafeTensor& tensor, std::int64_t rows, std::int64_t width) {
  Matrix raw{rows, width,
             [tensors = tensors_, &tensor, width](std::int64_t row, std::int64_t column,
                                                  std::span<float> out) {
               tensors->read(tensor, row * width + column, out);
             }};
  return element_bytes(tensor.type) > 1 ? std::move(raw) : unpacked_8_bit(tensor, std::move(raw));
}

/// 8-bit floats come with a matrix of scales for tiles (DeepSeek V3: NAME_scale_inv, 128 x 128).
Matrix Conversion::unpacked_8_bit(const gguf::SafeTensor& tensor, Matrix raw) {
  const std::string scales = tensor.name + "_scale_inv";
  const Config quantization = config_.object("quantization_config");
  const std::vector<std::int64_t> tile = quantization.integers("weight_block_size");
  if (tensor.type != gguf::SafeType::kF8E4M3 || tile.size() != 2 || tile[0] < 1 || tile[1] < 1) {
    throw Error(fmt::format("tensor '{}' has the type {}, which is no float to convert from",
                            printable(tensor.name), name(tensor.type)),
                "convert the checkpoint that it was quantized from");
  }
  Matrix factors =
      matrix(scales, (raw.rows + tile[0] - 1) / tile[0], (raw.width + tile[1] - 1) / tile[1]);
  return scaled_by_tiles(std::move(raw), std::move(factors), tile[0], tile[1]);
}

Matrix Conversion::matrix(const std::string& name, std::int64_t rows, std::int64_t width) {
  const gguf::SafeTensor& tensor = use(name);
  if (squeezed(tensor.shape) != squeezed({rows, width})) {
    throw Error(
        fmt::format("tensor '{}' of the checkpoint has shape {} where {} is needed",
                    printable(name), gguf::shape_text(tensor.shape),
                    width == 1 ? fmt::format("[{}]", rows) : fmt::format("[{}, {}]", rows, width)),
        "config.json does not fit the weights: fetch both from the same place");
  }
  return stored(tensor, rows, width);
}

void Conversion::add(const std::string& name, std::vector<std::int64_t> shape, Matrix values,
                     Precision precision) {
  const tensor::DType dtype = precision == Precision::kExact ? tensor::DType::kF32 : type_;
  bytes_ += static_cast<std::uint64_t>(values.elements()) * tensor::info(dtype).block_bytes;
  ++count_;
  writer_->add_tensor(name, dtype, std::move(shape),
                      source_of(name, std::move(values), dtype, progress_));
}

void Conversion::require_all_used() const {
  std::vector<std::string> left;
  for (const gguf::SafeTensor& tensor : tensors_->tensors()) {
    const std::string_view name = tensor.name;
    const auto begins = [&](const std::string& prefix) { return name.starts_with(prefix); };
    const auto ends = [&](const std::string& suffix) { return name.ends_with(suffix); };
    if (used_.contains(name) ||
        std::any_of(ignored_prefixes_.begin(), ignored_prefixes_.end(), begins) ||
        std::any_of(ignored_suffixes_.begin(), ignored_suffixes_.end(), ends)) {
      continue;
    }
    left.push_back(tensor.name);
  }
  if (left.empty()) return;
  throw Error(fmt::format("the checkpoint has {} tensor{} that a model of type '{}' does not use, "
                          "'{}' for one; without {} the result would be another model",
                          left.size(), left.size() == 1 ? "" : "s", architecture_,
                          printable(left.front()), left.size() == 1 ? "it" : "them"),
              "adapters must be merged and quantized checkpoints restored before converting");
}

}  // namespace hearth::model::convert
