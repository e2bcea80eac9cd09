// SentencePiece BPE ("llama"): neighbours merge by the score of the token they form. Facts:
// reference/tokenizers.md, section 4; the algorithm is that of Kudo and Richardson, "SentencePiece"
// (2018), with byte fallback.
#include <algorithm>

#include "text/tokenizer_base.h"
#include "text/unicode.h"

namespace hearth::text {
namespace {

constexpr std::uint32_t kNoSymbol = UINT32_MAX;

/// A stretch of the text that is one token so far; consumed ones have size 0.
struct Symbol {
  std::uint32_t start = 0;
  std::uint32_t size = 0;
  std::uint32_t previous = kNoSymbol;
  std::uint32_t next = kNoSymbol;
  TokenId token = -1;
};

/// A pair that could merge. Stale when the symbols changed since.
struct Candidate {
  float score;
  std::uint32_t left;
  std::uint32_t right;
  std::uint32_t size;
  TokenId token;

  bool operator<(const Candidate& other) const {
    return score != other.score ? score < other.score : left > other.left;
  }
};

VocabularyDefaults spm_defaults() {
  VocabularyDefaults defaults;
  defaults.bos = 1;
  defaults.eos = 2;
  defaults.unknown = 0;
  defaults.add_bos = true;
  defaults.add_space_prefix = true;
  return defaults;
}

class SpmTokenizer final : public TokenizerBase {
 public:
  explicit SpmTokenizer(const gguf::Metadata& metadata)
      : TokenizerBase(Vocabulary(metadata, spm_defaults())) {}

 private:
  void encode_raw(std::string_view text, const RawContext& context,
                  std::vector<TokenId>& out) const override;
  void append_text(TokenId id, std::string& out) const override;
  [[nodiscard]] TokenId find_newline() const override {
    const TokenId id = vocabulary().byte_token('\n');
    return id >= 0 ? id : special().padding;
  }

  void propose(const std::vector<Symbol>& symbols, std::string_view text, std::uint32_t left,
               const RawContext& context, std::vector<Candidate>& heap) const;
  void emit(const Symbol& symbol, std::string_view text, const RawContext& context,
            std::vector<TokenId>& out) const;
};

void SpmTokenizer::propose(const std::vector<Symbol>& symbols, std::string_view text,
                           std::uint32_t left, const RawContext& context,
                           std::vector<Candidate>& heap) const {
  if (left == kNoSymbol || symbols[left].next == kNoSymbol) return;
  const std::uint32_t right = symbols[left].next;
  const std::uint32_t size = symbols[left].size + symbols[right].size;
  if (size > vocabulary().longest_text()) return;
  const auto id = vocabulary().find(text.substr(symbols[left].start, size));
  if (!id || forbidden(*id, context)) return;
  heap.push_back({vocabulary().score(*id), left, right, size, *id});
}

void SpmTokenizer::emit(const Symbol& symbol, std::string_view text, const RawContext& context,
                        std::vector<TokenId>& out) const {
  const std::string_view own = text.substr(symbol.start, symbol.size);
  const TokenId id = symbol.token >= 0 ? symbol.token : vocabulary().find(own).value_or(-1);
  if (id >= 0 && !forbidden(id, context)) {
    out.push_back(id);
    return;
  }
  for (const char byte : own) {
    if (!append_byte_token(static_cast<unsigned char>(byte), out) && special().unknown >= 0) {
      out.push_back(special().unknown);
    }
  }
}

void SpmTokenizer::encode_raw(std::string_view raw, const RawContext& context,
                              std::vector<TokenId>& out) const {
  const std::string text =
      escape_spaces(raw, vocabulary().add_space_prefix() && context.after_special);
  std::vector<Symbol> symbols;
  symbols.reserve(text.size());
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t size =
        std::min(utf8_length_by_lead(static_cast<unsigned char>(text[at])), text.size() - at);
    const auto index = static_cast<std::uint32_t>(symbols.size());
    symbols.push_back({static_cast<std::uint32_t>(at), static_cast<std::uint32_t>(size),
                       index == 0 ? kNoSymbol : index - 1, index + 1, -1});
    at += size;
  }
  if (symbols.empty()) return;
  symbols.back().next = kNoSymbol;

  std::vector<Candidate> heap;
  heap.reserve(symbols.size());
  for (std::uint32_t i = 0; i < symbols.size(); ++i) propose(symbols, text, i, context, heap);
  std::make_heap(heap.begin(), heap.end());
  const auto push_new = [&](std::uint32_t left) {
    const std::size_t before = heap.size();
    propose(symbols, text, left, context, heap);
    if (heap.size() > before) std::push_heap(heap.begin(), heap.end());
  };
  while (!heap.empty()) {
    std::pop_heap(heap.begin(), heap.end());
    const Candidate best = heap.back();
    heap.pop_back();
    Symbol& left = symbols[best.left];
    Symbol& right = symbols[best.right];
    if (left.size == 0 || right.size == 0 || left.size + right.size != best.size) continue;
    left.size = best.size;
    left.token = best.token;
    right.size = 0;
    left.next = right.next;
    if (right.next != kNoSymbol) symbols[right.next].previous = best.left;
    push_new(left.previous);
    push_new(best.left);
  }
  for (std::uint32_t i = 0; i != kNoSymbol; i = symbols[i].next)
    emit(symbols[i], text, context, out);
}

void SpmTokenizer::append_text(TokenId id, std::string& out) const {
  if (vocabulary().has(id, attribute::kByte)) {
    if (const auto byte = parse_byte_text(vocabulary().text(id))) out += static_cast<char>(*byte);
  } else if (vocabulary().has(id, attribute::kNormal)) {
    append_unescaped(vocabulary().text(id), out);
  }
}

}  // namespace

std::unique_ptr<TokenizerBase> make_spm(const TokenizerSource& source) {
  return std::make_unique<SpmTokenizer>(source.metadata);
}

}  // namespace hearth::text
