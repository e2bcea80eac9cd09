// Tokenizers: text to token ids and back, for every kind GGUF files carry (tokenizer.ggml.model):
// SentencePiece BPE
// ("llama"), byte-level BPE ("gpt2"), WordPiece ("bert"), Unigram ("t5"), trie ("rwkv") and the
// small ones. Facts: reference/tokenizers.md.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "gguf/file.h"
#include "text/prompt.h"

namespace hearth::text {

using TokenId = std::int32_t;

/// tokenizer.ggml.token_type.
enum class TokenType : std::uint8_t {
  kNormal = 1,
  kUnknown = 2,
  kControl = 3,
  kUserDefined = 4,
  kUnused = 5,
  kByte = 6,
};

/// Flags of a token after the corrections that are made at load (reference/tokenizers.md, section
/// 2); several may be set.
namespace attribute {
inline constexpr std::uint16_t kUnknown = 1, kUnused = 2, kNormal = 4, kControl = 8,
                               kUserDefined = 16, kByte = 32, kLeftStrip = 128, kRightStrip = 256;
inline constexpr std::uint16_t kSpecial =
    kUnknown | kControl | kUserDefined;  // split out before the algorithm runs
}  // namespace attribute

struct EncodeOptions {
  /// Add BOS/EOS (CLS/SEP…) as the model's metadata says.
  bool add_special = false;
  /// Turn the text of control tokens ("<|im_end|>") into their ids. User-defined tokens are always
  /// matched.
  bool parse_special = false;
};

struct DecodeOptions {
  /// Render control tokens as their text; otherwise they decode to nothing.
  bool special = false;
  /// Strip what the tokenizer adds at the start of a text (the first space of SentencePiece), so
  /// that decode(encode(text)) == text. Off when the ids continue an earlier text.
  bool at_start = true;
  /// Apply the clean-up that some vocabularies ask for after a whole text was decoded (spaces
  /// before punctuation go). The text is then no longer exactly what was encoded, and streamed text
  /// differs.
  bool clean_spaces = false;
};

/// Ids of the tokens with a role; -1 where the vocabulary has none.
struct SpecialTokens {
  TokenId bos = -1, eos = -1, eot = -1, eom = -1, unknown = -1, separator = -1, padding = -1,
          cls = -1, mask = -1, newline = -1, fim_prefix = -1, fim_suffix = -1, fim_middle = -1,
          fim_padding = -1, fim_repository = -1, fim_separator = -1;
  bool add_bos = false, add_eos = false, add_separator = false;
};

/// An immutable tokenizer; thread-safe. It owns copies of everything it needs.
class Tokenizer {
 public:
  virtual ~Tokenizer() = default;

  /// Builds the tokenizer that `metadata` describes. Throws Error when keys are missing or
  /// contradict each other, or the kind is unknown (naming it and the known ones).
  [[nodiscard]] static std::unique_ptr<Tokenizer> create(const gguf::Metadata& metadata);

  /// Ids of `text`, which may contain any bytes (invalid UTF-8 is handled, never rejected).
  [[nodiscard]] virtual std::vector<TokenId> encode(std::string_view text,
                                                    const EncodeOptions& options) const = 0;

  /// Ids of a prompt: template spans may become control tokens, data spans never do. BOS is added
  /// once: not when the template already wrote it. Tokenization does not cross a control token, and
  /// is otherwise that of the whole text.
  [[nodiscard]] virtual std::vector<TokenId> encode(const Prompt& prompt,
                                                    bool add_special) const = 0;

  /// The exact bytes `ids` stand for. Ids outside the vocabulary throw Error.
  [[nodiscard]] virtual std::string decode(std::span<const TokenId> ids,
                                           const DecodeOptions& options) const = 0;

  /// The bytes of one token inside a text (no stripping); control tokens as their text when
  /// `special`.
  [[nodiscard]] virtual std::string piece(TokenId id, bool special) const = 0;

  /// The vocabulary's own text of a token, as stored in the file.
  [[nodiscard]] virtual std::string_view stored_text(TokenId id) const = 0;
  /// The dominant type; `attributes` has all flags (namespace attribute).
  [[nodiscard]] virtual TokenType type(TokenId id) const = 0;
  [[nodiscard]] virtual std::uint16_t attributes(TokenId id) const = 0;
  [[nodiscard]] virtual std::optional<TokenId> find(std::string_view stored_text) const = 0;
  [[nodiscard]] virtual std::size_t size() const noexcept = 0;
  [[nodiscard]] virtual const SpecialTokens& special() const noexcept = 0;
  /// Whether generation ends with this token (EOS, EOT, EOM and the known end-of-turn texts).
  [[nodiscard]] virtual bool ends_generation(TokenId id) const noexcept = 0;
  /// Tokens that data in a Prompt never becomes: control tokens, and user-defined ones that are
  /// markup of the conversation ("<think>", "<tool_call>"). Other user-defined tokens are text:
  /// runs of spaces, "<td>".
  [[nodiscard]] virtual bool reserved(TokenId id) const = 0;
  /// Tokens that must not be sampled (tokenizer.ggml.suppress_tokens).
  [[nodiscard]] virtual std::span<const TokenId> suppressed() const noexcept = 0;
  /// What is doubtful about the file's tokenizer; empty for a good one. One sentence each.
  [[nodiscard]] virtual std::span<const std::string> warnings() const noexcept = 0;
};

/// Turns a stream of ids into text without ever splitting a UTF-8 character: bytes of an unfinished
/// character are held back until it is complete or `finish()` is called.
class StreamDecoder {
 public:
  StreamDecoder(const Tokenizer& tokenizer, const DecodeOptions& options);
  /// Text that became complete with this token. Never ends inside a well-formed UTF-8 sequence.
  [[nodiscard]] std::string push(TokenId id);
  /// What was held back, as it is.
  [[nodiscard]] std::string finish();

 private:
  const Tokenizer* tokenizer_;
  DecodeOptions options_;
  bool started_ = false;
  std::string held_;
};

}  // namespace hearth::text
