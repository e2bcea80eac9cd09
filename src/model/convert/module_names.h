// Which tensor of a GGUF file the matrix of a checkpoint's module becomes, for adapters that were
// trained on the checkpoint. The names are those that the family functions read (families.h); the
// tests convert merged checkpoints to see that both agree.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace hearth::model::convert {

struct ModulePlace {
  std::string tensor;        // "blk.3.attn_q.weight"
  std::int64_t expert = -1;  // which matrix of the stack
  bool rope_order = false;   // rows are reordered: rope_source_row
};

/// Whether modules of checkpoints of this architecture are known.
[[nodiscard]] bool knows_modules(std::string_view architecture) noexcept;

/// The place of `module` ("model.layers.3.self_attn.q_proj"); nothing when it is not known, or is
/// rearranged in a way that a low-rank change cannot follow.
[[nodiscard]] std::optional<ModulePlace> find_module(std::string_view architecture,
                                                     std::string_view module);

}  // namespace hearth::model::convert
