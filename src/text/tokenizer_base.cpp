#include "text/tokenizer_base.h"

#include <fmt/format.h>

#include "support/error.h"

namespace hearth::text {
namespace {

/// Deletes the space before ? ! . and ,
std::string clean_before_punctuation(std::string_view text) {
  std::string cleaned;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char next = i + 1 < text.size() ? text[i + 1] : '\0';
    const bool drop = text[i] == ' ' && (next == '?' || next == '!' || next == '.' || next == ',');
    if (!drop) cleaned += text[i];
  }
  return cleaned;
}

/// Deletes both spaces around a lone apostrophe.
std::string clean_around_apostrophes(std::string_view text) {
  std::string cleaned;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text.substr(i, 3) == " ' ") {
      cleaned += '\'';
      i += 2;
    } else {
      cleaned += text[i];
    }
  }
  return cleaned;
}

/// Deletes the space before 's 'm 're 've
std::string clean_before_contractions(std::string_view text) {
  std::string cleaned;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const std::string_view rest = text.substr(i);
    const bool drop = rest.starts_with(" 's") || rest.starts_with(" 'm") ||
                      rest.starts_with(" 're") || rest.starts_with(" 've");
    if (!drop) cleaned += text[i];
  }
  return cleaned;
}

}  // namespace

void append_unescaped(std::string_view text, std::string& out) {
  while (!text.empty()) {
    const std::size_t at = text.find(kEscapedSpace);
    out.append(text.substr(0, at));
    if (at == text.npos) return;
    out += ' ';
    text.remove_prefix(at + kEscapedSpace.size());
  }
}

std::string escape_spaces(std::string_view text, bool add_prefix) {
  std::string escaped;
  escaped.reserve(text.size() + text.size() / 2 + 3);
  if (add_prefix) escaped += kEscapedSpace;
  for (const char c : text) {
    if (c == ' ') {
      escaped += kEscapedSpace;
    } else {
      escaped += c;
    }
  }
  return escaped;
}

TokenizerBase::TokenizerBase(Vocabulary vocabulary)
    : vocabulary_(std::move(vocabulary)), splitter_(vocabulary_) {
  const SpecialTokens& special = vocabulary_.special();
  if (special.add_bos) begin_ = special.bos;
  if (special.add_eos) end_ = special.eos;
}

void TokenizerBase::finish() { vocabulary_.special().newline = find_newline(); }

TokenId TokenizerBase::find_newline() const {
  const std::vector<TokenId> ids = encode("\n", EncodeOptions{});
  return ids.empty() ? -1 : ids.front();
}

std::vector<TokenId> TokenizerBase::encode_fragments(const std::vector<Fragment>& fragments,
                                                     bool guarded, bool begin, bool end) const {
  std::vector<TokenId> ids;
  if (begin && begin_ >= 0) ids.push_back(begin_);
  RawContext context{true, guarded};
  for (const Fragment& fragment : fragments) {
    if (fragment.token >= 0) {
      ids.push_back(fragment.token);
    } else {
      encode_raw(fragment.text, context, ids);
    }
    context.after_special = fragment.token >= 0;
  }
  if (end && end_ >= 0) ids.push_back(end_);
  return ids;
}

std::vector<TokenId> TokenizerBase::encode(std::string_view text,
                                           const EncodeOptions& options) const {
  const MatchRule rule(options.parse_special);
  return encode_fragments(splitter_.split(vocabulary_, text, rule), false, options.add_special,
                          options.add_special);
}

std::vector<TokenId> TokenizerBase::encode(const Prompt& prompt, bool add_special) const {
  const std::string text = prompt.str();
  const std::vector<Fragment> fragments = splitter_.split(vocabulary_, text, MatchRule(prompt));
  std::vector<TokenId> ids = encode_fragments(fragments, true, false, add_special);
  const bool has_begin = !ids.empty() && ids.front() == begin_;
  if (add_special && begin_ >= 0 && !has_begin) ids.insert(ids.begin(), begin_);
  return ids;
}

void TokenizerBase::check(TokenId id) const {
  if (id < 0 || static_cast<std::size_t>(id) >= size()) {
    throw Error(fmt::format("token {} is not in the vocabulary, which has {} tokens", id, size()),
                fmt::format("ids go from 0 to {}", static_cast<std::int64_t>(size()) - 1));
  }
}

void TokenizerBase::append_piece(TokenId id, bool special, std::string& out) const {
  check(id);
  if (vocabulary_.has(id, attribute::kControl | attribute::kUnknown)) {
    if (special) out += vocabulary_.text(id);
  } else if (vocabulary_.has(id, attribute::kUserDefined)) {
    out += vocabulary_.text(id);
  } else {
    append_text(id, out);
  }
}

std::string TokenizerBase::piece(TokenId id, bool special) const {
  std::string bytes;
  append_piece(id, special, bytes);
  return bytes;
}

std::string TokenizerBase::decode(std::span<const TokenId> ids,
                                  const DecodeOptions& options) const {
  std::string text;
  for (const TokenId id : ids) append_piece(id, options.special, text);
  if (options.at_start && vocabulary_.add_space_prefix() && !ids.empty() &&
      piece(ids.front(), options.special).starts_with(' ')) {
    text.erase(0, 1);
  }
  if (options.clean_spaces && clean_spaces_) {
    text = clean_before_contractions(clean_around_apostrophes(clean_before_punctuation(text)));
  }
  return text;
}

std::string_view TokenizerBase::stored_text(TokenId id) const {
  check(id);
  return vocabulary_.text(id);
}

TokenType TokenizerBase::type(TokenId id) const {
  const std::uint16_t flags = attributes(id);
  if ((flags & attribute::kUnknown) != 0) return TokenType::kUnknown;
  if ((flags & attribute::kControl) != 0) return TokenType::kControl;
  if ((flags & attribute::kUserDefined) != 0) return TokenType::kUserDefined;
  if ((flags & attribute::kByte) != 0) return TokenType::kByte;
  return (flags & attribute::kNormal) != 0 ? TokenType::kNormal : TokenType::kUnused;
}

std::uint16_t TokenizerBase::attributes(TokenId id) const {
  check(id);
  return vocabulary_.attributes(id);
}

std::optional<TokenId> TokenizerBase::find(std::string_view stored_text) const {
  return vocabulary_.find(stored_text);
}

bool TokenizerBase::ends_generation(TokenId id) const noexcept {
  return vocabulary_.ends_generation(id);
}

bool TokenizerBase::reserved(TokenId id) const {
  check(id);
  return vocabulary_.reserved(id);
}

std::span<const TokenId> TokenizerBase::suppressed() const noexcept {
  return vocabulary_.suppressed();
}

bool TokenizerBase::append_byte_token(unsigned char byte, std::vector<TokenId>& out) const {
  TokenId id = vocabulary_.byte_token(byte);
  if (id < 0) {
    const char text = static_cast<char>(byte);
    id = vocabulary_.find(std::string_view(&text, 1)).value_or(-1);
  }
  if (id >= 0) out.push_back(id);
  return id >= 0;
}

}  // namespace hearth::text
