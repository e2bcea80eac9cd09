// The table of pre-tokenizers. Private to pre_tokenizer.cpp.
#pragma once

#include <span>
#include <string_view>

#include "text/pre_tokenizer.h"

namespace hearth::text {

/// One step of a pre-tokenizer: a pattern whose matches, and the gaps between them, become pieces;
/// or a rule that no pattern expresses in linear time.
struct SplitStep {
  enum class Kind : unsigned char {
    kPattern,
    /// Jais 2: a pattern, but white space without line ends goes in chunks of 512, 256, 128 …
    /// characters.
    kPatternWithChunkedSpaces,
    /// Numbers in groups of three from the right; text before a run stays with its first group
    /// (AFMoE).
    kNumberGroups,
    /// Decimal digits in groups of three from the right, unless a word character follows them.
    kDigitGroupsBeforeBoundary,
    /// Cuts ASCII digits into groups of three from the right.
    kDigitGroups,
  };
  Kind kind = Kind::kPattern;
  std::string_view pattern = {};
};

struct PreTokenizerEntry {
  std::string_view name;
  std::span<const SplitStep> steps;
  PreTokenizerTraits traits;
};

[[nodiscard]] std::span<const PreTokenizerEntry> pre_tokenizer_table() noexcept;

}  // namespace hearth::text
