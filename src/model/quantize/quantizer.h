// Making a quantized copy of a GGUF model. Tensors are encoded while they are written, a few
// megabytes at a time: neither the model nor the result is ever held in memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string_view>
#include <vector>

#include "gguf/file.h"
#include "model/importance.h"
#include "model/quantize/recipe.h"
#include "tensor/dtype.h"

namespace hearth::model::quantize {

struct QuantizeOptions {
  FileType type = FileType::kQ4_K_M;
  bool pure = false;
  std::vector<TypeOverride> overrides = {};
  /// An importance matrix; empty: none.
  std::filesystem::path importance = {};
  /// Encode tensors anew that are quantized already, which adds their errors.
  bool allow_requantize = false;
};

/// One tensor of the result.
struct PlannedTensor {
  const gguf::TensorInfo* source = nullptr;  // of Quantization::input()
  tensor::DType type = tensor::DType::kF32;
  std::uint64_t bytes = 0;
  bool replaced = false;                   // rows do not fit the type of the recipe
  const Importance* importance = nullptr;  // null: none is known

  [[nodiscard]] bool copied() const noexcept { return type == source->dtype; }
};

struct QuantizeProgress {
  std::string_view tensor;            // being encoded
  std::uint64_t done = 0, total = 0;  // weights
};

struct WriteOptions {
  bool overwrite = false;  // replace the output file if it exists
  int threads = 0;         // 0: all physical cores this process may use
};

/// A model and what its quantized copy will be.
class Quantization {
 public:
  /// Opens the model at `path` (all parts of a split one) and decides. Throws Error when the model
  /// cannot be quantized so: an importance matrix is missing or belongs to another model, or
  /// tensors are quantized already.
  Quantization(const std::filesystem::path& path, const QuantizeOptions& options);

  /// In the order of the file.
  [[nodiscard]] const std::vector<PlannedTensor>& tensors() const noexcept { return tensors_; }
  [[nodiscard]] const gguf::File& input() const noexcept { return input_; }
  [[nodiscard]] std::uint64_t weights() const noexcept { return weights_; }
  /// Of the tensors' data, in the model and in the result.
  [[nodiscard]] std::uint64_t bytes_before() const noexcept { return bytes_before_; }
  [[nodiscard]] std::uint64_t bytes_after() const noexcept { return bytes_after_; }
  /// Quantized tensors of layers that the importance matrix does not know; 0 without one.
  [[nodiscard]] std::size_t without_importance() const noexcept { return without_importance_; }

  /// Writes the result as one file, which appears under its name only when it is complete.
  /// `progress` is called many times a second and may throw to end it; nothing is left behind then.
  /// Throws Error, also when `out` is the model itself.
  void write(const std::filesystem::path& out, const WriteOptions& options,
             const std::function<void(const QuantizeProgress&)>& progress = {}) const;

 private:
  void plan();
  [[nodiscard]] PlannedTensor planned(const gguf::TensorInfo& tensor,
                                      const TypeChoice& choice) const;
  void check_output(const std::filesystem::path& out, bool overwrite) const;

  QuantizeOptions options_;
  gguf::File input_;
  ImportanceMatrix importance_;
  std::vector<PlannedTensor> tensors_;
  std::uint64_t weights_ = 0, bytes_before_ = 0, bytes_after_ = 0;
  std::size_t without_importance_ = 0;
};

}  // namespace hearth::model::quantize
