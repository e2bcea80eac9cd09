#include "text/bpe_merges.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "support/error.h"

namespace hearth::text {
namespace {

/// Words up to this many symbols are merged by scanning, longer ones with a heap.
constexpr std::size_t kShortWord = 32;
constexpr std::uint32_t kNoSymbolLeft = UINT32_MAX;
constexpr std::uint32_t kNoMerge = UINT32_MAX;

std::size_t slot_of(std::uint64_t pair) {
  std::uint64_t hashed = pair * 0x9E3779B97F4A7C15;
  hashed ^= hashed >> 32;
  return static_cast<std::size_t>(hashed);
}

/// Where an entry of the merge list is divided: at the first space that is not its first byte.
std::size_t division(std::string_view entry, std::size_t index) {
  const std::size_t space = entry.find(' ', 1);
  if (entry.empty() || space == entry.npos || space + 1 == entry.size()) {
    throw Error(
        fmt::format(
            "entry {} of tokenizer.ggml.merges, \"{}\", is not two texts separated by a space",
            index, printable(entry)),
        "the file was converted wrongly; get another one");
  }
  return space;
}

/// Texts of a few merges being looked up together, so that the memory accesses overlap.
struct Lookup {
  std::string_view text;
  std::uint64_t hash = 0;
};

}  // namespace

MergeTable::MergeTable(const Vocabulary& vocabulary, const std::vector<std::string_view>& merges)
    : vocabulary_size_(vocabulary.size()) {
  std::size_t slots = 16;
  while (slots < merges.size() * 2) slots *= 2;
  slots_.resize(slots);
  mask_ = slots - 1;
  constexpr std::size_t kBlock = 32;
  std::array<std::array<Lookup, 3>, kBlock> block;
  std::array<std::string, kBlock> joined;
  const TextIndex& texts = vocabulary.texts();
  for (std::size_t first = 0; first < merges.size(); first += kBlock) {
    const std::size_t count = std::min(kBlock, merges.size() - first);
    for (std::size_t i = 0; i < count; ++i) {
      const std::string_view entry = merges[first + i];
      const std::size_t space = division(entry, first + i);
      joined[i].assign(entry, 0, space).append(entry, space + 1);
      block[i][0].text = entry.substr(0, space);
      block[i][1].text = entry.substr(space + 1);
      block[i][2].text = joined[i];
      for (Lookup& lookup : block[i]) {
        lookup.hash = TextIndex::hash(lookup.text);
        texts.prefetch(lookup.hash);
      }
    }
    for (std::size_t i = 0; i < count; ++i) {
      std::array<Symbol, 3> symbols{};
      for (std::size_t j = 0; j < 3; ++j) {
        symbols[j] = texts.find_hashed(block[i][j].text, block[i][j].hash);
        if (symbols[j] == TextIndex::kNone) symbols[j] = intern(vocabulary, block[i][j].text);
      }
      insert(symbols[0], symbols[1], {static_cast<std::uint32_t>(first + i), symbols[2]});
    }
  }
}

void MergeTable::insert(Symbol left, Symbol right, Merge merge) {
  const std::uint64_t pair = std::uint64_t{left} << 32 | right;
  std::size_t at = slot_of(pair) & mask_;
  while (slots_[at].pair != UINT64_MAX) {
    if (slots_[at].pair == pair) return;  // the first occurrence counts
    at = (at + 1) & mask_;
  }
  slots_[at] = {pair, merge};
}

Symbol MergeTable::find(const Vocabulary& vocabulary, std::string_view text) const noexcept {
  const std::uint32_t token = vocabulary.texts().find(text);
  if (token != TextIndex::kNone) return token;
  const std::uint32_t extra = extra_.find(text);
  return extra == TextIndex::kNone ? kNoSymbol : static_cast<Symbol>(vocabulary_size_ + extra);
}

Symbol MergeTable::intern(const Vocabulary& vocabulary, std::string_view text) {
  const std::uint32_t token = vocabulary.texts().find(text);
  if (token != TextIndex::kNone) return token;
  return static_cast<Symbol>(vocabulary_size_ + extra_.intern(text));
}

std::string_view MergeTable::text(const Vocabulary& vocabulary, Symbol symbol) const noexcept {
  return symbol < vocabulary_size_ ? vocabulary.text(static_cast<TokenId>(symbol))
                                   : extra_[symbol - vocabulary_size_];
}

MergeTable::Merge MergeTable::lookup(const Vocabulary& vocabulary, std::string_view bytes,
                                     bool guarded, const WordSymbol& left,
                                     const WordSymbol& right) const {
  if (left.symbol == kNoSymbol || right.symbol == kNoSymbol) return {};
  Merge found;
  if (by_id_) {
    const std::uint32_t size = left.size + right.size;
    if (size > vocabulary.longest_text()) return {};
    const std::uint32_t token = vocabulary.texts().find(bytes.substr(left.start, size));
    if (token != TextIndex::kNone) found = {token, token};
  } else {
    const std::uint64_t pair = std::uint64_t{left.symbol} << 32 | right.symbol;
    for (std::size_t at = slot_of(pair) & mask_; slots_[at].pair != UINT64_MAX;
         at = (at + 1) & mask_) {
      if (slots_[at].pair == pair) {
        found = slots_[at].merge;
        break;
      }
    }
  }
  const bool token = found.result < vocabulary_size_;
  if (guarded && token && vocabulary.reserved(static_cast<TokenId>(found.result))) return {};
  return found;
}

void MergeTable::merge(const Vocabulary& vocabulary, std::string_view bytes, bool guarded,
                       std::vector<WordSymbol>& word) const {
  if (word.size() <= kShortWord) {
    merge_short(vocabulary, bytes, guarded, word);
  } else {
    merge_long(vocabulary, bytes, guarded, word);
  }
}

void MergeTable::merge_short(const Vocabulary& vocabulary, std::string_view bytes, bool guarded,
                             std::vector<WordSymbol>& word) const {
  std::array<Merge, kShortWord> merges;  // merges[i]: of word[i] with word[i + 1]
  for (std::size_t i = 0; i + 1 < word.size(); ++i) {
    merges[i] = lookup(vocabulary, bytes, guarded, word[i], word[i + 1]);
  }
  std::size_t count = word.size();
  while (count > 1) {
    std::size_t best = 0;
    for (std::size_t i = 1; i + 1 < count; ++i) {
      if (merges[i].rank < merges[best].rank) best = i;
    }
    if (merges[best].rank == kNoMerge) break;
    word[best] = {merges[best].result, word[best].start, word[best].size + word[best + 1].size};
    --count;
    for (std::size_t i = best + 1; i < count; ++i) {
      word[i] = word[i + 1];
      merges[i] = merges[i + 1];
    }
    if (best > 0) merges[best - 1] = lookup(vocabulary, bytes, guarded, word[best - 1], word[best]);
    merges[best] =
        best + 1 < count ? lookup(vocabulary, bytes, guarded, word[best], word[best + 1]) : Merge{};
  }
  word.resize(count);
}

void MergeTable::merge_long(const Vocabulary& vocabulary, std::string_view bytes, bool guarded,
                            std::vector<WordSymbol>& word) const {
  struct Candidate {
    std::uint32_t rank;
    std::uint32_t left;
    std::uint32_t right;
    std::uint32_t size;
    Symbol result;
    bool operator<(
        const Candidate& other) const {  // the heap's top is the lowest rank, then the leftmost
      return rank != other.rank ? rank > other.rank : left > other.left;
    }
  };
  const auto count = static_cast<std::uint32_t>(word.size());
  std::vector<std::uint32_t> previous(count);
  std::vector<std::uint32_t> next(count);
  for (std::uint32_t i = 0; i < count; ++i) {
    previous[i] = i == 0 ? kNoSymbolLeft : i - 1;
    next[i] = i + 1 == count ? kNoSymbolLeft : i + 1;
  }
  std::vector<Candidate> heap;
  const auto propose = [&](std::uint32_t left) {
    if (left == kNoSymbolLeft || next[left] == kNoSymbolLeft) return false;
    const std::uint32_t right = next[left];
    const Merge merge = lookup(vocabulary, bytes, guarded, word[left], word[right]);
    if (merge.rank == kNoMerge) return false;
    heap.push_back({merge.rank, left, right, word[left].size + word[right].size, merge.result});
    return true;
  };
  for (std::uint32_t i = 0; i < count; ++i) propose(i);
  std::make_heap(heap.begin(), heap.end());
  while (!heap.empty()) {
    std::pop_heap(heap.begin(), heap.end());
    const Candidate best = heap.back();
    heap.pop_back();
    WordSymbol& left = word[best.left];
    WordSymbol& right = word[best.right];
    if (left.size == 0 || right.size == 0 || left.size + right.size != best.size) continue;
    left.symbol = best.result;
    left.size = best.size;
    right.size = 0;
    next[best.left] = next[best.right];
    if (next[best.left] != kNoSymbolLeft) previous[next[best.left]] = best.left;
    if (propose(previous[best.left])) std::push_heap(heap.begin(), heap.end());
    if (propose(best.left)) std::push_heap(heap.begin(), heap.end());
  }
  std::erase_if(word, [](const WordSymbol& symbol) { return symbol.size == 0; });
}

}  // namespace hearth::text
