// The texts of JSON numbers within bounds, as automata.
#pragma once

#include <optional>
#include <vector>

#include "generate/grammar/decimal.h"
#include "generate/grammar/dfa.h"

namespace hearth::generate::grammar {

struct Bound {
  Decimal value;
  bool exclusive = false;
};

struct NumberLimits {
  std::optional<Bound> minimum, maximum;
  std::vector<Decimal> multiples;  ///< positive
};

/// Whole numbers without fraction, exponent or "-0"; of at most 15 digits where the bounds allow
/// it, so that every program reads them exactly.
[[nodiscard]] Dfa integer_texts(const NumberLimits& limits, DfaWork* work = nullptr);
/// Numbers; exponents only where there are no limits at all.
[[nodiscard]] Dfa number_texts(const NumberLimits& limits, DfaWork* work = nullptr);
/// Whether no number fulfils both. False when that is not clear.
[[nodiscard]] bool ranges_disjoint(const NumberLimits& a, const NumberLimits& b);

}  // namespace hearth::generate::grammar
