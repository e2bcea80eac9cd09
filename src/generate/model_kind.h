// What a model is for.
#pragma once

#include "spec/model_spec.h"

namespace hearth::generate {

/// Throws Error for models that do not go on from a text (embeddings, encoder-decoder, diffusion),
/// before they can say nonsense: what to use instead.
void require_generation(const spec::ModelSpec& spec);

}  // namespace hearth::generate
