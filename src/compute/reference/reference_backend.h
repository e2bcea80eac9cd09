// The reference backend: scalar loops in double precision where it matters, one thread, nothing
// clever. It defines what every operation means; every fast kernel is tested against it.
#pragma once

#include <memory>

#include "compute/backend.h"

namespace hearth::compute {

[[nodiscard]] std::unique_ptr<Backend> make_reference_backend();

}  // namespace hearth::compute
