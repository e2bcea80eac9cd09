// Parts that the pages of models with latent attention share.
#pragma once

#include "model/families/reader.h"
#include "spec/model_spec.h"

namespace hearth::model {

/// RoPE of the architectures that store rope.scaling.yarn_log_multiplier as a tenth of what it is
/// (deepseek.md).
[[nodiscard]] spec::Rope latent_rope(const FamilyReader& reader);

/// Multi-head latent attention with the usual tensors (blocks.md section 3.3): low-rank queries and
/// split or unsplit up-projections as the file has them; scale 1/sqrt(head size) without YaRN's
/// correction; no RoPE.
[[nodiscard]] spec::LatentAttention latent_attention(const FamilyReader& reader,
                                                     std::int64_t layer);

}  // namespace hearth::model
