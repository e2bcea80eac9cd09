// This test program counts its calls of operator new.
#pragma once

#include <cstddef>

namespace hearth::compute {

/// Calls of operator new in this process so far.
[[nodiscard]] std::size_t testing_allocations() noexcept;

}  // namespace hearth::compute
