// What the pages of encoders share, and what makes an embedding model or a reranker of any
// architecture: attention without a causal mask, pooling, classification heads (reference:
// embedding.md; blocks.md section 7).
#pragma once

#include "model/families/reader.h"
#include "spec/model_spec.h"

namespace hearth::model {

/// The model without layers and without logits: names, sizes and the token embedding; one stack
/// "encoder"; causal false.
[[nodiscard]] spec::ModelSpec encoder_model(const FamilyReader& reader);

/// reader.attention(layer) over all rows of the pass, or over the window around each row when
/// `window` > 0.
[[nodiscard]] spec::Attention encoder_attention(const FamilyReader& reader, std::int64_t layer,
                                                std::int64_t window = 0);

/// Makes a decoder bidirectional: its attentions see all rows of the pass and remember nothing.
/// Throws Error when it has parts that work in one direction only.
void make_bidirectional(spec::ModelSpec& model);

/// Reads how the file wants texts pooled and classified (A.pooling_type, dense_2, dense_3, cls,
/// cls.norm, cls.output) into model.pooling, and makes a decoder bidirectional when the file says
/// so (A.attention.causal). Encoders whose file does not say pool by the mean. For every
/// architecture, after its page.
void read_pooling(const FamilyReader& reader, spec::ModelSpec& model);

}  // namespace hearth::model
