// Setup: everything that configures an engine for one model, as plain data. A command's flags
// override its fields.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "spec/kv_format.h"
#include "spec/rope_scaling.h"

namespace hearth::spec {

/// Rows of a pass where nothing else is asked for.
inline constexpr std::int64_t kPassRows = 512;

struct Setup {
  std::filesystem::path model;
  /// Cells of KV per sequence. 0: the model's own context length, but at most 8192 and at most what
  /// memory allows.
  std::int64_t context = 0;
  /// Sequences that can be held at once.
  int sequences = 1;
  /// Beside the sequences (state/prefix_cache.h): cells of remembered beginnings of texts, and
  /// snapshots from which recurrent models can go on; -1: as many as one chat needs.
  std::int64_t prefix_cells = 0;
  std::int64_t snapshots = 0;
  /// Rows per pass: prompts are evaluated in pieces of this size.
  std::int64_t batch_rows = kPassRows;
  /// What keys and values are kept in.
  KvFormat kv_type = tensor::DType::kF16;
  /// Absent: as the file says.
  std::optional<RopeScaling> rope_scaling;
  /// Most bytes of memory for keys and values; 0: as many as the context takes. What has no room is
  /// in a file in `spill_folder`, of at most `spill_bytes` (0: any size), and is read for every
  /// token. A plan can be made without a folder, a model cannot be run.
  std::uint64_t kv_budget = 0, spill_bytes = 0;
  std::filesystem::path spill_folder{};
  /// 0: all physical cores this process may use.
  int threads = 0;
  /// Float32 activations and a fixed order of every reduction (then kv_type should be F32).
  bool exact = false;
  /// Weights are used where they are in the file instead of being packed into memory.
  bool mapped = false;
  /// Kernel set; empty: the best of this CPU.
  std::string instruction_set;
};

}  // namespace hearth::spec
