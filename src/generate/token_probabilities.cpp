#include "generate/token_probabilities.h"

#include <algorithm>
#include <cmath>
#include <cstddef>

namespace hearth::generate {
namespace {

/// e^x of less than this is nothing beside 1, even 150 000 times.
constexpr float kNegligible = -40;

}  // namespace

float log_sum_exp(std::span<const float> logits) noexcept {
  float most = kExcluded;
  for (const float logit : logits) most = logit > most ? logit : most;  // false for NaN
  if (!std::isfinite(most)) return most;
  double sum = 0;
  for (const float logit : logits) {
    const float difference = logit - most;
    if (difference > kNegligible) sum += std::exp(difference);
  }
  return most + static_cast<float>(std::log(sum));
}

void likeliest_tokens(std::span<const float> logits, float log_sum, std::size_t count,
                      std::vector<TokenProbability>& top) {
  top.clear();
  if (count == 0) return;
  // Ids come in ascending order, so an equal logit that comes later is never better. `top` stays
  // sorted: few tokens of a vocabulary are among the likeliest so far.
  float worst = kExcluded;
  for (std::size_t id = 0; id < logits.size(); ++id) {
    const float logit = logits[id];
    if (!(logit > worst)) continue;
    auto place = top.end();
    while (place != top.begin() && (place - 1)->log_probability < logit) --place;
    top.insert(place, {static_cast<text::TokenId>(id), logit});
    if (top.size() > count) top.pop_back();
    if (top.size() == count) worst = top.back().log_probability;
  }
  for (TokenProbability& token : top) token.log_probability -= log_sum;
}

}  // namespace hearth::generate
