#include "generate/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "generate/token_probabilities.h"
#include "support/error.h"

namespace hearth::generate {
namespace {

/// Up to this k a bounded heap over the logits beats selecting among all candidates.
constexpr std::int32_t kHeapLimit = 512;

/// Resolution of keep_smallest(), in buckets per nat of logit; beyond the last one (e^-32) little
/// is left to sort.
constexpr std::size_t kBuckets = 4096;
constexpr double kBucketsPerUnit = 128;
/// exp() of less than this is nothing beside 1.
constexpr float kNegligibleLogit = -60;
/// Infinite logits are taken for this one, so that differences of logits are numbers.
constexpr float kHighestLogit = std::numeric_limits<float>::max();

/// Candidates' logits stay finite, so that they can be subtracted and sorted.
float finite(float logit) noexcept { return std::clamp(logit, -kHighestLogit, kHighestLogit); }

/// Most logits are no candidates: this many are looked at together, without branches.
constexpr std::size_t kLooksAtOnce = 64;
bool any_above(const float* logits, float limit) noexcept {
  std::int32_t above = 0;
  for (std::size_t i = 0; i < kLooksAtOnce; ++i) above |= logits[i] > limit ? -1 : 0;
  return above != 0;
}

bool likelier(const Sampler::Candidate& a, const Sampler::Candidate& b) noexcept {
  return a.logit != b.logit ? a.logit > b.logit : a.id < b.id;
}

}  // namespace

std::vector<text::TokenId> dry_breaker_tokens(const text::Tokenizer& tokenizer,
                                              std::span<const std::string> breakers) {
  std::vector<text::TokenId> result;
  std::vector<bool> found(breakers.size(), false);
  for (std::size_t id = 0; id < tokenizer.size(); ++id) {
    const std::string piece = tokenizer.piece(static_cast<text::TokenId>(id), false);
    bool breaks = false;
    for (std::size_t index = 0; index < breakers.size(); ++index) {
      if (breakers[index].empty() || piece.find(breakers[index]) == std::string::npos) continue;
      found[index] = true;
      breaks = true;
    }
    if (breaks) result.push_back(static_cast<text::TokenId>(id));
  }
  for (std::size_t index = 0; index < breakers.size(); ++index) {
    if (found[index]) continue;
    const std::vector<text::TokenId> ids = tokenizer.encode(breakers[index], text::EncodeOptions{});
    if (!ids.empty()) result.push_back(ids.back());
  }
  return result;
}

Sampler::Sampler(const SamplerSettings& settings, SamplerContext context)
    : settings_(settings),
      context_(std::move(context)),
      seed_(settings.seed.has_value() ? *settings.seed : random_seed()),
      random_(seed_),
      mirostat_mu_(2.0 * settings.mirostat_tau) {
  validate(settings_);
  const auto vocabulary = static_cast<std::size_t>(context_.vocabulary);
  const auto context_length =
      static_cast<std::size_t>(std::max<std::int64_t>(context_.context, 0)) + 1;
  history_.reserve(context_length);
  counts_.assign(vocabulary, 0);
  logits_.resize(vocabulary);
  storage_.resize(vocabulary);
  scratch_.resize(vocabulary);
  buckets_.resize(kBuckets);
  if (settings_.dry_multiplier > 0) {
    breaks_.assign(vocabulary, 0);
    for (const text::TokenId id : context_.dry_breakers) {
      // Tokenizers may know more tokens than the model has logits for.
      if (id >= 0 && id < context_.vocabulary) breaks_[static_cast<std::size_t>(id)] = 1;
    }
    match_lengths_.reserve(context_length);
    repetition_.assign(vocabulary, 0);
    repeated_.reserve(std::min(context_length, vocabulary));
  }
}

void Sampler::accept(text::TokenId token) {
  if (token < 0 || token >= context_.vocabulary) return;
  history_.push_back(token);
  if (settings_.repeat_last_n == 0) return;
  ++counts_[static_cast<std::size_t>(token)];
  const auto window = static_cast<std::size_t>(settings_.repeat_last_n);
  if (settings_.repeat_last_n > 0 && history_.size() > window) {
    --counts_[static_cast<std::size_t>(history_[history_.size() - 1 - window])];
  }
}

text::TokenId Sampler::sample(std::span<const float> logits,
                              std::span<const std::uint64_t> allowed) {
  if (logits.size() != logits_.size()) {
    throw Error("the model's logits do not have the size of its vocabulary");
  }
  std::copy(logits.begin(), logits.end(), logits_.begin());
  collected_ = false;
  sorted_ = 0;
  apply_bias();
  if (!allowed.empty()) ban_all_but(allowed);
  if (settings_.temperature == 0) {
    for (const SamplerStep step : settings_.order) {
      if (step == SamplerStep::kPenalties || step == SamplerStep::kDry) apply(step);
    }
    return greedy();
  }
  for (const SamplerStep step : settings_.order) {
    const bool replaced = step != SamplerStep::kPenalties && step != SamplerStep::kDry &&
                          step != SamplerStep::kTemperature;
    if (settings_.mirostat == 2 && replaced) continue;
    apply(step);
  }
  return settings_.mirostat == 2 ? draw_mirostat() : draw();
}

void Sampler::apply(SamplerStep step) {
  switch (step) {
    case SamplerStep::kPenalties:
      return apply_penalties();
    case SamplerStep::kDry:
      return apply_dry();
    case SamplerStep::kTopK:
      return apply_top_k();
    case SamplerStep::kTypical:
      return apply_typical();
    case SamplerStep::kTopP:
      return apply_top_p();
    case SamplerStep::kMinP:
      return apply_min_p();
    case SamplerStep::kXtc:
      return apply_xtc();
    case SamplerStep::kTemperature:
      return apply_temperature();
  }
}

void Sampler::apply_bias() {
  for (const auto& [id, bias] : settings_.logit_bias) {
    if (id < context_.vocabulary) logits_[static_cast<std::size_t>(id)] += bias;
  }
  for (const text::TokenId id : context_.suppressed) {
    if (id >= 0 && id < context_.vocabulary) logits_[static_cast<std::size_t>(id)] = kExcluded;
  }
}

void Sampler::ban_all_but(std::span<const std::uint64_t> allowed) {
  constexpr std::size_t kBits = 64;
  for (std::size_t begin = 0; begin < logits_.size(); begin += kBits) {
    const std::size_t word = begin / kBits;
    const std::uint64_t bits = word < allowed.size() ? allowed[word] : 0;
    if (bits == ~std::uint64_t{0}) continue;
    const std::size_t count = std::min(kBits, logits_.size() - begin);
    for (std::size_t bit = 0; bit < count; ++bit) {
      if ((bits >> bit & 1) == 0) logits_[begin + bit] = kExcluded;
    }
  }
}

/// look_at(id) in ascending order of ids for all logits above `limit`, which it may raise, and for
/// some others.
template <class LookAt>
void Sampler::look_at_those_above(const float& limit, const LookAt& look_at) const {
  std::size_t id = 0;
  for (; id + kLooksAtOnce <= logits_.size(); id += kLooksAtOnce) {
    if (!any_above(&logits_[id], limit)) continue;
    for (std::size_t i = id; i < id + kLooksAtOnce; ++i) look_at(i);
  }
  for (; id < logits_.size(); ++id) look_at(id);
}

text::TokenId Sampler::greedy() const {
  text::TokenId best = -1;
  float most = kExcluded;
  const auto look_at = [&](std::size_t id) {
    if (!(logits_[id] > most)) return;  // NaN is not
    most = logits_[id];
    best = static_cast<text::TokenId>(id);
  };
  look_at_those_above(most, look_at);
  if (best < 0)
    throw Error(
        "no token can be chosen: the model's logits are not finite or every token is banned");
  return best;
}

/// Turns the logits into candidates in the order of ids, without those that cannot be chosen.
void Sampler::collect() {
  if (collected_) return;
  std::size_t count = 0;
  for (std::size_t id = 0; id < logits_.size(); ++id) {
    if (!(logits_[id] > kExcluded)) continue;
    storage_[count++] = {static_cast<text::TokenId>(id), std::min(logits_[id], kHighestLogit), 0};
  }
  candidates_ = std::span(storage_).first(count);
  collected_ = true;
  sorted_ = 0;
}

/// Sets every candidate's weight to exp(logit - highest logit); returns the sum.
double Sampler::normalize() {
  const float most = highest_logit();
  double sum = 0;
  for (Candidate& candidate : candidates_) {
    const float difference = candidate.logit - most;
    candidate.weight = difference > kNegligibleLogit ? std::exp(difference) : 0;
    sum += candidate.weight;
  }
  return sum;
}

/// Makes the first `count` candidates the likeliest ones, in order.
void Sampler::sort_first(std::size_t count) {
  count = std::min(count, candidates_.size());
  if (count <= sorted_) return;
  const auto begin = candidates_.begin() + static_cast<std::ptrdiff_t>(sorted_);
  const auto end = candidates_.begin() + static_cast<std::ptrdiff_t>(count);
  if (end != candidates_.end()) std::nth_element(begin, end, candidates_.end(), likelier);
  std::sort(begin, end, likelier);
  sorted_ = count;
}

void Sampler::change_logit(text::TokenId id, float difference) {
  if (!collected_) {
    logits_[static_cast<std::size_t>(id)] += difference;
    return;
  }
  for (Candidate& candidate : candidates_) {
    if (candidate.id == id) candidate.logit = finite(candidate.logit + difference);
  }
}

void Sampler::apply_penalties() {
  const bool off = settings_.repeat_penalty == 1 && settings_.frequency_penalty == 0 &&
                   settings_.presence_penalty == 0;
  if (off || settings_.repeat_last_n == 0) return;
  const auto penalized = [this](float logit, std::uint32_t count) {
    logit = logit > 0 ? logit / settings_.repeat_penalty : logit * settings_.repeat_penalty;
    return logit - static_cast<float>(count) * settings_.frequency_penalty -
           settings_.presence_penalty;
  };
  if (!collected_) {
    for (std::size_t id = 0; id < logits_.size(); ++id) {
      if (counts_[id] > 0) logits_[id] = penalized(logits_[id], counts_[id]);
    }
    return;
  }
  for (Candidate& candidate : candidates_) {
    const std::uint32_t count = counts_[static_cast<std::size_t>(candidate.id)];
    if (count > 0) candidate.logit = finite(penalized(candidate.logit, count));
  }
  sorted_ = 0;
}

/// For every token that once followed a repetition of the context's end: the length of the longest
/// such repetition. With the history reversed, the repetition that ended before history position p
/// is the longest common prefix of the reversed history and its suffix: the Z-array, computed in
/// linear time (Gusfield 1997, section 1.4).
void Sampler::find_repetitions() {
  const std::size_t window =
      settings_.dry_last_n < 0
          ? history_.size()
          : std::min(history_.size(), static_cast<std::size_t>(settings_.dry_last_n));
  const auto length = static_cast<std::int32_t>(window);
  const auto token = [this](std::int32_t index) {  // of the reversed history
    return static_cast<std::size_t>(
        history_[history_.size() - 1 - static_cast<std::size_t>(index)]);
  };
  std::int32_t limit = 0;  // nothing reaches across the last breaker
  while (limit < length && breaks_[token(limit)] == 0) ++limit;
  if (limit == 0) return;

  match_lengths_.assign(window, 0);
  std::int32_t left = 0, right = 0;  // the match [left, right) that reaches furthest
  for (std::int32_t index = 1; index < length; ++index) {
    std::int32_t& match = match_lengths_[static_cast<std::size_t>(index)];
    if (index < right)
      match = std::min(right - index, match_lengths_[static_cast<std::size_t>(index - left)]);
    while (index + match < length && token(match) == token(index + match)) ++match;
    if (index + match > right) {
      left = index;
      right = index + match;
    }
    const std::int32_t repeated = std::min(match, limit);
    if (repeated < settings_.dry_allowed_length) continue;
    const std::size_t next = token(index - 1);
    if (repetition_[next] == 0) repeated_.push_back(static_cast<text::TokenId>(next));
    repetition_[next] = std::max(repetition_[next], repeated);
  }
}

void Sampler::apply_dry() {
  if (settings_.dry_multiplier <= 0 || settings_.dry_last_n == 0 || history_.empty()) return;
  find_repetitions();
  // Beyond this exponent the penalty would not be a finite float.
  const double most_exponent = settings_.dry_base > 1.000001F
                                   ? 80.0 / std::log(static_cast<double>(settings_.dry_base))
                                   : 1e9;
  for (const text::TokenId id : repeated_) {
    std::int32_t& length = repetition_[static_cast<std::size_t>(id)];
    const double exponent = std::min<double>(length - settings_.dry_allowed_length, most_exponent);
    change_logit(
        id, static_cast<float>(-settings_.dry_multiplier * std::pow(settings_.dry_base, exponent)));
    length = 0;
  }
  if (!repeated_.empty()) sorted_ = 0;
  repeated_.clear();
}

void Sampler::apply_top_k() {
  const std::int32_t count = settings_.top_k;
  if (count <= 0 || count >= context_.vocabulary) return;
  if (collected_ || count > kHeapLimit) {
    collect();
    sort_first(static_cast<std::size_t>(count));
    candidates_ = candidates_.first(std::min(candidates_.size(), static_cast<std::size_t>(count)));
    return;
  }
  // A heap of the best `count` so far with the worst of them on top. Ids come in ascending order,
  // so an equal logit that comes later is never better.
  std::size_t held = 0;
  float worst = kExcluded;
  const auto begin = storage_.begin();
  const auto look_at = [&](std::size_t id) {
    if (!(logits_[id] > worst)) return;
    if (held == static_cast<std::size_t>(count)) {
      std::pop_heap(begin, begin + count, likelier);
      --held;
    }
    storage_[held++] = {static_cast<text::TokenId>(id), std::min(logits_[id], kHighestLogit), 0};
    std::push_heap(begin, begin + static_cast<std::ptrdiff_t>(held), likelier);
    if (held == static_cast<std::size_t>(count)) worst = storage_.front().logit;
  };
  look_at_those_above(worst, look_at);
  std::sort_heap(begin, begin + static_cast<std::ptrdiff_t>(held), likelier);
  candidates_ = std::span(storage_).first(held);
  sorted_ = held;
  collected_ = true;
}

/// Keeps the candidates with the smallest keys whose weights reach `mass` together, at least one;
/// equal keys by id. Their order stays. Only the bucket in which the sum reaches `mass` is sorted,
/// so this is linear in practice, and all sums are made in an order that no library chooses.
template <class Key>
void Sampler::keep_smallest(double mass, const Key& key) {
  const auto bucket_of = [&key](const Candidate& candidate) {
    const double place = key(candidate) * kBucketsPerUnit;
    return place < kBuckets - 1 ? static_cast<std::size_t>(place) : kBuckets - 1;
  };
  std::fill(buckets_.begin(), buckets_.end(), 0.0);
  for (const Candidate& candidate : candidates_) buckets_[bucket_of(candidate)] += candidate.weight;
  double sum = 0;
  std::size_t last = 0;
  while (last < kBuckets && sum + buckets_[last] < mass) sum += buckets_[last++];
  if (last == kBuckets) return;  // all of them are needed

  std::size_t count = 0;
  for (const Candidate& candidate : candidates_) {
    if (bucket_of(candidate) == last) scratch_[count++] = candidate;
  }
  const auto begin = scratch_.begin();
  std::sort(begin, begin + static_cast<std::ptrdiff_t>(count),
            [&key](const Candidate& a, const Candidate& b) {
              const double left = key(a), right = key(b);
              return left != right ? left < right : a.id < b.id;
            });
  std::size_t kept_of_last = 0;
  while (kept_of_last < count) {
    sum += scratch_[kept_of_last++].weight;
    if (sum >= mass) break;
  }
  const Candidate limit = scratch_[kept_of_last - 1];
  const double limit_key = key(limit);
  const bool was_sorted = sorted_ == candidates_.size();
  const auto end =
      std::remove_if(candidates_.begin(), candidates_.end(), [&](const Candidate& candidate) {
        const double value = key(candidate);
        return value > limit_key || (value == limit_key && candidate.id > limit.id);
      });
  candidates_ = candidates_.first(static_cast<std::size_t>(end - candidates_.begin()));
  sorted_ = was_sorted ? candidates_.size() : 0;
}

float Sampler::highest_logit() const {
  if (sorted_ > 0) return candidates_.front().logit;
  float most = kExcluded;
  for (const Candidate& candidate : candidates_) most = std::max(most, candidate.logit);
  return most;
}

void Sampler::apply_top_p() {
  if (settings_.top_p >= 1) return;
  collect();
  if (candidates_.empty()) return;
  // A mass of 0 is reached by the likeliest token, whose weight is 1.
  const double mass = std::max(settings_.top_p * normalize(), 1e-9);
  const double most = highest_logit();
  keep_smallest(mass, [most](const Candidate& candidate) { return most - candidate.logit; });
}

void Sampler::apply_typical() {
  if (settings_.typical >= 1) return;
  collect();
  if (candidates_.empty()) return;
  const double sum = normalize();
  const double most = highest_logit();
  const double log_sum = std::log(sum);
  const auto surprise = [most, log_sum](const Candidate& candidate) {
    return log_sum - (candidate.logit - most);
  };
  double entropy = 0;
  for (const Candidate& candidate : candidates_) {
    if (candidate.weight > 0) entropy += candidate.weight / sum * surprise(candidate);
  }
  keep_smallest(std::max(settings_.typical * sum, 1e-300), [&](const Candidate& candidate) {
    return std::abs(surprise(candidate) - entropy);
  });
}

void Sampler::apply_min_p() {
  if (settings_.min_p <= 0) return;
  collect();
  const float least = highest_logit() + std::log(settings_.min_p);
  const auto kept =
      std::remove_if(candidates_.begin(), candidates_.end(),
                     [least](const Candidate& candidate) { return candidate.logit < least; });
  candidates_ = candidates_.first(static_cast<std::size_t>(kept - candidates_.begin()));
  sorted_ = std::min(sorted_, candidates_.size());
}

void Sampler::apply_xtc() {
  if (settings_.xtc_probability <= 0 || settings_.xtc_threshold > 0.5F) return;
  if (random_.uniform() >= settings_.xtc_probability) return;
  collect();
  const double least = settings_.xtc_threshold * normalize();
  const Candidate* last = nullptr;  // the least likely of the top choices
  std::size_t top = 0;
  for (const Candidate& candidate : candidates_) {
    if (candidate.weight < least) continue;
    ++top;
    if (last == nullptr || likelier(*last, candidate)) last = &candidate;
  }
  if (top < 2) return;
  const text::TokenId kept_id = last->id;
  const auto kept =
      std::remove_if(candidates_.begin(), candidates_.end(), [&](const Candidate& candidate) {
        return candidate.weight >= least && candidate.id != kept_id;
      });
  candidates_ = candidates_.first(static_cast<std::size_t>(kept - candidates_.begin()));
  sorted_ = 0;
}

void Sampler::apply_temperature() {
  if (settings_.temperature == 1) return;
  collect();
  // Relative to the highest logit, so that tiny temperatures do not overflow.
  const float most = highest_logit();
  for (Candidate& candidate : candidates_)
    candidate.logit = (candidate.logit - most) / settings_.temperature;
}

text::TokenId Sampler::draw() {
  collect();
  if (candidates_.empty()) (void)greedy();  // throws: nothing can be chosen
  const double drawn = random_.uniform() * normalize();
  double sum = 0;
  for (const Candidate& candidate : candidates_) {
    sum += candidate.weight;
    if (drawn < sum) return candidate.id;
  }
  return candidates_.back().id;  // rounding
}

/// Mirostat v2: tokens more surprising than mu are dropped, and mu follows the surprise of what was
/// drawn. Surprise is that under the whole distribution, as in the paper.
text::TokenId Sampler::draw_mirostat() {
  collect();
  if (candidates_.empty()) (void)greedy();
  const double sum = normalize();
  const double least = std::exp2(-mirostat_mu_) * sum;
  const text::TokenId likeliest =
      std::min_element(candidates_.begin(), candidates_.end(), likelier)->id;
  const auto kept =
      std::remove_if(candidates_.begin(), candidates_.end(), [&](const Candidate& candidate) {
        return candidate.weight < least && candidate.id != likeliest;
      });
  candidates_ = candidates_.first(static_cast<std::size_t>(kept - candidates_.begin()));
  sorted_ = 0;
  const text::TokenId id = draw();  // weights stay relative to the likeliest token, which was kept
  const auto chosen = std::find_if(candidates_.begin(), candidates_.end(),
                                   [id](const Candidate& candidate) { return candidate.id == id; });
  const double surprise = std::log2(sum / chosen->weight);
  mirostat_mu_ -= settings_.mirostat_eta * (surprise - settings_.mirostat_tau);
  return id;
}

}  // namespace hearth::generate
