// What sequences of a model remember: decided here, once, for all bodies.
#pragma once

#include "spec/model_spec.h"

namespace hearth::spec {

/// Fills in kv_memories and recurrent_memories, and the memory and plan indices of all bodies, in
/// execution order. `shares_with` must name an earlier layer of the same stack with a caching
/// attention; throws Error otherwise.
void assign_memories(ModelSpec& spec);

}  // namespace hearth::spec
