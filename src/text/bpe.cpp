// Byte pair encoding: "gpt2" (bytes as printable characters), "gemma4" (raw UTF-8, escaped spaces),
// "whitespace" (raw UTF-8 words) and "hybriddna" (k-mers between <dna> and </dna>). Facts:
// reference/tokenizers.md, sections 5, 6 and 11.
#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "support/error.h"
#include "text/bpe_merges.h"
#include "text/pre_tokenizer.h"
#include "text/tokenizer_base.h"
#include "text/unicode.h"

namespace hearth::text {
namespace {

constexpr std::size_t kKmerSize = 6;
constexpr std::string_view kKmerMark = "\uE000";  // follows the texts of k-mers in the file
constexpr std::string_view kDnaBegin = "<dna>";
constexpr std::string_view kDnaEnd = "</dna>";

/// The byte-level alphabet of GPT-2: every byte as a printable code point.
class ByteAlphabet {
 public:
  ByteAlphabet() {
    char32_t next = 0x100;
    for (unsigned byte = 0; byte < 256; ++byte) {
      const bool printable_byte =
          (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
      const char32_t code_point = printable_byte ? byte : next++;
      append_lenient(texts_[byte], code_point);
      bytes_[code_point] = static_cast<std::int16_t>(byte);
    }
  }
  [[nodiscard]] const std::string& text(unsigned char byte) const noexcept { return texts_[byte]; }
  /// The byte of a code point, or -1.
  [[nodiscard]] int byte(char32_t code_point) const noexcept {
    return code_point < bytes_.size() ? bytes_[code_point] : -1;
  }

 private:
  static constexpr std::size_t kCodePoints = 0x100 + 68;
  std::array<std::string, 256> texts_;
  std::array<std::int16_t, kCodePoints> bytes_ = [] {
    std::array<std::int16_t, kCodePoints> none{};
    none.fill(-1);
    return none;
  }();
};

std::string pre_name(const TokenizerSource& source) {
  if (source.model == "gemma4") return "gemma4";
  const std::string_view stored = source.metadata.get_string("tokenizer.ggml.pre").value_or("");
  return std::string(stored.empty() ? "default" : stored);
}

VocabularyDefaults bpe_defaults(const TokenizerSource& source, const PreTokenizerTraits& traits) {
  VocabularyDefaults defaults;
  const bool gemma = source.model == "gemma4";
  if (!gemma) defaults.bos = defaults.eos = 11;
  defaults.add_bos = traits.add_bos || gemma;
  defaults.force_add_bos = gemma || traits.whole_newlines;
  defaults.add_separator = traits.add_separator;
  return defaults;
}

class BpeTokenizer final : public TokenizerBase {
 public:
  BpeTokenizer(const TokenizerSource& source, PreTokenizer pre);

 private:
  void encode_raw(std::string_view text, const RawContext& context,
                  std::vector<TokenId>& out) const override;
  void append_text(TokenId id, std::string& out) const override;

  void read_kmers();
  void encode_words(std::string_view text, const RawContext& context,
                    std::vector<TokenId>& out) const;
  void encode_word(std::string_view word, const RawContext& context,
                   std::vector<TokenId>& out) const;
  void encode_dna(std::string_view bases, std::vector<TokenId>& out) const;
  [[nodiscard]] bool emit_whole(std::string_view stored, const RawContext& context,
                                std::vector<TokenId>& out) const;
  void emit(const WordSymbol& symbol, std::string_view word, const RawContext& context,
            std::vector<TokenId>& out) const;
  void append_from_alphabet(std::string_view text, std::string& out) const;

