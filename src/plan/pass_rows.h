// A constant of the engine that estimates share.
#pragma once

namespace hearth::plan {

/// Rows of a prompt that the engine computes in one pass.
inline constexpr double kPassRows = 512;

}  // namespace hearth::plan
