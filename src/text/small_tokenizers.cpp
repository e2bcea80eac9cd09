// The small kinds: "rwkv" (greedy longest match over bytes), "plamo2" (cheapest path from the end
// of the text) and vocabularies without texts. Facts: reference/tokenizers.md, sections 9 and 10.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "support/error.h"
#include "text/tokenizer_base.h"
#include "text/trie.h"
#include "text/unicode.h"

namespace hearth::text {
namespace {

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return -1;
}

/// The bytes of a token text written like a Python bytes literal without its quotes.
std::string unescape(std::string_view text) {
  std::string bytes;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '\\' || i + 1 == text.size()) {
      bytes += text[i];
      continue;
    }
    const char kind = text[++i];
    const int high = i + 2 < text.size() ? hex_digit(text[i + 1]) : -1;
    const int low = i + 2 < text.size() ? hex_digit(text[i + 2]) : -1;
    if (kind == 'x' && high >= 0 && low >= 0) {
      bytes += static_cast<char>(high * 16 + low);
      i += 2;
    } else {
      bytes += kind == 't' ? '\t' : kind == 'n' ? '\n' : kind == 'r' ? '\r' : kind;
    }
  }
  return bytes;
}

class RwkvTokenizer final : public TokenizerBase {
 public:
  explicit RwkvTokenizer(const gguf::Metadata& metadata)
      : TokenizerBase(Vocabulary(metadata, VocabularyDefaults{})) {
    begin_ = end_ = -1;  // never added
    std::vector<std::pair<std::string_view, std::uint32_t>> entries;
    bytes_.reserve(size());
    for (std::size_t id = 0; id < size(); ++id) {
      bytes_.push_back(unescape(vocabulary().text(static_cast<TokenId>(id))));
    }
    for (std::size_t id = 0; id < size(); ++id)
      entries.emplace_back(bytes_[id], static_cast<std::uint32_t>(id));
    tokens_ = Trie(std::move(entries));
  }

 private:
  void encode_raw(std::string_view text, const RawContext& context,
                  std::vector<TokenId>& out) const override {
    for (std::size_t at = 0; at < text.size();) {
      std::size_t matched = 1;
      TokenId token = special().unknown;
      std::uint32_t node = Trie::kRoot;
      for (std::size_t end = at; end < text.size(); ++end) {
        node = tokens_.next(node, static_cast<unsigned char>(text[end]));
        if (node == Trie::kNone) break;
        const std::uint32_t value = tokens_.value(node);
        if (value == Trie::kNone || forbidden(static_cast<TokenId>(value), context)) continue;
        matched = end + 1 - at;
        token = static_cast<TokenId>(value);
      }
      if (token >= 0) out.push_back(token);
      at += matched;
    }
  }
  void append_text(TokenId id, std::string& out) const override {
    out += bytes_[static_cast<std::size_t>(id)];
  }

  std::vector<std::string> bytes_;
  Trie tokens_;
};

VocabularyDefaults plamo2_defaults() {
  VocabularyDefaults defaults;
  defaults.bos = 1;
  defaults.eos = 2;
  defaults.unknown = 0;
  defaults.padding = 3;
  return defaults;
}

class Plamo2Tokenizer final : public TokenizerBase {
 public:
  explicit Plamo2Tokenizer(const gguf::Metadata& metadata);

 private:
  static constexpr std::int64_t kUnknownCost = 10'000'000;
  static constexpr double kCostScale = 10'000.0;
  static constexpr double kLargestCost = 1e9;

  void encode_raw(std::string_view text, const RawContext& context,
                  std::vector<TokenId>& out) const override;
  void append_text(TokenId id, std::string& out) const override;

  Trie tokens_;
  std::vector<std::int64_t> costs_;
};

Plamo2Tokenizer::Plamo2Tokenizer(const gguf::Metadata& metadata)
    : TokenizerBase(Vocabulary(metadata, plamo2_defaults())) {
  begin_ = end_ = -1;  // never added
  for (unsigned byte = 0; byte < 256; ++byte) {
    if (vocabulary().byte_token(static_cast<unsigned char>(byte)) < 0) {
      throw Error(fmt::format(
          "the vocabulary lacks the byte token <0x{:02X}>, which its kind needs", byte));
    }
  }
  std::vector<std::pair<std::string_view, std::uint32_t>> entries;
  for (std::size_t i = 0; i < size(); ++i) {
    const auto id = static_cast<TokenId>(i);
    const double cost = -std::round(double{vocabulary().score(id)} * kCostScale);
    costs_.push_back(static_cast<std::int64_t>(std::clamp(cost, -kLargestCost, kLargestCost)));
    if (!vocabulary().has(id, attribute::kByte)) {
      entries.emplace_back(vocabulary().text(id), static_cast<std::uint32_t>(i));
    }
  }
  tokens_ = Trie(std::move(entries));
}

