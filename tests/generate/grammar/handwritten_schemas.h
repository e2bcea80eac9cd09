// Schemas as people write them, and corner cases, one per line.
#pragma once

#include <string_view>
#include <vector>

namespace hearth::testing {

/// JSON texts of about 150 schemas.
[[nodiscard]] const std::vector<std::string_view>& handwritten_schemas();

}  // namespace hearth::testing
