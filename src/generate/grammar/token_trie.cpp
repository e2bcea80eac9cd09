#include "generate/grammar/token_trie.h"

#include <algorithm>

#include "generate/grammar/grammar.h"
#include "support/utf8.h"

namespace hearth::generate::grammar {
namespace {

constexpr std::size_t kMaxTokenBytes = 4096;  // longer ones are never what a grammar needs

}  // namespace

TokenTrie::TokenTrie(const text::Tokenizer& tokenizer) : tokenizer_(&tokenizer) {
  const std::size_t count = tokenizer.size();
  std::vector<bool> suppressed(count, false);
  for (const text::TokenId id : tokenizer.suppressed()) {
    if (id >= 0 && static_cast<std::size_t>(id) < count)
      suppressed[static_cast<std::size_t>(id)] = true;
  }
  markup_flags_.assign(count, false);
  same_.assign(count, kNoToken);
  easy_.assign((count + 63) / 64, 0);
  bytes_begin_.push_back(0);
  std::vector<std::uint32_t> plain, hard, markup;
  for (std::uint32_t token = 0; token < count; ++token) {
    const auto id = static_cast<text::TokenId>(token);
    const std::uint16_t attributes = tokenizer.attributes(id);
    const bool unusable =
        (attributes & (text::attribute::kUnknown | text::attribute::kUnused)) != 0;
    if (tokenizer.ends_generation(id)) {
      ends_.push_back(id);
    } else if (!suppressed[token] && !unusable) {
      const bool is_markup =
          tokenizer.reserved(id) || (attributes & text::attribute::kControl) != 0;
      markup_flags_[token] = is_markup;
      const std::string piece = tokenizer.piece(id, is_markup);
      if (!piece.empty() && piece.size() <= kMaxTokenBytes) {
        bytes_ += piece;
        (is_markup ? markup : plain).push_back(token);
        if (!is_markup && is_easy(piece)) {
          easy_[token / 64] |= std::uint64_t{1} << (token % 64);
        } else if (!is_markup) {
          hard.push_back(token);
        }
      }
    }
    bytes_begin_.push_back(static_cast<std::uint32_t>(bytes_.size()));
  }
  build(std::move(plain), plain_);
  build(std::move(hard), hard_);
  build(std::move(markup), markup_);
}

bool TokenTrie::is_easy(std::string_view bytes) const {
  int length = 0;
  while (!bytes.empty()) {
    const Utf8Decoded decoded = decode_utf8(bytes);
    const char32_t c = decoded.code_point;
    if (!decoded.valid || c < 0x20 || c == U'"' || c == U'\\' || ++length > kEasyLength)
      return false;
    bytes.remove_prefix(decoded.length);
  }
  return true;
}

std::string_view TokenTrie::bytes(text::TokenId token) const {
  if (token < 0 || static_cast<std::size_t>(token) >= tokens()) return {};
  const std::uint32_t begin = bytes_begin_[static_cast<std::size_t>(token)];
  return std::string_view(bytes_).substr(begin,
                                         bytes_begin_[static_cast<std::size_t>(token) + 1] - begin);
}

void TokenTrie::build(std::vector<std::uint32_t> tokens, Walk& walk) {
  const auto text = [&](std::uint32_t token) { return bytes(static_cast<text::TokenId>(token)); };
  std::stable_sort(tokens.begin(), tokens.end(),
                   [&](std::uint32_t a, std::uint32_t b) { return text(a) < text(b); });
  std::vector<std::uint32_t> open;  // the nodes of the token before, by depth
  std::string_view before;
  for (const std::uint32_t token : tokens) {
    const std::string_view now = text(token);
    if (now == before && !open.empty()) {
      std::uint32_t last = walk[open.back()].token;
      while (same_[last] != kNoToken && same_[last] != token) last = same_[last];
      if (last != token) same_[last] = token;
      continue;
    }
    std::size_t common = 0;
    while (common < before.size() && common < now.size() && before[common] == now[common]) ++common;
    for (; open.size() > common; open.pop_back())
      walk[open.back()].skip = static_cast<std::uint32_t>(walk.size());
    for (std::size_t i = common; i < now.size(); ++i) {
      open.push_back(static_cast<std::uint32_t>(walk.size()));
      walk.push_back(
          {0, kNoToken, static_cast<std::uint16_t>(i + 1), static_cast<std::uint8_t>(now[i])});
    }
    walk.back().token = token;
    max_depth_ = std::max(max_depth_, now.size());
    before = now;
  }
  for (; !open.empty(); open.pop_back())
    walk[open.back()].skip = static_cast<std::uint32_t>(walk.size());
  walk.shrink_to_fit();
}

std::shared_ptr<const TokenTrie> build_token_trie(const text::Tokenizer& tokenizer) {
  return std::make_shared<const TokenTrie>(tokenizer);
}

}  // namespace hearth::generate::grammar
