#include "text/special_splitter.h"

#include <algorithm>
#include <cstring>

namespace hearth::text {
namespace {

bool is_strippable(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

/// A token found in the text, with the white space around it that it takes away.
struct FoundToken {
  std::size_t begin = 0;
  std::size_t end = 0;
  std::size_t strip_begin = 0;
  std::size_t strip_end = 0;
  TokenId token = -1;
};

}  // namespace

MatchRule::MatchRule(const Prompt& prompt) : prompt_(true) {
  std::size_t at = 0;
  for (const Span& span : prompt.spans) {
    const std::size_t end = at + span.text.size();
    if (span.origin == Origin::kTemplate && !span.text.empty()) {
      if (!template_ranges_.empty() && template_ranges_.back().second == at) {
        template_ranges_.back().second = end;
      } else {
        template_ranges_.emplace_back(at, end);
      }
    }
    at = end;
  }
}

bool MatchRule::allows(const Vocabulary& vocabulary, TokenId id, std::size_t begin,
                       std::size_t end) const noexcept {
  if (!prompt_) {
    return parse_special_ || !vocabulary.parsed_only(id);
  }
  if (!vocabulary.reserved(id)) return true;
  const auto after =
      std::upper_bound(template_ranges_.begin(), template_ranges_.end(), begin,
                       [](std::size_t value, const auto& range) { return value < range.first; });
  return after != template_ranges_.begin() && end <= std::prev(after)->second;
}

SpecialSplitter::SpecialSplitter(const Vocabulary& vocabulary) {
  std::vector<std::pair<std::string_view, std::uint32_t>> entries;
  for (std::size_t i = 0; i < vocabulary.size(); ++i) {
    const auto id = static_cast<TokenId>(i);
    if (!vocabulary.has(id, attribute::kSpecial)) continue;
    entries.emplace_back(vocabulary.text(id), static_cast<std::uint32_t>(i));
    longest_ = std::max(longest_, vocabulary.text(id).size());
  }
  trie_ = Trie(std::move(entries));
}

std::vector<Fragment> SpecialSplitter::split(const Vocabulary& vocabulary, std::string_view text,
                                             const MatchRule& rule) const {
  // Every position is a candidate for the longest token that begins there. Candidates are taken up
  // by falling length; one that touches taken text shrinks to the longest token that still fits and
  // waits for its turn again.
  std::vector<std::vector<std::size_t>> starts(longest_ + 1);
  const auto longest_at = [&](std::size_t begin, std::size_t limit) {
    std::pair<std::size_t, TokenId> best{0, -1};
    std::uint32_t node = Trie::kRoot;
    for (std::size_t at = begin; at < text.size() && at - begin < limit; ++at) {
      node = trie_.next(node, static_cast<unsigned char>(text[at]));
      if (node == Trie::kNone) break;
      const std::uint32_t value = trie_.value(node);
      if (value == Trie::kNone) continue;
      const auto id = static_cast<TokenId>(value);
      if (rule.allows(vocabulary, id, begin, at + 1)) best = {at + 1 - begin, id};
    }
    return best;
  };
  if (!trie_.empty()) {
    for (std::size_t begin = 0; begin < text.size(); ++begin) {
      if (trie_.next(Trie::kRoot, static_cast<unsigned char>(text[begin])) == Trie::kNone) continue;
      if (const auto best = longest_at(begin, longest_); best.first > 0)
        starts[best.first].push_back(begin);
    }
  }
  std::vector<FoundToken> matches;
  std::string taken;  // 1 where a match is; allocated with the first one
  for (std::size_t length = longest_; length > 0; --length) {
    std::sort(starts[length].begin(), starts[length].end());
    for (const std::size_t begin : starts[length]) {
      if (taken.empty()) taken.assign(text.size(), '\0');
      const void* obstacle = std::memchr(taken.data() + begin, 1, length);
      if (obstacle != nullptr) {
        const auto room =
            static_cast<std::size_t>(static_cast<const char*>(obstacle) - taken.data()) - begin;
        const auto best = longest_at(begin, room);
        if (best.first > 0) starts[best.first].push_back(begin);
        continue;
      }
      FoundToken match{begin, begin + length, begin, begin + length,
                       longest_at(begin, length).second};
      if (vocabulary.has(match.token, attribute::kLeftStrip)) {
        while (match.strip_begin > 0 && taken[match.strip_begin - 1] == 0 &&
               is_strippable(text[match.strip_begin - 1])) {
          --match.strip_begin;
        }
      }
      if (vocabulary.has(match.token, attribute::kRightStrip)) {
        while (match.strip_end < text.size() && taken[match.strip_end] == 0 &&
               is_strippable(text[match.strip_end])) {
          ++match.strip_end;
        }
      }
      std::fill(taken.begin() + static_cast<std::ptrdiff_t>(match.strip_begin),
                taken.begin() + static_cast<std::ptrdiff_t>(match.strip_end), '\1');
      matches.push_back(match);
    }
  }
  std::sort(matches.begin(), matches.end(),
            [](const FoundToken& a, const FoundToken& b) { return a.begin < b.begin; });
  std::vector<Fragment> fragments;
  std::size_t at = 0;
  for (const FoundToken& match : matches) {
    if (match.strip_begin > at) fragments.push_back({text.substr(at, match.strip_begin - at), -1});
    fragments.push_back({text.substr(match.begin, match.end - match.begin), match.token});
    at = match.strip_end;
  }
  if (at < text.size()) fragments.push_back({text.substr(at), -1});
  return fragments;
}

}  // namespace hearth::text
