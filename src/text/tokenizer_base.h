// What all tokenizer kinds share: special tokens, BOS and EOS, provenance, decoding. Private to
// text/.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "text/special_splitter.h"
#include "text/tokenizer.h"
#include "text/vocabulary.h"

namespace hearth::text {

/// How SentencePiece vocabularies write a space: "▁".
inline constexpr std::string_view kEscapedSpace = "\u2581";

class TokenizerBase : public Tokenizer {
 public:
  [[nodiscard]] std::vector<TokenId> encode(std::string_view text,
                                            const EncodeOptions& options) const final;
  [[nodiscard]] std::vector<TokenId> encode(const Prompt& prompt, bool add_special) const final;
  [[nodiscard]] std::string decode(std::span<const TokenId> ids,
                                   const DecodeOptions& options) const final;
  [[nodiscard]] std::string piece(TokenId id, bool special) const final;
  [[nodiscard]] std::string_view stored_text(TokenId id) const final;
  [[nodiscard]] TokenType type(TokenId id) const final;
  [[nodiscard]] std::uint16_t attributes(TokenId id) const final;
  [[nodiscard]] std::optional<TokenId> find(std::string_view stored_text) const final;
  [[nodiscard]] std::size_t size() const noexcept final { return vocabulary_.size(); }
  [[nodiscard]] const SpecialTokens& special() const noexcept final {
    return vocabulary_.special();
  }
  [[nodiscard]] bool ends_generation(TokenId id) const noexcept final;
  [[nodiscard]] bool reserved(TokenId id) const final;
  [[nodiscard]] std::span<const TokenId> suppressed() const noexcept final;
  [[nodiscard]] std::span<const std::string> warnings() const noexcept final { return warnings_; }

  /// Fills in what needs a working encoder. Called once, after construction.
  void finish();

 protected:
  /// How a fragment of ordinary text is encoded.
  struct RawContext {
    bool after_special = true;  // it is the first fragment, or a special token precedes it
    bool guarded = false;       // reserved tokens must not result (Vocabulary::reserved)
  };

  explicit TokenizerBase(Vocabulary vocabulary);

  /// Appends the ids of ordinary text.
  virtual void encode_raw(std::string_view text, const RawContext& context,
                          std::vector<TokenId>& out) const = 0;
  /// Appends the bytes of a token that is none of control, unknown and user-defined.
  virtual void append_text(TokenId id, std::string& out) const = 0;
  /// The id of a new line, or -1.
  [[nodiscard]] virtual TokenId find_newline() const;

  [[nodiscard]] const Vocabulary& vocabulary() const noexcept { return vocabulary_; }
  [[nodiscard]] bool forbidden(TokenId id, const RawContext& context) const noexcept {
    return context.guarded && vocabulary_.reserved(id);
  }
  /// Appends the token of one byte ("<0x0A>", else the byte's own text); false when there is none.
  bool append_byte_token(unsigned char byte, std::vector<TokenId>& out) const;

  TokenId begin_ = -1;  // what add_special puts in front, and at the end
  TokenId end_ = -1;
  bool clean_spaces_ = false;
  std::vector<std::string> warnings_;

 private:
  [[nodiscard]] std::vector<TokenId> encode_fragments(const std::vector<Fragment>& fragments,
                                                      bool guarded, bool begin, bool end) const;
  void append_piece(TokenId id, bool special, std::string& out) const;
  void check(TokenId id) const;

  Vocabulary vocabulary_;
  SpecialSplitter splitter_;
};

/// What a kind's factory needs.
struct TokenizerSource {
  const gguf::Metadata& metadata;
  std::string_view model;  // tokenizer.ggml.model
};

[[nodiscard]] std::unique_ptr<TokenizerBase> make_spm(const TokenizerSource& source);
[[nodiscard]] std::unique_ptr<TokenizerBase> make_bpe(const TokenizerSource& source);
[[nodiscard]] std::unique_ptr<TokenizerBase> make_wordpiece(const TokenizerSource& source);
[[nodiscard]] std::unique_ptr<TokenizerBase> make_unigram(const TokenizerSource& source);
[[nodiscard]] std::unique_ptr<TokenizerBase> make_rwkv(const TokenizerSource& source);
[[nodiscard]] std::unique_ptr<TokenizerBase> make_plamo2(const TokenizerSource& source);
[[nodiscard]] std::unique_ptr<TokenizerBase> make_no_vocabulary(const TokenizerSource& source);

/// Appends `text` with every U+2581 as a space.
void append_unescaped(std::string_view text, std::string& out);
/// `text` with every space as U+2581.
[[nodiscard]] std::string escape_spaces(std::string_view text, bool add_prefix = false);

}  // namespace hearth::text
