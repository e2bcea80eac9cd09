// Formats of keys and values in a model: how far its predictions move from those with F16.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "compute/backend.h"
#include "gguf/file.h"
#include "measure/perplexity.h"
#include "spec/kv_format.h"
#include "spec/model_spec.h"

namespace hearth::measure {

struct KvModelOptions {
  /// Tokens per pass: a row sees what is in its own pass, and the youngest cells, before they are
  /// coded, so few.
  std::int64_t batch_rows = 32;
  /// Rows before it are not scored: nothing is coded there yet.
  std::int64_t first_scored = 256;
  /// Between the layers of every pass, with the share that is done; may throw to end the run.
  std::function<void(double)> progress;
};

/// Tokens that are kept coded when the last of `rows` rows is evaluated, in passes of `batch_rows`:
/// those between the first and the youngest, which stay as they are. Nothing for a format, or a
/// model, that codes none of its keys and values.
[[nodiscard]] std::optional<std::int64_t> coded_tokens(const spec::ModelSpec& spec,
                                                       const spec::KvFormat& format,
                                                       std::int64_t rows, std::int64_t batch_rows);

struct KvModelRow {
  std::string format;
  std::optional<std::int64_t> coded_tokens;  // 0: the text was too short for this format
  double bytes_per_token = 0;                // of all memories that grow with the context
  double ratio = 0;                          // of F16's bytes
  std::int64_t scored = 0;
  Estimate divergence;  // KL(F16 || this), nats
  Estimate same_best;   // share of positions whose likeliest token is the same
  Estimate nll, perplexity, perplexity_ratio;  // the ratio: to F16's on the same tokens
};

/// Evaluates `tokens` once with F16 and once with every format (names that KvRounding knows, or
/// KEYS:VALUES), side by side: each predicts the token that follows. Formats that the heads of the
/// model do not have are left out. The first row is F16's own. Throws Error.
[[nodiscard]] std::vector<KvModelRow> evaluate_kv_formats(const gguf::File& file,
                                                          compute::Backend& backend,
                                                          std::span<const std::string> formats,
                                                          std::span<const std::int32_t> tokens,
                                                          const KvModelOptions& options);

}  // namespace hearth::measure
