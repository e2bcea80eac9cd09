// Which type every tensor of a quantized file gets (reference: quant-recipes.md sections 2 to 6).
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "gguf/file.h"
#include "model/quantize/file_type.h"
#include "tensor/dtype.h"

namespace hearth::model::quantize {

/// What the rules look at, besides the tensors.
struct ModelShape {
  std::string architecture;
  std::int64_t layers = 0;
  std::int64_t heads = 0;     // query heads, and
  std::int64_t kv_heads = 0;  // key-value heads, of the first layer that attends
  std::int64_t experts = 0;   // routed experts per layer
};

/// Reads it from a model's metadata; what is missing or makes no sense is 0.
[[nodiscard]] ModelShape model_shape(const gguf::Metadata& metadata);

/// `--tensor-type PATTERN=TYPE`. A pattern names whole parts of a tensor's name, between its dots;
/// `*` stands for any text: "ffn_down", "blk.0", "blk.*.attn_v", "ffn_*_exps".
struct TypeOverride {
  std::string pattern;
  std::optional<tensor::DType> type;  // nothing: what the source has ("copy")
};

/// Throws Error when `text` is not PATTERN=TYPE.
[[nodiscard]] TypeOverride parse_type_override(std::string_view text);
/// Whether `pattern` names the tensor `name`.
[[nodiscard]] bool pattern_matches(std::string_view pattern, std::string_view name) noexcept;

struct Recipe {
  FileType type = FileType::kQ4_K_M;
  /// Every quantizable tensor gets the base type.
  bool pure = false;
  /// There is an importance matrix: some rules can save bits then.
  bool with_importance = false;
  /// The last that matches wins. Only quantizable tensors can be overridden.
  std::vector<TypeOverride> overrides = {};
};

struct TypeChoice {
  tensor::DType type = tensor::DType::kF32;
  /// The rule's type needs longer rows (or rows of another multiple): `type` is the next best.
  bool replaced = false;
  /// Without importance this tensor would be badly damaged.
  bool needs_importance = false;
};

/// Whether a file may store the tensor in another type than its source: matrices of weights but for
/// norms, routers, convolutions, positions and the like.
[[nodiscard]] bool quantizable(const gguf::TensorInfo& tensor) noexcept;

/// The type of every tensor of a model. Throws Error when the recipe does not suit the model
/// (experts at 2 bits where there are none), or when an override names no quantizable tensor.
[[nodiscard]] std::vector<TypeChoice> choose_types(const ModelShape& model,
                                                   std::span<const gguf::TensorInfo> tensors,
                                                   const Recipe& recipe);

}  // namespace hearth::model::quantize
