#include "generate/sampler_settings.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "support/error.h"

namespace hearth::generate {
namespace {

struct StepName {
  SamplerStep step;
  std::string_view name;
  char code;
};

constexpr std::array<StepName, 8> kStepNames = {{
    {SamplerStep::kPenalties, "penalties", 'e'},
    {SamplerStep::kDry, "dry", 'd'},
    {SamplerStep::kTopK, "top-k", 'k'},
    {SamplerStep::kTypical, "typical", 'y'},
    {SamplerStep::kTopP, "top-p", 'p'},
    {SamplerStep::kMinP, "min-p", 'm'},
    {SamplerStep::kXtc, "xtc", 'x'},
    {SamplerStep::kTemperature, "temperature", 't'},
}};

constexpr double kMost = std::numeric_limits<float>::max();

/// The numbers of SamplerSettings that have a range, for validation and for metadata.
struct FloatSetting {
  std::string_view name;
  std::string_view metadata_key;  // after "general.sampling."; empty: none
  float SamplerSettings::*field;
  double least, most;
};

struct IntSetting {
  std::string_view name;
  std::string_view metadata_key;
  std::int32_t SamplerSettings::*field;
  std::int64_t least, most;
};

constexpr std::array<FloatSetting, 13> kFloats = {{
    {"temp", "temp", &SamplerSettings::temperature, 0, kMost},
    {"top-p", "top_p", &SamplerSettings::top_p, 0, 1},
    {"min-p", "min_p", &SamplerSettings::min_p, 0, 1},
    {"typical", "", &SamplerSettings::typical, 0, 1},
    {"repeat-penalty", "penalty_repeat", &SamplerSettings::repeat_penalty, 1e-3, 1e3},
    {"frequency-penalty", "", &SamplerSettings::frequency_penalty, -100, 100},
    {"presence-penalty", "", &SamplerSettings::presence_penalty, -100, 100},
    {"dry-multiplier", "", &SamplerSettings::dry_multiplier, 0, 100},
    {"dry-base", "", &SamplerSettings::dry_base, 1, 100},
    {"xtc-probability", "xtc_probability", &SamplerSettings::xtc_probability, 0, 1},
    {"xtc-threshold", "xtc_threshold", &SamplerSettings::xtc_threshold, 0, 1},
    {"mirostat-tau", "mirostat_tau", &SamplerSettings::mirostat_tau, 0, 1000},
    {"mirostat-eta", "mirostat_eta", &SamplerSettings::mirostat_eta, 0, 1},
}};

constexpr std::int64_t kMostTokens = std::numeric_limits<std::int32_t>::max();

constexpr std::array<IntSetting, 5> kInts = {{
    {"top-k", "top_k", &SamplerSettings::top_k, 0, kMostTokens},
    {"repeat-last-n", "penalty_last_n", &SamplerSettings::repeat_last_n, -1, kMostTokens},
    {"dry-allowed-length", "", &SamplerSettings::dry_allowed_length, 1, kMostTokens},
    {"dry-last-n", "", &SamplerSettings::dry_last_n, -1, kMostTokens},
    {"mirostat", "mirostat", &SamplerSettings::mirostat, 0, 2},
}};

bool in_range(const FloatSetting& setting, double value) {
  return std::isfinite(value) && value >= setting.least && value <= setting.most;
}

bool in_range(const IntSetting& setting, std::int64_t value) {
  if (setting.field == &SamplerSettings::mirostat && value == 1)
    return false;  // Mirostat v1 does not exist here
  return value >= setting.least && value <= setting.most;
}

std::string range(const FloatSetting& setting) {
  if (setting.most == kMost) return fmt::format("a number from {} up", setting.least);
  return fmt::format("a number from {} to {}", setting.least, setting.most);
}

std::string range(const IntSetting& setting) {
  if (setting.field == &SamplerSettings::mirostat) return "0 (off) or 2";
  return fmt::format("a whole number from {} up", setting.least);
}

/// The metadata's sequence: names, or one letter per step. Steps that other programs have and that
/// nothing in the metadata turns on (top-n-sigma "s", infill "i", adaptive-p "a") are passed over.
std::optional<std::vector<SamplerStep>> recommended_order(std::string_view text) {
  static constexpr std::string_view kPassedOver[] = {"top_n_sigma", "infill", "adaptive_p"};
  std::vector<SamplerStep> order;
  const auto add = [&order](SamplerStep step) {
    if (std::find(order.begin(), order.end(), step) == order.end()) order.push_back(step);
  };
  const bool names =
      text.find_first_of(";,_") != std::string_view::npos || sampler_step(text).has_value();
  while (names && !text.empty()) {
    const std::size_t end = std::min(text.find_first_of(";,"), text.size());
    const std::string_view word = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (std::find(std::begin(kPassedOver), std::end(kPassedOver), word) != std::end(kPassedOver))
      continue;
    const std::optional<SamplerStep> step = sampler_step(word);
    if (!step.has_value()) return std::nullopt;
    add(*step);
  }
  for (const char code : text) {
    if (code == 's' || code == 'i' || code == 'a') continue;
    const auto* found = std::find_if(kStepNames.begin(), kStepNames.end(),
                                     [code](const StepName& entry) { return entry.code == code; });
    if (found == kStepNames.end()) return std::nullopt;
    add(found->step);
  }
  return order.empty() ? std::nullopt : std::optional(order);
}

}  // namespace

void validate(const SamplerSettings& settings) {
  for (const FloatSetting& setting : kFloats) {
    if (in_range(setting, settings.*setting.field)) continue;
    throw Error(fmt::format("{} is {}, but must be {}", setting.name, settings.*setting.field,
                            range(setting)),
                {}, ExitCode::kUsage);
  }
  for (const IntSetting& setting : kInts) {
    if (in_range(setting, settings.*setting.field)) continue;
    throw Error(fmt::format("{} is {}, but must be {}", setting.name, settings.*setting.field,
                            range(setting)),
                {}, ExitCode::kUsage);
  }
  for (const auto& [id, bias] : settings.logit_bias) {
    if (id >= 0 && !std::isnan(bias) && bias != std::numeric_limits<float>::infinity()) continue;
    throw Error(
        fmt::format("logit-bias {}={} needs an id from 0 up and a number or -inf", id, bias), {},
        ExitCode::kUsage);
  }
}

std::string_view name(SamplerStep step) noexcept {
  for (const StepName& entry : kStepNames) {
    if (entry.step == step) return entry.name;
  }
  return "?";
}

std::optional<SamplerStep> sampler_step(std::string_view given) {
  std::string wanted(given);
  std::replace(wanted.begin(), wanted.end(), '_', '-');
  if (wanted == "temp") wanted = "temperature";
  if (wanted == "typ-p" || wanted == "typical-p") wanted = "typical";
  for (const StepName& entry : kStepNames) {
    if (entry.name == wanted) return entry.step;
  }
  return std::nullopt;
}

std::vector<SamplerStep> parse_order(std::string_view text) {
  std::vector<SamplerStep> order;
  while (true) {
    const std::size_t end = std::min(text.find_first_of(",;"), text.size());
    std::string_view word = text.substr(0, end);
    while (!word.empty() && word.front() == ' ') word.remove_prefix(1);
    while (!word.empty() && word.back() == ' ') word.remove_suffix(1);
    const std::optional<SamplerStep> step = sampler_step(word);
    if (!step.has_value()) {
      throw Error(fmt::format("unknown sampler '{}'", printable(word)),
                  "known ones: penalties, dry, top-k, typical, top-p, min-p, xtc, temperature",
                  ExitCode::kUsage);
    }
    if (std::find(order.begin(), order.end(), *step) != order.end()) {
      throw Error(fmt::format("sampler '{}' is listed twice", name(*step)), {}, ExitCode::kUsage);
    }
    order.push_back(*step);
    if (end == text.size()) return order;
    text.remove_prefix(end + 1);
  }
}

RecommendedSettings recommended_settings(const gguf::Metadata& metadata, SamplerSettings base) {
  static constexpr std::string_view kPrefix = "general.sampling.";
  RecommendedSettings result{std::move(base), {}};
  const auto ignore = [&result](std::string_view key, std::string_view wanted) {
    result.ignored.push_back(fmt::format("the model's recommended {}{} is not {} and was not taken",
                                         kPrefix, key, wanted));
  };
  for (const FloatSetting& setting : kFloats) {
    if (setting.metadata_key.empty()) continue;
    const std::string key = fmt::format("{}{}", kPrefix, setting.metadata_key);
    if (!metadata.contains(key)) continue;
    const std::optional<double> value = metadata.get_float(key);
    if (value.has_value() && in_range(setting, *value)) {
      result.settings.*setting.field = static_cast<float>(*value);
    } else {
      ignore(setting.metadata_key, range(setting));
    }
  }
  for (const IntSetting& setting : kInts) {
    if (setting.metadata_key.empty()) continue;
    const std::string key = fmt::format("{}{}", kPrefix, setting.metadata_key);
    if (!metadata.contains(key)) continue;
    const std::optional<std::int64_t> value = metadata.get_int(key);
    if (value.has_value() && in_range(setting, *value)) {
      result.settings.*setting.field = static_cast<std::int32_t>(*value);
    } else {
      ignore(setting.metadata_key, range(setting));
    }
  }
  if (metadata.contains("general.sampling.sequence")) {
    const std::optional<std::string_view> text = metadata.get_string("general.sampling.sequence");
    const auto order = text.has_value() ? recommended_order(*text) : std::nullopt;
    if (order.has_value()) {
      result.settings.order = *order;
    } else {
      ignore("sequence", "a list of known samplers");
    }
  }
  return result;
}

}  // namespace hearth::generate
