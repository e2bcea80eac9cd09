// Unigram ("t5"): the most probable segmentation of the normalized text (Kudo, "Subword
// Regularization", 2018), found by the Viterbi algorithm. Facts: reference/tokenizers.md,
// section 8.
#include <algorithm>
#include <array>
#include <limits>

#include "support/error.h"
#include "support/utf8.h"
#include "text/tokenizer_base.h"
#include "text/trie.h"
#include "text/unicode.h"

namespace hearth::text {
namespace {

constexpr double kUnknownPenalty = 10.0;

VocabularyDefaults unigram_defaults() {
  VocabularyDefaults defaults;
  defaults.eos = 1;
  defaults.unknown = 2;
  defaults.padding = 0;
  defaults.add_eos = true;
  return defaults;
}

/// The normalizer of SentencePiece: a double-array trie from byte strings to replacements, as it is
/// stored.
class CharacterMap {
 public:
  CharacterMap() = default;
  /// Throws Error when `blob` does not hold what it says.
  explicit CharacterMap(std::string blob);

  struct Match {
    std::size_t length = 0;  // of the replaced prefix; 0 when nothing matches
    std::string_view replacement;
  };
  [[nodiscard]] Match longest_prefix(std::string_view text) const;

 private:
  [[nodiscard]] std::uint32_t unit(std::size_t index) const;
  [[nodiscard]] static std::uint32_t base(std::uint32_t unit) noexcept {
    return unit >> 10 << ((unit & 1U << 9) >> 6);
  }
  [[noreturn]] static void fail() {
    throw Error("tokenizer.ggml.precompiled_charsmap is corrupt",
                "the file is damaged; get another one");
  }

  std::string blob_;
  std::size_t units_ = 0;
  std::string_view replacements_;
};

CharacterMap::CharacterMap(std::string blob) : blob_(std::move(blob)) {
  if (blob_.empty()) return;
  if (blob_.size() < 4) fail();
  std::size_t bytes = 0;
  for (std::size_t i = 0; i < 4; ++i)
    bytes |= std::size_t{static_cast<unsigned char>(blob_[i])} << 8 * i;
  if (bytes % 4 != 0 || bytes > blob_.size() - 4) fail();
  units_ = bytes / 4;
  replacements_ = std::string_view(blob_).substr(4 + bytes);
  if (!replacements_.empty() && replacements_.back() != '\0') fail();
}

std::uint32_t CharacterMap::unit(std::size_t index) const {
  if (index >= units_) fail();
  std::uint32_t value = 0;
  for (std::size_t i = 0; i < 4; ++i) {
    value |= std::uint32_t{static_cast<unsigned char>(blob_[4 + index * 4 + i])} << 8 * i;
  }
  return value;
}

CharacterMap::Match CharacterMap::longest_prefix(std::string_view text) const {
  Match match;
  if (units_ == 0) return match;
  std::uint32_t node = base(unit(0));
  for (std::size_t i = 0; i < text.size() && text[i] != '\0'; ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    node ^= byte;
    // A byte that no key continues with may lead out of the array.
    if (node >= units_) break;
    const std::uint32_t here = unit(node);
    if ((here & ((1U << 31) | 0xFF)) != byte) break;
    node ^= base(here);
    if ((here >> 8 & 1) == 0) continue;
    const std::size_t offset = unit(node) & 0x7FFFFFFF;
    if (offset >= replacements_.size()) fail();
    const std::string_view rest = replacements_.substr(offset);
    match = {i + 1, rest.substr(0, rest.find('\0'))};
  }
  return match;
}

std::string read_blob(const gguf::Metadata& metadata) {
  constexpr auto kKey = "tokenizer.ggml.precompiled_charsmap";
  std::string blob;
  if (!metadata.contains(kKey)) return blob;
  const auto bytes = metadata.get_ints(kKey);
  if (!bytes) throw Error("tokenizer.ggml.precompiled_charsmap is not an array of bytes");
  blob.reserve(bytes->size());
  for (const std::int64_t byte : *bytes) blob += static_cast<char>(byte & 0xFF);
  return blob;
}

class UnigramTokenizer final : public TokenizerBase {
 public:
  explicit UnigramTokenizer(const gguf::Metadata& metadata);

 private:
  void encode_raw(std::string_view text, const RawContext& context,
                  std::vector<TokenId>& out) const override;
  void append_text(TokenId id, std::string& out) const override;
  [[nodiscard]] TokenId find_newline() const override {
    const std::vector<TokenId> ids = encode("\n", EncodeOptions{});
    return ids.empty() ? special().padding : ids.front();
  }
  [[nodiscard]] std::string normalize(std::string_view text, const RawContext& context) const;
  [[nodiscard]] std::size_t user_defined_prefix(std::string_view text,
                                                const RawContext& context) const;

