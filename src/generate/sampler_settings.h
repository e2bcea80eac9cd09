// How the next token is chosen, as plain data: what flags, config files, requests and the model's
// own metadata set.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "gguf/file.h"
#include "text/tokenizer.h"

namespace hearth::generate {

/// The parts of the chain whose order can be chosen. Bans, logit bias and the repeated-token
/// penalties' window are not parts: bias always comes first.
enum class SamplerStep : std::uint8_t {
  kPenalties,
  kDry,
  kTopK,
  kTypical,
  kTopP,
  kMinP,
  kXtc,
  kTemperature,
};

/// Every field's default leaves the part off unless stated.
struct SamplerSettings {
  /// 0: greedy (the highest logit after bias, penalties and DRY; the lowest id on ties), nothing
  /// else applies.
  float temperature = 0.8F;
  /// Keep the k most likely tokens; 0: all. On by default.
  std::int32_t top_k = 40;
  /// Keep the fewest most likely tokens whose probabilities reach p (Holtzman et al. 2019,
  /// arXiv:1904.09751); 1: all. On by default.
  float top_p = 0.95F;
  /// Keep tokens at least min_p times as likely as the most likely one (Nguyen et al. 2024,
  /// arXiv:2407.01082). On by default.
  float min_p = 0.05F;
  /// Locally typical sampling (Meister et al. 2022, arXiv:2202.00666); 1: off.
  float typical = 1;

  /// Tokens among the last `repeat_last_n` of the context (prompt included; -1: all, 0: none) have
  /// their logit divided (if positive, else multiplied) by repeat_penalty (Keskar et al. 2019,
  /// arXiv:1909.05858), then lowered by count * frequency_penalty + presence_penalty.
  std::int32_t repeat_last_n = 64;
  float repeat_penalty = 1;
  float frequency_penalty = 0;
  float presence_penalty = 0;

  /// DRY, "don't repeat yourself": a token that would lengthen a repetition that is already
  /// `length` >= dry_allowed_length tokens long loses dry_multiplier * dry_base^(length -
  /// dry_allowed_length). Repetitions are looked for in the last dry_last_n tokens (-1: all) and do
  /// not reach across a token whose text contains a sequence breaker.
  float dry_multiplier = 0;
  float dry_base = 1.75F;
  std::int32_t dry_allowed_length = 2;
  std::int32_t dry_last_n = -1;
  std::vector<std::string> dry_breakers = {"\n", ":", "\"", "*"};

  /// XTC, "exclude top choices": with this probability, of the tokens at least xtc_threshold likely
  /// all but the least likely are removed.
  float xtc_probability = 0;
  float xtc_threshold = 0.1F;

  /// 0: off; 2: Mirostat v2 (Basu et al. 2021, arXiv:2007.14966), which then replaces top-k,
  /// typical, top-p, min-p and XTC.
  std::int32_t mirostat = 0;
  float mirostat_tau = 5;
  float mirostat_eta = 0.1F;

  /// Added to the logits before anything else; -infinity bans a token.
  std::vector<std::pair<text::TokenId, float>> logit_bias;

  /// Nothing: a seed from the operating system.
  std::optional<std::uint64_t> seed;

  /// The steps in the order they are applied; steps that are not listed are not applied.
  std::vector<SamplerStep> order = {
      SamplerStep::kPenalties, SamplerStep::kDry,  SamplerStep::kTopK, SamplerStep::kTypical,
      SamplerStep::kTopP,      SamplerStep::kMinP, SamplerStep::kXtc,  SamplerStep::kTemperature};
};

/// Throws Error (exit code 2) naming the first setting that is out of its range and the range.
void validate(const SamplerSettings& settings);

/// "penalties", "dry", "top-k", "typical", "top-p", "min-p", "xtc", "temperature".
[[nodiscard]] std::string_view name(SamplerStep step) noexcept;
/// The inverse of name(); underscores count as dashes and "temp", "typ-p" and "typical-p" are known
/// too.
[[nodiscard]] std::optional<SamplerStep> sampler_step(std::string_view name);
/// An order written as names separated by commas or semicolons. Throws Error (exit code 2) for
/// unknown or repeated names.
[[nodiscard]] std::vector<SamplerStep> parse_order(std::string_view text);

/// What a model file recommends.
struct RecommendedSettings {
  SamplerSettings settings;
  /// One sentence per recommendation that was out of range or unknown and therefore not taken.
  std::vector<std::string> ignored;
};

/// `base` with the model's general.sampling.* recommendations applied. `general.sampling.sequence`
/// may list names or the one-letter codes of the format (e penalties, d dry, k top-k, y typical, p
/// top-p, m min-p, x xtc, t temperature).
[[nodiscard]] RecommendedSettings recommended_settings(const gguf::Metadata& metadata,
                                                       SamplerSettings base = {});

}  // namespace hearth::generate
