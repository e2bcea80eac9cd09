// What a generation may say next: the seam between grammars and whoever samples.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "text/tokenizer.h"

namespace hearth::generate {

/// One generation's place in a grammar (or in anything else that restricts its tokens). Used by
/// one thread at a time.
class TokenConstraint {
 public:
  virtual ~TokenConstraint() = default;

  /// One bit per id: bit id % 64 of word id / 64 is set when the token may come next. Tokens that
  /// end a generation are allowed exactly where the text may end. Never all zero. Valid until the
  /// next call.
  [[nodiscard]] virtual std::span<const std::uint64_t> allowed() = 0;
  /// The token that was chosen. Tokens that end a generation, and control tokens that the
  /// constraint does not know, change nothing.
  virtual void accept(text::TokenId token) = 0;
  /// Tokens that must come next because no other text can (jump-ahead); empty when there is a
  /// choice. They are not accepted by this.
  [[nodiscard]] virtual std::vector<text::TokenId> forced() { return {}; }
  /// The text may end here.
  [[nodiscard]] virtual bool may_end() const = 0;
};

}  // namespace hearth::generate
