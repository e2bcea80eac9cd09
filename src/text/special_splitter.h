// Cutting special tokens out of a text before the tokenizer's algorithm sees it
// (reference/tokenizers.md, section 3).
#pragma once

#include <string_view>
#include <utility>
#include <vector>

#include "text/prompt.h"
#include "text/trie.h"
#include "text/vocabulary.h"

namespace hearth::text {

/// A part of a text: ordinary text, or a special token.
struct Fragment {
  std::string_view text;
  TokenId token = -1;
};

/// Says which special tokens may be recognised where.
class MatchRule {
 public:
  /// The rule of plain texts: user-defined tokens always, control tokens when `parse_special`.
  explicit MatchRule(bool parse_special) : parse_special_(parse_special) {}
  /// The rule of prompts: reserved tokens (Vocabulary::reserved) only where the template wrote
  /// every byte of them.
  explicit MatchRule(const Prompt& prompt);

  [[nodiscard]] bool allows(const Vocabulary& vocabulary, TokenId id, std::size_t begin,
                            std::size_t end) const noexcept;

 private:
  bool parse_special_ = false;
  bool prompt_ = false;
  std::vector<std::pair<std::size_t, std::size_t>> template_ranges_;  // sorted, not touching
};

class SpecialSplitter {
 public:
  SpecialSplitter() = default;
  explicit SpecialSplitter(const Vocabulary& vocabulary);

  /// Cuts `text`. Longer tokens win over shorter ones anywhere, then the leftmost; white space that
  /// a token strips is left out. Fragments of text are never empty and view `text`. Linear in the
  /// size of the text.
  [[nodiscard]] std::vector<Fragment> split(const Vocabulary& vocabulary, std::string_view text,
                                            const MatchRule& rule) const;

 private:
  Trie trie_;
  std::size_t longest_ = 0;
};

}  // namespace hearth::text
