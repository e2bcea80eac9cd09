// The vocabulary of a GGUF file: token texts, attributes, scores, the tokens with a role, and the
// rules by which runtimes correct what files say. Facts: reference/tokenizers.md, sections 1, 2
// and 13.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "gguf/file.h"
#include "text/text_index.h"
#include "text/tokenizer.h"

namespace hearth::text {

/// What a tokenizer kind assumes where metadata says nothing.
struct VocabularyDefaults {
  TokenId bos = -1, eos = -1, unknown = -1, separator = -1, padding = -1, mask = -1;
  bool add_bos = false, add_eos = false, add_separator = false;
  bool add_space_prefix = false;
  bool force_add_bos = false;  // whatever the file says
};

class Vocabulary {
 public:
  /// A vocabulary of `size` tokens without texts.
  explicit Vocabulary(std::size_t size);
  /// Reads the tokenizer.ggml.* keys. Throws Error when they are missing or contradict each other.
  Vocabulary(const gguf::Metadata& metadata, const VocabularyDefaults& defaults);

  [[nodiscard]] std::size_t size() const noexcept { return attributes_.size(); }
  [[nodiscard]] std::string_view text(TokenId id) const noexcept {
    return texts_[static_cast<std::size_t>(id)];
  }
  [[nodiscard]] std::optional<TokenId> find(std::string_view text) const noexcept;
  [[nodiscard]] const TextIndex& texts() const noexcept { return texts_; }
  [[nodiscard]] std::uint16_t attributes(TokenId id) const noexcept {
    return attributes_[static_cast<std::size_t>(id)];
  }
  [[nodiscard]] bool has(TokenId id, std::uint16_t mask) const noexcept {
    return (attributes(id) & mask) != 0;
  }
  [[nodiscard]] float score(TokenId id) const noexcept {
    return scores_.empty() ? 0.0F : scores_[static_cast<std::size_t>(id)];
  }
  /// Tokens that data never becomes: control and unknown tokens, and user-defined ones that are
  /// markup of the conversation ("<think>", "<tool_call>") and not of documents ("<td>").
  [[nodiscard]] bool reserved(TokenId id) const noexcept {
    return reserved_[static_cast<std::size_t>(id)];
  }
  /// Tokens that texts become only when special tokens are parsed: what the file calls control or
  /// unknown, and what a correction made so.
  [[nodiscard]] bool parsed_only(TokenId id) const noexcept {
    return parsed_only_[static_cast<std::size_t>(id)];
  }
  [[nodiscard]] bool ends_generation(TokenId id) const noexcept;
  [[nodiscard]] std::size_t longest_text() const noexcept { return longest_text_; }
  /// The id of the BYTE token of each byte ("<0x0A>"), or -1.
  [[nodiscard]] TokenId byte_token(unsigned char byte) const noexcept { return byte_tokens_[byte]; }

  [[nodiscard]] const SpecialTokens& special() const noexcept { return special_; }
  [[nodiscard]] SpecialTokens& special() noexcept { return special_; }
  [[nodiscard]] bool add_space_prefix() const noexcept { return add_space_prefix_; }
  [[nodiscard]] const std::vector<TokenId>& suppressed() const noexcept { return suppressed_; }

 private:
  void read_texts(const gguf::Metadata& metadata);
  void read_attributes(const gguf::Metadata& metadata);
  void read_scores(const gguf::Metadata& metadata);
  void read_special(const gguf::Metadata& metadata, const VocabularyDefaults& defaults);
  void detect_roles(const gguf::Metadata& metadata);
  void collect_end_tokens(const gguf::Metadata& metadata);
  void correct_end_tokens();
  void set_strip_rules(const gguf::Metadata& metadata);
  void index_bytes();
  void mark_reserved();
  void add(std::string_view text, std::uint16_t flags);
  void set(std::string_view text, std::uint16_t flags);
  TokenId first_of(std::span<const std::string_view> texts);

  TextIndex texts_;
  std::vector<std::uint16_t> attributes_;
  std::vector<float> scores_;
  std::vector<bool> reserved_;
  std::vector<bool> parsed_only_;
  std::vector<TokenId> ends_;  // sorted
  std::vector<TokenId> suppressed_;
  std::vector<TokenId> byte_tokens_ = std::vector<TokenId>(256, -1);
  SpecialTokens special_;
  std::size_t longest_text_ = 0;
  bool add_space_prefix_ = false;
};

/// The byte that the text of a BYTE token ("<0x0A>") stands for; nothing for other texts.
[[nodiscard]] std::optional<unsigned char> parse_byte_text(std::string_view text) noexcept;

}  // namespace hearth::text
