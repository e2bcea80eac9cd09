// What `hearth logits` was asked for, and the evaluation it stands for.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "cli/adapters.h"

namespace hearth::cli {

struct LogitsOptions {
  std::string model, target;
  std::vector<std::int32_t> tokens, decoder_tokens;
  std::vector<std::int64_t> chunks;  // empty: as one batch
  std::int64_t greedy = 0, draft = 0;
  bool draft_prompt = false;
  std::string image_embeddings, positions;
  std::int64_t image_at = -1;
  std::int64_t context = 512;
  std::int64_t first_position = 0;
  int threads = 0;
  std::string kv;  // empty: F16, and F32 with --exact
  bool exact = false, pooled = false, per_token = false;
  std::string out;
  AdapterOptions adapters;
};

/// Evaluates, writes the rows, and prints the JSON object. Throws Error.
void write_logits(const LogitsOptions& options);

}  // namespace hearth::cli