void Plamo2Tokenizer::encode_raw(std::string_view raw, const RawContext& context,
                                 std::vector<TokenId>& out) const {
  std::u32string code_points = decode_lenient(raw);
  if (!code_points.empty() && code_points.front() == 0xFEFF) code_points.erase(0, 1);
  const std::string text = encode_lenient(code_points);
  // best[i]: the cheapest way from byte i, which begins a character, to the end.
  struct Step {
    std::int64_t cost = 0;
    std::uint32_t length = 0;
    TokenId token = -1;
  };
  std::vector<Step> best(text.size() + 1);
  std::vector<std::pair<std::size_t, TokenId>> candidates;
  const auto is_continuation = [&](std::size_t i) { return (text[i] & 0xC0) == 0x80; };
  for (std::size_t at = text.size(); at-- > 0;) {
    if (is_continuation(at)) continue;
    std::size_t character = 1;
    while (at + character < text.size() && is_continuation(at + character)) ++character;
    candidates.clear();
    std::uint32_t node = Trie::kRoot;
    for (std::size_t end = at; end < text.size(); ++end) {
      node = tokens_.next(node, static_cast<unsigned char>(text[end]));
      if (node == Trie::kNone) break;
      const std::uint32_t value = tokens_.value(node);
      const bool whole = end + 1 == text.size() || !is_continuation(end + 1);
      if (value != Trie::kNone && whole && !forbidden(static_cast<TokenId>(value), context)) {
        candidates.emplace_back(end + 1 - at, static_cast<TokenId>(value));
      }
    }
    Step& step = best[at];
    step = {best[at + character].cost + kUnknownCost, static_cast<std::uint32_t>(character), -1};
    for (auto candidate = candidates.rbegin(); candidate != candidates.rend(); ++candidate) {
      const auto [length, token] = *candidate;
      const std::int64_t cost = best[at + length].cost + costs_[static_cast<std::size_t>(token)];
      if (cost < step.cost) step = {cost, static_cast<std::uint32_t>(length), token};
    }
  }
  for (std::size_t at = 0; at < text.size(); at += best[at].length) {
    if (best[at].token >= 0) {
      out.push_back(best[at].token);
      continue;
    }
    for (std::size_t i = at; i < at + best[at].length; ++i) {
      append_byte_token(static_cast<unsigned char>(text[i]), out);
    }
  }
}

void Plamo2Tokenizer::append_text(TokenId id, std::string& out) const {
  const auto byte = parse_byte_text(vocabulary().text(id));
  if (vocabulary().has(id, attribute::kByte) && byte) {
    out += static_cast<char>(*byte);
  } else {
    out += vocabulary().text(id);
  }
}

/// Models of token ids only: nothing can be encoded, ids decode to placeholders.
class NoVocabularyTokenizer final : public TokenizerBase {
 public:
  explicit NoVocabularyTokenizer(std::size_t size) : TokenizerBase(Vocabulary(size)) {}

 private:
  void encode_raw(std::string_view, const RawContext&, std::vector<TokenId>&) const override {
    throw Error("this model has no vocabulary: it takes token ids, not text",
                "give it token ids, or use a model with a tokenizer");
  }
  void append_text(TokenId id, std::string& out) const override { out += vocabulary().text(id); }
  [[nodiscard]] TokenId find_newline() const override { return -1; }
};

}  // namespace

std::unique_ptr<TokenizerBase> make_rwkv(const TokenizerSource& source) {
  return std::make_unique<RwkvTokenizer>(source.metadata);
}

std::unique_ptr<TokenizerBase> make_plamo2(const TokenizerSource& source) {
  return std::make_unique<Plamo2Tokenizer>(source.metadata);
}

std::unique_ptr<TokenizerBase> make_no_vocabulary(const TokenizerSource& source) {
  constexpr std::uint64_t kMostTokens = std::uint64_t{1} << 24;
  const std::string key =
      std::string(source.metadata.get_string("general.architecture").value_or(""))
          .append(".vocab_size");
  const std::uint64_t size = source.metadata.get_uint(key).value_or(0);
  if (size > kMostTokens)
    throw Error(fmt::format("{} is {}, which is not believable", printable(key), size));
  return std::make_unique<NoVocabularyTokenizer>(size);
}

}  // namespace hearth::text