  PreTokenizer pre_;
  PreTokenizerTraits traits_;
  MergeTable merges_;
  ByteAlphabet alphabet_;
  std::array<Symbol, 256> byte_symbols_{};
  bool words_only_ = false;  // white space is dropped
  bool lower_case_ = false;
  TokenId dna_begin_ = -1;
  TokenId dna_end_ = -1;
  TokenId dna_unknown_ = -1;
};

MergeTable read_merges(const TokenizerSource& source, const Vocabulary& vocabulary) {
  const auto merges = source.metadata.get_strings("tokenizer.ggml.merges");
  if (merges) return MergeTable(vocabulary, *merges);
  if (pre_name(source) == "kimi-k2") return MergeTable(vocabulary);
  throw Error("tokenizer.ggml.merges is missing or not an array of strings",
              "the file was converted wrongly; get another one");
}

BpeTokenizer::BpeTokenizer(const TokenizerSource& source, PreTokenizer pre)
    : TokenizerBase(Vocabulary(source.metadata, bpe_defaults(source, pre.traits()))),
      pre_(std::move(pre)),
      traits_(pre_.traits()),
      merges_(read_merges(source, vocabulary())) {
  clean_spaces_ = traits_.clean_spaces;
  words_only_ = source.model == "whitespace";
  if (words_only_) {
    traits_.raw_utf8 = true;
    lower_case_ = source.metadata.get_bool("tokenizer.ggml.normalizer.lowercase").value_or(false);
  }
  for (unsigned byte = 0; byte < 256; ++byte) {
    byte_symbols_[byte] =
        merges_.intern(vocabulary(), alphabet_.text(static_cast<unsigned char>(byte)));
  }
  if (source.model == "hybriddna") read_kmers();
  if (source.model != "gemma4" &&
      source.metadata.get_string("tokenizer.ggml.pre").value_or("").empty()) {
    warnings_.emplace_back(
        "the file does not name its pre-tokenizer (tokenizer.ggml.pre); the default one is used "
        "and "
        "the tokens may be wrong");
  }
}

void BpeTokenizer::read_kmers() {
  const auto begin = vocabulary().find(kDnaBegin);
  const auto end = vocabulary().find(kDnaEnd);
  const auto unknown = vocabulary().find("<oov>");
  if (!begin || !end || !unknown) return;  // plain BPE then
  dna_begin_ = *begin;
  dna_end_ = *end;
  dna_unknown_ = *unknown;
}

void BpeTokenizer::encode_raw(std::string_view text, const RawContext& context,
                              std::vector<TokenId>& out) const {
  // Data must not open a DNA section: its tokens are control tokens.
  while (dna_begin_ >= 0 && !context.guarded && !text.empty()) {
    const std::size_t begin = text.find(kDnaBegin);
    if (begin == text.npos) break;
    encode_words(text.substr(0, begin), context, out);
    text.remove_prefix(begin + kDnaBegin.size());
    const std::size_t end = text.find(kDnaEnd);
    out.push_back(dna_begin_);
    encode_dna(text.substr(0, end), out);
    if (end == text.npos) return;
    out.push_back(dna_end_);
    text.remove_prefix(end + kDnaEnd.size());
  }
  encode_words(text, context, out);
}

void BpeTokenizer::encode_dna(std::string_view bases, std::vector<TokenId>& out) const {
  for (std::size_t at = 0; at < bases.size(); at += kKmerSize) {
    std::string kmer(bases.substr(at, kKmerSize));
    for (char& base : kmer) base = base >= 'a' && base <= 'z' ? static_cast<char>(base - 32) : base;
    kmer.resize(kKmerSize, 'A');
    out.push_back(vocabulary().find(kmer.append(kKmerMark)).value_or(dna_unknown_));
  }
}

void BpeTokenizer::encode_words(std::string_view text, const RawContext& context,
                                std::vector<TokenId>& out) const {
  if (text.empty()) return;
  std::u32string code_points =
      traits_.escape_spaces ? decode_lenient(escape_spaces(text)) : decode_lenient(text);
  if (traits_.normalize_nfc) code_points = to_nfc(code_points);
  if (lower_case_) {
    for (char32_t& code_point : code_points) code_point = to_lower(code_point);
  }
  std::string word;
  std::size_t at = 0;
  for (const std::uint32_t length : pre_.split(code_points)) {
    word.clear();
    for (std::size_t i = at; i < at + length; ++i) append_lenient(word, code_points[i]);
    if (!words_only_ || !is_white_space(code_points[at])) encode_word(word, context, out);
    at += length;
  }
}

bool BpeTokenizer::emit_whole(std::string_view stored, const RawContext& context,
                              std::vector<TokenId>& out) const {
  const auto id = vocabulary().find(stored);
  if (!id || forbidden(*id, context)) return false;
  out.push_back(*id);
  return true;
}

void BpeTokenizer::encode_word(std::string_view word, const RawContext& context,
                               std::vector<TokenId>& out) const {
  std::vector<WordSymbol> symbols;
  std::string mapped;
  std::string_view bytes = word;
  if (traits_.raw_utf8) {
    if (traits_.whole_newlines && word.front() == '\n' && emit_whole(word, context, out)) return;
    for (std::size_t at = 0; at < word.size();) {
      const std::size_t size =
          std::min(utf8_length_by_lead(static_cast<unsigned char>(word[at])), word.size() - at);
      symbols.push_back({merges_.find(vocabulary(), word.substr(at, size)),
                         static_cast<std::uint32_t>(at), static_cast<std::uint32_t>(size)});
      at += size;
    }
  } else {
    symbols.reserve(word.size());
    for (const char c : word) {
      const auto byte = static_cast<unsigned char>(c);
      const std::string& text = alphabet_.text(byte);
      symbols.push_back({byte_symbols_[byte], static_cast<std::uint32_t>(mapped.size()),
                         static_cast<std::uint32_t>(text.size())});
      mapped += text;
    }
    bytes = mapped;
  }
  if (traits_.ignore_merges && emit_whole(bytes, context, out)) return;
  merges_.merge(vocabulary(), bytes, context.guarded, symbols);
  for (const WordSymbol& symbol : symbols) emit(symbol, bytes, context, out);
}

/// A symbol that is no token goes byte by byte; a byte without a token is dropped, as every runtime
/// does.
void BpeTokenizer::emit(const WordSymbol& symbol, std::string_view word, const RawContext& context,
                        std::vector<TokenId>& out) const {
  if (symbol.symbol < size() && !forbidden(static_cast<TokenId>(symbol.symbol), context)) {
    out.push_back(static_cast<TokenId>(symbol.symbol));
    return;
  }
  for (const char byte : word.substr(symbol.start, symbol.size)) {
    TokenId id = vocabulary().byte_token(static_cast<unsigned char>(byte));
    if (!traits_.raw_utf8) id = vocabulary().find(std::string_view(&byte, 1)).value_or(-1);
    if (id >= 0 && !forbidden(id, context)) out.push_back(id);
  }
}

void BpeTokenizer::append_from_alphabet(std::string_view text, std::string& out) const {
  for (const char32_t code_point : decode_lenient(text)) {
    const int byte = alphabet_.byte(code_point);
    if (byte >= 0) {
      out += static_cast<char>(byte);
      continue;
    }
    std::string utf8;
    append_lenient(utf8, code_point);
    out += "[UNK_BYTE_0x";
    for (const char c : utf8)
      fmt::format_to(std::back_inserter(out), "{:02x}", static_cast<unsigned char>(c));
    out.append(text).append("]");
  }
}

void BpeTokenizer::append_text(TokenId id, std::string& out) const {
  std::string_view text = vocabulary().text(id);
  if (vocabulary().has(id, attribute::kByte)) {
    if (const auto byte = parse_byte_text(text)) out += static_cast<char>(*byte);
    return;
  }
  if (!vocabulary().has(id, attribute::kNormal)) return;
  if (dna_begin_ >= 0 && id > dna_unknown_ && text.ends_with(kKmerMark))
    text.remove_suffix(kKmerMark.size());
  if (traits_.escape_spaces) {
    append_unescaped(text, out);
  } else {
    append_from_alphabet(text, out);
  }
}

}  // namespace

std::unique_ptr<TokenizerBase> make_bpe(const TokenizerSource& source) {
  return std::make_unique<BpeTokenizer>(source, PreTokenizer(pre_name(source)));
}

}  // namespace hearth::text
