// Which model stored conversations belong to.
#pragma once

#include "model/loaded_model.h"
#include "state/disk_store.h"

namespace hearth::model {

/// Of everything that decides what a token's keys and values are, but for adapters and formats,
/// which the store knows by itself: the model's file (its whole header, its size, when it was last
/// changed, and 12 KiB of every tensor), the rotary angles of every layer, exactness. Cheap and on
/// the safe side: a file that was copied or touched is taken for another one, which costs one
/// evaluation; one that was changed is never taken for the same.
[[nodiscard]] state::StoreIdentity store_identity(const LoadedModel& model);

}  // namespace hearth::model
