// Units and constants that estimates share.
#pragma once

namespace hearth::plan {

inline constexpr double kGiga = 1e9, kTera = 1e12, kGibi = 1073741824.0;
/// Rows of a prompt that the engine computes in one pass.
inline constexpr double kPassRows = 512;

}  // namespace hearth::plan
