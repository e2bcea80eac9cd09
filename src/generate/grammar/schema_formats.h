// What the "format" keyword of JSON Schema means: for strings as patterns, for numbers as bounds.
#pragma once

#include <string_view>

namespace hearth::generate::grammar {

/// An anchored regular expression for a subset of the strings that have the format (RFC 3339, 4122,
/// 5322, 1123, 3986, 4291, ISO 8601). Empty: the format is not known.
[[nodiscard]] std::string_view format_pattern(std::string_view format);

}  // namespace hearth::generate::grammar
