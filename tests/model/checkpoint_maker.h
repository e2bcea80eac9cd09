// Makes the Hugging Face checkpoint that a golden GGUF file could have been converted from: undoes,
// independently of the converter, the renaming and rearranging of every family.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace hearth::testing {

/// A tensor of a checkpoint; `shape` in PyTorch's order.
struct CheckpointTensor {
  std::vector<std::int64_t> shape;
  std::vector<float> values;
};

struct Checkpoint {
  std::string config;  // config.json
  std::map<std::string, CheckpointTensor> tensors;
  std::map<std::string, std::string> files;  // tokenizer.json and others

  /// Writes all files into `folder`; with `shards` > 1 the tensors go into several files with an
  /// index.
  void write(const std::filesystem::path& folder, int shards = 1) const;
};

/// The checkpoint of the case `name` of goldens/arch.
[[nodiscard]] Checkpoint make_checkpoint(const std::string& name);

/// The cases that make_checkpoint knows.
[[nodiscard]] std::vector<std::string> checkpoint_cases();

}  // namespace hearth::testing
