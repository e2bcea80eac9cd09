// The merge table of a BPE vocabulary and the merging of one word. Private to text/.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "text/text_index.h"
#include "text/vocabulary.h"

namespace hearth::text {

/// What a stretch of text is so far: the id of a token, or at and above the vocabulary's size a
/// text that only merges name, or kNoSymbol for a character that neither has.
using Symbol = std::uint32_t;
inline constexpr Symbol kNoSymbol = UINT32_MAX;

/// A symbol of a word being merged, and where its bytes are in the word.
struct WordSymbol {
  Symbol symbol = kNoSymbol;
  std::uint32_t start = 0;
  std::uint32_t size = 0;
};

class MergeTable {
 public:
  struct Merge {
    std::uint32_t rank = UINT32_MAX;  // lower merges first
    Symbol result = kNoSymbol;
  };

  /// Pairs merge as `merges` ("left right", by falling priority) says. Throws Error when an entry
  /// is not a pair.
  MergeTable(const Vocabulary& vocabulary, const std::vector<std::string_view>& merges);
  /// Without a list, pairs merge when their joint text is a token, by its id (tiktoken's rule).
  explicit MergeTable(const Vocabulary& vocabulary)
      : vocabulary_size_(vocabulary.size()), by_id_(true) {}

  [[nodiscard]] Symbol find(const Vocabulary& vocabulary, std::string_view text) const noexcept;
  [[nodiscard]] Symbol intern(const Vocabulary& vocabulary, std::string_view text);
  [[nodiscard]] std::string_view text(const Vocabulary& vocabulary, Symbol symbol) const noexcept;

  /// Merges `word`, the symbols of `bytes`, as far as it goes. With `guarded`, no reserved token is
  /// formed.
  void merge(const Vocabulary& vocabulary, std::string_view bytes, bool guarded,
             std::vector<WordSymbol>& word) const;

 private:
  struct Slot {
    std::uint64_t pair = UINT64_MAX;
    Merge merge;
  };

  void insert(Symbol left, Symbol right, Merge merge);
  [[nodiscard]] Merge lookup(const Vocabulary& vocabulary, std::string_view bytes, bool guarded,
                             const WordSymbol& left, const WordSymbol& right) const;
  void merge_short(const Vocabulary& vocabulary, std::string_view bytes, bool guarded,
                   std::vector<WordSymbol>& word) const;
  void merge_long(const Vocabulary& vocabulary, std::string_view bytes, bool guarded,
                  std::vector<WordSymbol>& word) const;

  std::size_t vocabulary_size_ = 0;
  bool by_id_ = false;
  TextIndex extra_;  // texts of symbols that are no tokens
  std::vector<Slot> slots_;
  std::size_t mask_ = 0;
};

}  // namespace hearth::text
