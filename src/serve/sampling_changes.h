// The settings of sampling that requests may name, beside the sampler's own.
#pragma once

#include <optional>

#include "generate/sampler_settings.h"
#include "serve/chat_request.h"

namespace hearth::serve {

/// Calls `visit(change, setting)` with the members of SamplingChanges and SamplerSettings that mean
/// the same. The seed and the bias are not among them: they are not plain values that the model
/// could have, too.
template <class Visit>
void for_each_sampling(Visit&& visit) {
  using Changes = SamplingChanges;
  using Settings = generate::SamplerSettings;
  visit(&Changes::temperature, &Settings::temperature);
  visit(&Changes::top_p, &Settings::top_p);
  visit(&Changes::top_k, &Settings::top_k);
  visit(&Changes::min_p, &Settings::min_p);
  visit(&Changes::typical, &Settings::typical);
  visit(&Changes::repeat_penalty, &Settings::repeat_penalty);
  visit(&Changes::repeat_last_n, &Settings::repeat_last_n);
  visit(&Changes::frequency_penalty, &Settings::frequency_penalty);
  visit(&Changes::presence_penalty, &Settings::presence_penalty);
  visit(&Changes::mirostat, &Settings::mirostat);
  visit(&Changes::mirostat_tau, &Settings::mirostat_tau);
  visit(&Changes::mirostat_eta, &Settings::mirostat_eta);
  visit(&Changes::dry_multiplier, &Settings::dry_multiplier);
  visit(&Changes::dry_base, &Settings::dry_base);
  visit(&Changes::dry_allowed_length, &Settings::dry_allowed_length);
  visit(&Changes::dry_last_n, &Settings::dry_last_n);
  visit(&Changes::dry_breakers, &Settings::dry_breakers);
  visit(&Changes::xtc_probability, &Settings::xtc_probability);
  visit(&Changes::xtc_threshold, &Settings::xtc_threshold);
}

/// What `changes` names, over what is there. The bias is left to the caller, who knows the
/// vocabulary.
inline void apply(const SamplingChanges& changes, generate::SamplerSettings& settings) {
  for_each_sampling([&](auto change, auto setting) {
    if (const auto& value = changes.*change) settings.*setting = *value;
  });
  if (changes.seed) settings.seed = changes.seed;
}

/// All of them, as changes.
[[nodiscard]] inline SamplingChanges changes_of(const generate::SamplerSettings& settings) {
  SamplingChanges changes;
  for_each_sampling([&](auto change, auto setting) { changes.*change = settings.*setting; });
  return changes;
}

}  // namespace hearth::serve
