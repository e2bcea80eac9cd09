// A vocabulary as tries over bytes, laid out for walking: depth first, every node with the place
// where the walk goes on when the node is a dead end.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "text/tokenizer.h"

namespace hearth::generate::grammar {

/// A plain token is "easy" when it is well-formed UTF-8 of at most this many code points, all of
/// which may stand in a JSON string as they are.
inline constexpr int kEasyLength = 16;

class TokenTrie {
 public:
  static constexpr std::uint32_t kNoToken = UINT32_MAX;

  struct Node {
    std::uint32_t skip = 0;          ///< the next node that is not below this one
    std::uint32_t token = kNoToken;  ///< the token that ends here
    std::uint16_t depth = 0;         ///< 1: the first byte
    std::uint8_t byte = 0;
  };
  using Walk = std::vector<Node>;

  explicit TokenTrie(const text::Tokenizer& tokenizer);

  /// Ordinary tokens, by their bytes.
  [[nodiscard]] const Walk& plain() const { return plain_; }
  /// The same without the easy ones.
  [[nodiscard]] const Walk& hard() const { return hard_; }
  /// Tokens that are markup of the conversation, by their text.
  [[nodiscard]] const Walk& markup() const { return markup_; }
  /// Bits of the easy tokens.
  [[nodiscard]] std::span<const std::uint64_t> easy() const { return easy_; }
  /// Of tokens with the same bytes only one is in a walk; this is the next one, or kNoToken.
  [[nodiscard]] std::uint32_t same(std::uint32_t token) const { return same_[token]; }

  [[nodiscard]] std::span<const text::TokenId> ends() const { return ends_; }
  [[nodiscard]] std::size_t words() const { return (bytes_begin_.size() - 1 + 63) / 64; }
  [[nodiscard]] std::size_t tokens() const { return bytes_begin_.size() - 1; }
  [[nodiscard]] std::size_t max_depth() const { return max_depth_; }
  /// The bytes of a token; empty when it cannot be generated under a grammar.
  [[nodiscard]] std::string_view bytes(text::TokenId token) const;
  [[nodiscard]] bool is_markup(text::TokenId token) const {
    return markup_flags_[static_cast<std::size_t>(token)];
  }
  [[nodiscard]] const text::Tokenizer& tokenizer() const { return *tokenizer_; }

 private:
  void build(std::vector<std::uint32_t> tokens, Walk& walk);
  [[nodiscard]] bool is_easy(std::string_view bytes) const;

  const text::Tokenizer* tokenizer_;
  std::string bytes_;
  std::vector<std::uint32_t> bytes_begin_;
  std::vector<bool> markup_flags_;
  std::vector<std::uint32_t> same_;
  std::vector<std::uint64_t> easy_;
  std::vector<text::TokenId> ends_;
  std::size_t max_depth_ = 0;
  Walk plain_, hard_, markup_;
};

}  // namespace hearth::generate::grammar
