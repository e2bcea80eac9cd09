// Repositories on Hugging Face. Internal to the room; hub/sources.h is the door.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "hub/sources.h"

namespace hearth::hub {

[[nodiscard]] RemoteModel resolve_huggingface(const Network& network,
                                              const HuggingFaceReference& reference,
                                              const Chooser& chooser);

/// A page of GET /api/models/…/tree, added to `files`. Throws Error.
void read_tree(std::string_view text, std::vector<RemoteFile>& files);

/// Files grouped into models, the parts of split ones together; incomplete splits are left out.
[[nodiscard]] std::vector<Candidate> group_candidates(const std::vector<RemoteFile>& files);

}  // namespace hearth::hub
