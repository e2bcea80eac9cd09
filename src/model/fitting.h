// What would fit: advice for prompts and contexts that do not.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "compute/backend.h"
#include "spec/model_spec.h"
#include "spec/setup.h"

namespace hearth::model {

/// The first of the setup's own KV format, Q8_0, tq4 and tq3 whose pages for setup.context take at
/// most `bytes`; nothing when none does.
[[nodiscard]] std::optional<spec::KvFormat> fitting_kv_format(const spec::ModelSpec& spec,
                                                              const spec::Setup& setup,
                                                              const compute::Backend& backend,
                                                              std::size_t bytes);

/// What a text of `tokens` tokens (and an answer) needs to fit: "use --ctx 40960", with the format
/// of keys and values in which it fits into `bytes`, or why nothing does.
[[nodiscard]] std::string context_advice(const spec::ModelSpec& spec, const spec::Setup& setup,
                                         const compute::Backend& backend, std::int64_t tokens,
                                         std::size_t bytes);

}  // namespace hearth::model
