// "Did you mean": the known name nearest to a misspelt one.
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace hearth::cli {

/// "did you mean 'X'?" for the nearest of `known` (by optimal string alignment distance, at most a
/// third of the length), or an empty string.
[[nodiscard]] std::string suggestion(std::string_view given, std::span<const std::string> known);

}  // namespace hearth::cli
