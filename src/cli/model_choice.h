// What to fetch when people name a model and not a file: the catalog's repository, and the
// quantization that the planner finds best for this machine.
#pragma once

#include "hub/sources.h"

namespace hearth::cli {

/// Looks names up in the catalog (with the user's entries), and chooses among the files of a
/// repository: of a model of the catalog as `hearth plan` would, of others what is usual, or the
/// largest that fits into memory when that does not. What was chosen and why goes to stderr.
[[nodiscard]] hub::ResolveOptions planned_choice();

}  // namespace hearth::cli
