// Log-probabilities of tokens under the model's own distribution.
#pragma once

#include <limits>
#include <span>
#include <vector>

#include "text/tokenizer.h"

namespace hearth::generate {

/// The logit of a token that cannot come: none is lower.
inline constexpr float kExcluded = -std::numeric_limits<float>::infinity();

/// Log-probability of a token under the model's own distribution (before penalties, temperature
/// and truncation).
struct TokenProbability {
  text::TokenId id = 0;
  float log_probability = 0;
};

/// log(sum of exp(logits)): a token's log-probability is its logit minus this. NaN counts as
/// -infinity; -infinity when no logit is above that.
[[nodiscard]] float log_sum_exp(std::span<const float> logits) noexcept;

/// The `count` likeliest tokens with their log-probabilities, likeliest first, equals by id. `top`
/// is overwritten; it does not allocate when it had room for `count` + 1 before.
void likeliest_tokens(std::span<const float> logits, float log_sum, std::size_t count,
                      std::vector<TokenProbability>& top);

}  // namespace hearth::generate
