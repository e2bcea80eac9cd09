// WordPiece ("bert"): normalized words, cut greedily into the longest pieces. Facts:
// reference/tokenizers.md, section 7, with the normalization of the published BERT (full canonical
// decomposition, spacing marks kept, words of more than 100 characters unknown) where runtimes
// approximate it.
#include "text/tokenizer_base.h"
#include "text/trie.h"
#include "text/unicode.h"

namespace hearth::text {
namespace {

constexpr std::string_view kWordStart = "\u2581";
constexpr std::size_t kLongestWord = 100;  // in characters

VocabularyDefaults wordpiece_defaults() {
  VocabularyDefaults defaults;
  defaults.bos = 101;
  defaults.unknown = 100;
  defaults.separator = 102;
  defaults.padding = 0;
  defaults.mask = 103;
  defaults.add_bos = true;
  defaults.add_separator = true;
  return defaults;
}

/// The blocks that BERT treats as ideographs, each a word of its own (with 2B920, a typo that every
/// copy kept).
bool is_ideograph(char32_t c) {
  return (c >= 0x4E00 && c <= 0x9FFF) || (c >= 0x3400 && c <= 0x4DBF) ||
         (c >= 0x20000 && c <= 0x2A6DF) || (c >= 0x2A700 && c <= 0x2B73F) ||
         (c >= 0x2B740 && c <= 0x2B81F) || (c >= 0x2B920 && c <= 0x2CEAF) ||
         (c >= 0xF900 && c <= 0xFAFF) || (c >= 0x2F800 && c <= 0x2FA1F);
}

bool stands_alone(char32_t c) {
  const CategoryGroup group = category_group(c);
  return group == CategoryGroup::kPunctuation || (c < 0x7F && group == CategoryGroup::kSymbol) ||
         is_ideograph(c);
}

bool is_dropped(char32_t c) {
  const CategoryGroup group = category_group(c);
  return c == 0 || c == 0xFFFD || group == CategoryGroup::kOther ||
         group == CategoryGroup::kUnassigned;
}

class WordPieceTokenizer final : public TokenizerBase {
 public:
  explicit WordPieceTokenizer(const gguf::Metadata& metadata);

 private:
  void encode_raw(std::string_view text, const RawContext& context,
                  std::vector<TokenId>& out) const override;
  void append_text(TokenId id, std::string& out) const override;
  [[nodiscard]] TokenId find_newline() const override { return special().padding; }

  [[nodiscard]] std::vector<std::u32string> words_of(std::string_view text) const;
  void encode_word(std::u32string_view word, const RawContext& context,
                   std::vector<TokenId>& out) const;

  Trie pieces_;
  bool lower_case_ = true;
  bool strip_accents_ = true;
};

WordPieceTokenizer::WordPieceTokenizer(const gguf::Metadata& metadata)
    : TokenizerBase(Vocabulary(metadata, wordpiece_defaults())) {
  lower_case_ = metadata.get_bool("tokenizer.ggml.normalizer.lowercase").value_or(true);
  strip_accents_ =
      metadata.get_bool("tokenizer.ggml.normalizer.strip_accents").value_or(lower_case_);
  clean_spaces_ = true;
  begin_ = special().bos;
  end_ = special().separator;
  std::vector<std::pair<std::string_view, std::uint32_t>> entries;
  for (std::size_t id = 0; id < size(); ++id) {
    entries.emplace_back(vocabulary().text(static_cast<TokenId>(id)),
                         static_cast<std::uint32_t>(id));
  }
  pieces_ = Trie(std::move(entries));
}

std::vector<std::u32string> WordPieceTokenizer::words_of(std::string_view text) const {
  std::u32string code_points = decode_lenient(text);
  if (strip_accents_) code_points = to_nfd(code_points);
  std::vector<std::u32string> words;
  bool open = false;  // the last word takes more characters
  for (char32_t c : code_points) {
    if (is_white_space(c)) {
      open = false;
      continue;
    }
    if (is_dropped(c) || (strip_accents_ && is_nonspacing_mark(c))) continue;
    if (lower_case_) c = to_lower(c);
    const bool alone = stands_alone(c);
    if (!open || alone) words.emplace_back();
    words.back() += c;
    open = !alone;
  }
  return words;
}

void WordPieceTokenizer::encode_raw(std::string_view text, const RawContext& context,
                                    std::vector<TokenId>& out) const {
  for (const std::u32string& word : words_of(text)) encode_word(word, context, out);
}

void WordPieceTokenizer::encode_word(std::u32string_view word, const RawContext& context,
                                     std::vector<TokenId>& out) const {
  const auto unknown = [&] {
    if (special().unknown >= 0) out.push_back(special().unknown);
  };
  if (word.size() > kLongestWord) return unknown();
  const std::string bytes = std::string(kWordStart) + encode_lenient(word);
  const std::size_t before = out.size();
  for (std::size_t at = 0; at < bytes.size();) {
    std::size_t matched = 0;
    TokenId token = -1;
    std::uint32_t node = Trie::kRoot;
    for (std::size_t end = at; end < bytes.size(); ++end) {
      node = pieces_.next(node, static_cast<unsigned char>(bytes[end]));
      if (node == Trie::kNone) break;
      const std::uint32_t value = pieces_.value(node);
      if (value == Trie::kNone || forbidden(static_cast<TokenId>(value), context)) continue;
      matched = end + 1 - at;
      token = static_cast<TokenId>(value);
    }
    if (matched == 0) {
      out.resize(before);
      return unknown();
    }
    out.push_back(token);
    at += matched;
  }
}

void WordPieceTokenizer::append_text(TokenId id, std::string& out) const {
  if (vocabulary().has(id, attribute::kByte)) {
    if (const auto byte = parse_byte_text(vocabulary().text(id))) out += static_cast<char>(*byte);
  } else if (vocabulary().has(id, attribute::kNormal)) {
    append_unescaped(vocabulary().text(id), out);
  }
}

}  // namespace

std::unique_ptr<TokenizerBase> make_wordpiece(const TokenizerSource& source) {
  return std::make_unique<WordPieceTokenizer>(source.metadata);
}

}  // namespace hearth::text
