// Regular expressions as deterministic automata: the part of ECMAScript's (with the flag "u") that
// describes regular sets. No look-around, back references or word boundaries.
#pragma once

#include <string>
#include <string_view>

#include "generate/grammar/dfa.h"

namespace hearth::generate::grammar {

enum class Anchoring : std::uint8_t {
  kWhole,   ///< the whole text must match
  kSearch,  ///< a part of it, unless "^" and "$" say more: JSON Schema's "pattern"
};

struct RegexOptions {
  Anchoring anchoring = Anchoring::kSearch;
  bool ignore_case = false;  ///< of ASCII letters
  bool dot_matches_all = false;
  DfaWork* work = nullptr;  ///< of all patterns of a source; null: of this one alone
};

/// Throws Error for a broken or unsupported expression (saying where) and for one that needs too
/// many states.
[[nodiscard]] Dfa compile_pattern(std::string_view pattern, const RegexOptions& options = {});

/// A pattern for exactly `text`.
[[nodiscard]] std::string literal_pattern(std::string_view text);

}  // namespace hearth::generate::grammar
