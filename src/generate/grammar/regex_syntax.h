// The tree of a regular expression. Private to regex*.cpp.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "generate/grammar/code_points.h"
#include "generate/grammar/regex.h"

namespace hearth::generate::grammar {

struct RegexNode {
  enum class Kind : std::uint8_t { kSet, kSequence, kChoice, kRepeat, kBegin, kEnd };
  Kind kind = Kind::kSequence;
  CodePointSet set = {};
  std::vector<RegexNode> children = {};
  std::uint32_t minimum = 0, maximum = 0;  // kRepeat; UINT32_MAX: no end
};

[[nodiscard]] RegexNode parse_regex(std::string_view pattern, const RegexOptions& options);

/// The strings that match all of `node`. Counts what it does in `work`.
[[nodiscard]] Dfa determinise(const RegexNode& node, DfaWork& work);

/// A class by the name in \p{…}: a general category ("L", "Lu", "Letter"…). Throws Error for
/// others.
[[nodiscard]] CodePointSet unicode_class(std::string_view name);

}  // namespace hearth::generate::grammar