  Trie tokens_;        // what segmentation may use
  Trie user_defined_;  // what normalization leaves alone
  CharacterMap map_;
  double unknown_score_ = 0;
  bool collapse_spaces_ = false;
};

UnigramTokenizer::UnigramTokenizer(const gguf::Metadata& metadata)
    : TokenizerBase(Vocabulary(metadata, unigram_defaults())), map_(read_blob(metadata)) {
  collapse_spaces_ = metadata.get_bool("tokenizer.ggml.remove_extra_whitespaces").value_or(false);
  std::vector<std::pair<std::string_view, std::uint32_t>> tokens;
  std::vector<std::pair<std::string_view, std::uint32_t>> user_defined;
  double lowest = std::numeric_limits<double>::max();
  bool any = false;
  for (std::size_t i = 0; i < size(); ++i) {
    const auto id = static_cast<TokenId>(i);
    const std::uint16_t flags = vocabulary().attributes(id);
    if ((flags & attribute::kNormal) != 0) {
      lowest = std::min(lowest, double{vocabulary().score(id)});
      any = true;
    }
    if ((flags & (attribute::kNormal | attribute::kUserDefined | attribute::kUnused)) != 0) {
      tokens.emplace_back(vocabulary().text(id), static_cast<std::uint32_t>(i));
    }
    if ((flags & attribute::kUserDefined) != 0) {
      user_defined.emplace_back(vocabulary().text(id), static_cast<std::uint32_t>(i));
    }
  }
  unknown_score_ = (any ? lowest : 0.0) - kUnknownPenalty;
  tokens_ = Trie(std::move(tokens));
  user_defined_ = Trie(std::move(user_defined));
}

std::size_t UnigramTokenizer::user_defined_prefix(std::string_view text,
                                                  const RawContext& context) const {
  std::size_t length = 0;
  std::uint32_t node = Trie::kRoot;
  for (std::size_t i = 0; i < text.size(); ++i) {
    node = user_defined_.next(node, static_cast<unsigned char>(text[i]));
    if (node == Trie::kNone) break;
    const std::uint32_t value = user_defined_.value(node);
    if (value != Trie::kNone && !forbidden(static_cast<TokenId>(value), context)) length = i + 1;
  }
  return length;
}

std::string UnigramTokenizer::normalize(std::string_view text, const RawContext& context) const {
  std::string normalized;
  bool prefix_pending = vocabulary().add_space_prefix();
  bool in_word = false;
  const auto put = [&](std::string_view bytes) {
    for (const char c : bytes) {
      if (c != ' ') {
        if (!in_word && (prefix_pending || collapse_spaces_)) {
          normalized += kEscapedSpace;
          prefix_pending = false;
        }
        in_word = true;
        normalized += c;
      } else {
        in_word = false;
        if (!collapse_spaces_) normalized += kEscapedSpace;
      }
    }
  };
  while (!text.empty()) {
    std::size_t length = user_defined_prefix(text, context);
    if (length > 0) {
      put(text.substr(0, length));
    } else if (const CharacterMap::Match match = map_.longest_prefix(text); match.length > 0) {
      length = match.length;
      put(match.replacement);
    } else {
      const Utf8Decoded decoded = decode_utf8(text);
      length = decoded.valid ? decoded.length : 1;
      put(decoded.valid ? text.substr(0, length) : "\uFFFD");
    }
    text.remove_prefix(length);
  }
  return normalized;
}

void UnigramTokenizer::encode_raw(std::string_view raw, const RawContext& context,
                                  std::vector<TokenId>& out) const {
  const std::string text = normalize(raw, context);
  struct Best {
    double score = -std::numeric_limits<double>::infinity();
    std::uint32_t start = 0;
    TokenId token = -1;
    bool reached = false;
  };
  std::vector<Best> best(text.size() + 1);
  best[0] = {0.0, 0, -1, true};
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t character =
        std::min(utf8_length_by_lead(static_cast<unsigned char>(text[at])), text.size() - at);
    const double score = best[at].score;
    const auto offer = [&](std::size_t end, TokenId token, double token_score) {
      Best& target = best[end];
      if (target.reached && !(score + token_score > target.score)) return;
      target = {score + token_score, static_cast<std::uint32_t>(at), token, true};
    };
    bool character_is_token = false;
    std::uint32_t node = Trie::kRoot;
    for (std::size_t end = at; end < text.size(); ++end) {
      node = tokens_.next(node, static_cast<unsigned char>(text[end]));
      if (node == Trie::kNone) break;
      const std::uint32_t value = tokens_.value(node);
      const auto token = static_cast<TokenId>(value);
      if (value == Trie::kNone || forbidden(token, context)) continue;
      if (end + 1 - at == character) character_is_token = true;
      const bool user_defined = vocabulary().has(token, attribute::kUserDefined);
      offer(end + 1, token, user_defined ? 0.0 : double{vocabulary().score(token)});
    }
    if (!character_is_token) offer(at + character, special().unknown, unknown_score_);
    at += character;
  }
  std::vector<TokenId> reversed;
  for (std::size_t end = text.size(); end > 0; end = best[end].start) {
    const TokenId token = best[end].token;
    const bool repeated_unknown =
        token == special().unknown && !reversed.empty() && reversed.back() == token;
    if (!repeated_unknown && token >= 0) reversed.push_back(token);
  }
  out.insert(out.end(), reversed.rbegin(), reversed.rend());
}

void UnigramTokenizer::append_text(TokenId id, std::string& out) const {
  if (vocabulary().has(id, attribute::kByte)) {
    if (const auto byte = parse_byte_text(vocabulary().text(id))) out += static_cast<char>(*byte);
  } else if (vocabulary().has(id, attribute::kNormal)) {
    append_unescaped(vocabulary().text(id), out);
  }
}

}  // namespace

std::unique_ptr<TokenizerBase> make_unigram(const TokenizerSource& source) {
  return std::make_unique<UnigramTokenizer>(source.metadata);
}

}  // namespace hearth::text
