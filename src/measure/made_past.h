// A past that was never evaluated: random keys and values, and empty recurrent states. Attention to
// it takes as long as to a real one, and it is made in seconds.
#pragma once

#include <cstdint>

#include "compute/backend.h"
#include "spec/model_spec.h"
#include "state/sequence.h"

namespace hearth::measure {

/// Adds rows to `sequence` until it holds `length`. All must belong together. Throws Error when the
/// sequence or its pool is full.
void make_past(compute::Backend& backend, const spec::ModelSpec& spec,
               const state::MemoryPool& pool, state::SequenceState& sequence, std::int64_t length);

}  // namespace hearth::measure
