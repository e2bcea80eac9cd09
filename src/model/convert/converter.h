// Converting a checkpoint as Hugging Face stores it (config.json, safetensors, tokenizer files)
// into a GGUF file. Tensors are rearranged while they are written: neither the checkpoint nor the
// result is ever held in memory.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "tensor/dtype.h"

namespace hearth::model::convert {

struct ConvertOptions {
  /// Type of the matrices: F16, BF16 or F32. Vectors, norms, routers, convolution kernels and
  /// position tables are F32 always.
  tensor::DType type = tensor::DType::kF16;
  /// Forces tokenizer.ggml.pre; empty: recognised by the tokenizer's patterns.
  std::string pre_tokenizer;
  /// Replace the output file if it exists.
  bool overwrite = false;
};

struct ConvertProgress {
  std::string_view tensor;            // being written
  std::uint64_t done = 0, total = 0;  // bytes of tensor data
};

struct ConvertResult {
  std::string architecture;
  std::size_t tensors = 0;
  std::uint64_t bytes = 0;
  /// What people should know about the result. One sentence each.
  std::vector<std::string> warnings;
};

/// Converts the checkpoint in `directory` to the file `out`, which appears only when it is
/// complete. `progress` is called about once per megabyte and may throw to end the conversion;
/// nothing is left behind then. Throws Error.
ConvertResult convert(const std::filesystem::path& directory, const std::filesystem::path& out,
                      const ConvertOptions& options,
                      const std::function<void(const ConvertProgress&)>& progress = {});

/// The model_type values of config.json that can be converted, in order.
[[nodiscard]] std::vector<std::string_view> convertible_model_types();

}  // namespace hearth::model::convert
