#include "model/families/reader.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "compute/backend.h"
#include "model/families/reader_checks.h"
#include "support/error.h"

namespace hearth::model {

using spec::Linear;
using spec::Norm;
using spec::NormKind;

namespace {

/// Passes a key's value on. Throws Error when the key is there but could not be read as `kind`.
template <class Value>
std::optional<Value> typed(const gguf::Metadata& metadata, const std::string& key,
                           std::optional<Value> value, const char* kind) {
  if (!value && metadata.contains(key)) throw_bad_key(key, std::string("is not ") + kind);
  return value;
}

}  // namespace

std::string shape_text(const gguf::TensorInfo& tensor) {
  std::string text = "[";
  for (std::uint32_t i = 0; i < tensor.dimensions; ++i) {
    text += (i == 0 ? "" : ", ") + std::to_string(tensor.shape[i]);
  }
  return text + "]";
}

FamilyReader::FamilyReader(const gguf::File& file, const SpecOptions& options)
    : file_(&file), rope_scaling_(options.rope_scaling) {
  architecture_ = std::string(file.metadata().get_string("general.architecture").value_or(""));
  width_ = integer_in("embedding_length", 1, kMaxSize);
  const std::int64_t blocks = integer_in("block_count", 1, kMaxLayers);
  draft_layers_ = integer_in("nextn_predict_layers", 0, blocks - 1, 0);
  layers_ = blocks - draft_layers_;
  trained_context_ = integer_in("context_length", 1, kMaxSize);
  context_ = options.context > 0 ? options.context : trained_context_;

  heads_ = per_layer("attention.head_count", 0);
  kv_heads_ = integers("attention.head_count_kv").empty() ? heads_
                                                          : per_layer("attention.head_count_kv", 0);
  feed_forward_ = per_layer("feed_forward_length", 0);
  for (std::int64_t layer = 0; layer < layers_; ++layer) {
    const std::int64_t kv = kv_heads(layer);
    // 0 marks a layer without attention (hybrids).
    if (kv > 0 && heads(layer) % kv != 0) {
      throw_bad_key(key("attention.head_count_kv"), "does not divide the number of query heads");
    }
  }
  const std::int64_t default_size = heads(0) > 0 ? width_ / heads(0) : 0;
  key_size_ = integer_in("attention.key_length", 0, compute::kMaxHeadSize, default_size);
  value_size_ = integer_in("attention.value_length", 0, compute::kMaxHeadSize, default_size);
  rotated_ = integer_in("rope.dimension_count", 0, key_size_, key_size_);
}

/// The keys that an override takes the place of. What belongs to YaRN as the model knows it (its
/// betas, its log multiplier) stays.
bool FamilyReader::overrides(std::string_view name) const noexcept {
  if (!rope_scaling_) return false;
  if (name == "rope.scaling.original_context_length") return rope_scaling_->original > 0;
  return name == "rope.scaling.type" || name == "rope.scaling.factor" ||
         name == "rope.scaling.attn_factor" || name == "rope.scale_linear";
}

std::optional<double> FamilyReader::scaling_number(std::string_view name) const noexcept {
  if (name == "rope.scaling.factor") return rope_scaling_->factor;
  if (name == "rope.scaling.original_context_length")
    return static_cast<double>(rope_scaling_->original);
  return std::nullopt;
}

std::optional<double> FamilyReader::number(std::string_view name) const {
  if (overrides(name)) return scaling_number(name);
  const gguf::Metadata& metadata = file_->metadata();
  const std::optional<double> value =
      typed(metadata, key(name), metadata.get_float(key(name)), "a number");
  if (value && !std::isfinite(*value)) throw_bad_key(key(name), "is not finite");
  return value;
}

double FamilyReader::required_number(std::string_view name) const {
  const std::optional<double> value = number(name);
  if (!value) throw_bad_key(key(name), "is missing");
  return *value;
}

std::optional<std::int64_t> FamilyReader::integer(std::string_view name) const {
  if (overrides(name)) {
    const std::optional<double> value = scaling_number(name);
    if (!value) return std::nullopt;
    return static_cast<std::int64_t>(*value);
  }
  const gguf::Metadata& metadata = file_->metadata();
  const gguf::Value* value = metadata.find(key(name));
  if (value != nullptr && value->type == gguf::ValueType::kArray) return std::nullopt;
  return typed(metadata, key(name), metadata.get_int(key(name)), "an integer");
}

std::int64_t FamilyReader::integer_in(std::string_view name, std::int64_t low, std::int64_t high,
                                      std::optional<std::int64_t> fallback) const {
  const std::optional<std::int64_t> value = integer(name);
  if (!value && !fallback) throw_bad_key(key(name), "is missing or not an integer");
  return checked_size(key(name), value ? *value : *fallback, low, high);
}

std::optional<bool> FamilyReader::boolean(std::string_view name) const {
  const gguf::Metadata& metadata = file_->metadata();
  return typed(metadata, key(name), metadata.get_bool(key(name)), "true or false");
}

std::optional<std::string_view> FamilyReader::string(std::string_view name) const {
  if (overrides(name) && name == "rope.scaling.type") return rope_scaling_->type();
  const gguf::Metadata& metadata = file_->metadata();
  return typed(metadata, key(name), metadata.get_string(key(name)), "a string");
}

std::vector<std::int64_t> FamilyReader::integers(std::string_view name) const {
  const gguf::Metadata& metadata = file_->metadata();
  return typed(metadata, key(name), metadata.get_ints(key(name)), "a list of integers")
      .value_or(std::vector<std::int64_t>{});
}

std::int64_t FamilyReader::window_size(std::optional<std::int64_t> fallback) const {
  return integer_in("attention.sliding_window", 0, std::numeric_limits<std::int64_t>::max(),
                    fallback);
}

std::int64_t FamilyReader::window_period(std::int64_t fallback) const {
  return integer_in("attention.sliding_window_pattern", 0, kMaxSize, fallback);
}

std::vector<bool> FamilyReader::windowed_layers(std::optional<std::int64_t> fallback_period,
                                                bool dense_first) const {
  const std::string_view name = "attention.sliding_window_pattern";
  const gguf::Value* value = file_->metadata().find(key(name));
  std::vector<bool> result(static_cast<std::size_t>(layers_ + draft_layers_));
  if (value != nullptr && value->type == gguf::ValueType::kArray) {
    const std::vector<std::int64_t> flags = per_layer(name, 0);
    for (std::size_t i = 0; i < result.size(); ++i) {
      result[i] = (flags.size() == 1 || i < flags.size()) && flags[flags.size() == 1 ? 0 : i] != 0;
    }
    return result;
  }
  const std::int64_t period = integer_in(name, 0, kMaxSize, fallback_period);
  // Draft blocks attend fully.
  for (std::int64_t layer = 0; layer < layers_; ++layer) {
    result[static_cast<std::size_t>(layer)] =
        dense_first ? period == 0 || layer % period != 0 : is_windowed(layer, period);
  }
  return result;
}

double FamilyReader::layer_number(std::string_view name, std::int64_t layer,
                                  double fallback) const {
  const gguf::Metadata& metadata = file_->metadata();
  const std::vector<double> values =
      typed(metadata, key(name), metadata.get_floats(key(name)), "a list of numbers")
          .value_or(std::vector<double>{});
  if (values.empty()) return fallback;
  if (values.size() != 1 && static_cast<std::int64_t>(values.size()) <= layer) {
    throw_bad_key(key(name), "has fewer entries than the model has layers");
  }
  const double value = values[values.size() == 1 ? 0 : static_cast<std::size_t>(layer)];
  if (!std::isfinite(value)) throw_bad_key(key(name), "is not finite");
  return value;
}

std::vector<std::int64_t> FamilyReader::per_layer(std::string_view name,
                                                  std::int64_t fallback) const {
  std::vector<std::int64_t> values = integers(name);
  if (values.empty()) return {fallback};
  if (values.size() != 1 && static_cast<std::int64_t>(values.size()) < layers_) {
    throw_bad_key(key(name), "has fewer entries than the model has layers");
  }
  for (const std::int64_t value : values) checked_size(key(name), value, 0, kMaxSize);
  return values;
}

std::int64_t FamilyReader::at(const std::vector<std::int64_t>& values, std::int64_t layer) const {
  // Files may say nothing of their next-token-prediction blocks.
  return values[std::min(values.size() - 1, static_cast<std::size_t>(layer))];
}

std::string FamilyReader::layer_name(std::int64_t layer, std::string_view name) {
  return "blk." + std::to_string(layer) + "." + std::string(name);
}

const gguf::TensorInfo& FamilyReader::required_tensor(const std::string& name) const {
  const gguf::TensorInfo* tensor = file_->find_tensor(name);
  if (tensor == nullptr && file_->tensors().empty()) {
    throw Error(
        "'" + printable(file_->path().string(), 300) + "' holds a vocabulary and no weights",
        "it serves hearth tokenize, detokenize and render; choose the whole model for this");
  }
  if (tensor == nullptr) {
    throw Error("the model has no tensor '" + name + "', which architecture '" +
                    printable(architecture_) + "' needs",
                "the file is incomplete: fetch it again");
  }
  return *tensor;
}

std::string FamilyReader::vector(const std::string& name, std::int64_t size,
                                 std::int64_t heads) const {
  const gguf::TensorInfo& tensor = required_tensor(name);
  if (tensor.shape[0] != size || tensor.elements() != size * heads) {
    throw Error("tensor '" + name + "' has shape " + shape_text(tensor) + " where [" +
                    std::to_string(size) + (heads == 1 ? "" : ", " + std::to_string(heads)) +
                    "] is needed",
                "the file does not fit its own metadata: fetch it again");
  }
  return name;
}

Linear FamilyReader::linear(const std::string& name, std::int64_t in, std::int64_t out) const {
  Linear result;
  result.in = in;
  result.out = out;
  result.weight = name + ".weight";
  const gguf::TensorInfo& tensor = required_tensor(result.weight);
  if (tensor.shape[0] != in || tensor.shape[1] != out || tensor.shape[2] * tensor.shape[3] != 1) {
    throw Error("tensor '" + result.weight + "' has shape " + shape_text(tensor) + " where [" +
                    std::to_string(in) + ", " + std::to_string(out) + "] is needed",
                "the file does not fit its own metadata: fetch it again");
  }
  if (has(name + ".bias")) result.bias = vector(name + ".bias", out);
  if (has(name + ".scale")) result.scale = vector(name + ".scale", 1);
  return result;
}

Norm FamilyReader::norm(NormKind kind, const std::string& name, std::int64_t size,
                        std::int64_t heads) const {
  Norm result = bare_norm(kind);
  result.weight = vector(name + ".weight", size, heads);
  if (has(name + ".bias")) result.bias = vector(name + ".bias", size, heads);
  return result;
}

Norm FamilyReader::bare_norm(NormKind kind) const {
  Norm result;
  result.kind = kind;
  result.epsilon = static_cast<float>(required_number(kind == NormKind::kLayer
                                                          ? "attention.layer_norm_epsilon"
                                                          : "attention.layer_norm_rms_epsilon"));
  return result;
}

spec::LinearStack FamilyReader::stack(const std::string& name, std::int64_t in, std::int64_t out,
                                      std::int64_t matrices) const {
  spec::LinearStack result{.weight = name + ".weight", .in = in, .out = out, .matrices = matrices};
  const gguf::TensorInfo& tensor = required_tensor(result.weight);
  // The product of all three may overflow, that of two may not.
  if (tensor.shape[0] != in || tensor.elements() / in != out * matrices) {
    throw Error("tensor '" + result.weight + "' has shape " + shape_text(tensor) + " where [" +
                    std::to_string(in) + ", " + std::to_string(out) + ", " +
                    std::to_string(matrices) + "] is needed",
                "the file does not fit its own metadata: fetch it again");
  }
  if (has(name + ".bias")) result.bias = vector(name + ".bias", out, matrices);
  if (has(name + ".scale")) result.scale = vector(name + ".scale", matrices);
  return result;
}

}  // namespace hearth::model
