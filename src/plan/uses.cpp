#include "plan/uses.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "measure/json_reader.h"
#include "plan/data.h"
#include "support/error.h"
#include "support/units.h"

namespace hearth::plan {
namespace {

using Json = nlohmann::json;
using measure::JsonReader;

Use read_use(const std::string& name, JsonReader& reader) {
  Use use;
  use.name = name;
  use.about = reader.text("about");
  use.roles = reader.texts("roles");
  use.modality = reader.text("modality");
  use.most_parameters = kGiga * reader.number("most_parameters_b", 0, 0, 1e5);
  use.context = reader.integer("context", 4096, 1, 1 << 24);
  use.depth = reader.integer("depth", 0, 0, 1 << 24);
  use.prompt = reader.integer("prompt", 512, 1, 1 << 24);
  use.min_tps = reader.number("min_tps", 0, 0, 1e5);
  use.comfortable_tps = reader.number("comfortable_tps", 0, 0, 1e5);
  use.wait_seconds = reader.number("wait_seconds", 10, 0.001, 1e5);
  use.cloud_below = reader.number("cloud_below", 0, 0, 100);
  use.one_pass = reader.flag("one_pass", false);
  reader.each_number("measures", 0.001, 100, [&](const std::string& benchmark, double weight) {
    use.measures[benchmark] = weight;
  });
  return use;
}

AdviceRule read_rule(JsonReader& reader) {
  AdviceRule rule;
  rule.say = reader.needed_text("say");
  reader.inside("when", [&](JsonReader& conditions) {
    rule.uses = conditions.texts("uses");
    rule.memory_below = kGiga * conditions.number("memory_gb_below", 0, 0, 1e6);
    rule.memory_above = kGiga * conditions.number("memory_gb_above", 0, 0, 1e6);
    rule.tps_below = conditions.number("tps_below", 0, 0, 1e6);
    rule.without_gpu = conditions.flag("without_gpu", false);
    rule.on_battery = conditions.flag("on_battery", false);
    rule.throttled = conditions.flag("throttled", false);
    rule.engine = conditions.text("engine");
  });
  return rule;
}

void read_scales(JsonReader& reader, Uses& uses) {
  reader.each_member("scales", [&](const std::string& name, JsonReader& entry) {
    Scale scale;
    scale.slope = entry.number("slope", 1, -100, 100);
    scale.offset = entry.number("offset", 0, -1000, 1000);
    scale.spread = entry.number("spread", 0, 0, 100);
    scale.models = static_cast<int>(entry.integer("models", 0, 0, 1 << 20));
    uses.scales[name] = scale;
  });
}

void read_size_guess(JsonReader& reader, Uses& uses) {
  uses.noise = reader.number("noise", 4, 0.1, 100);
  reader.each_number("thinking", 0, 1e6, [&](const std::string& key, double value) {
    if (key == "loss") uses.thinking_loss = value;
    if (key == "tokens") uses.thinking_tokens = value;
    if (key == "seconds") uses.thinking_seconds = value;
  });
  reader.each_number("size_guess", -1000, 1000, [&](const std::string& key, double value) {
    if (key == "slope") uses.guess_slope = value;
    if (key == "offset") uses.guess_offset = value;
    if (key == "spread") uses.guess_spread = value;
    if (key == "penalty") uses.guess_penalty = value;
  });
}

void read_quants(JsonReader& reader, Uses& uses) {
  reader.each("quants", [&](JsonReader& entry) {
    QuantInfo quant;
    quant.name = entry.needed_text("name");
    quant.body_bits = entry.number("body_bits", 0, 0.5, 64);
    quant.output_bits = entry.number("output_bits", quant.body_bits, 0.5, 64);
    quant.divergence = entry.number("divergence", 0, 0, 100);
    quant.offered = entry.flag("offered", false);
    uses.quants.push_back(std::move(quant));
  });
  uses.loss_per_divergence = reader.number("loss_per_divergence", 60, 0, 1000);
  uses.loss_power = reader.number("loss_power", 0, -2, 2);
  uses.loss_least = reader.number("loss_least", 1, 0, 10);
  uses.loss_most = reader.number("loss_most", 1, 0, 10);
}

/// On the common scale, from the size alone; 0 when that is unknown.
double guess_by_size(const CatalogModel& model, const Uses& uses) {
  const double active = model.active_parameters > 0 ? model.active_parameters : model.parameters;
  const double size = std::sqrt(model.parameters * active) / kGiga;
  if (size <= 0) return 0;
  return std::clamp(uses.guess_slope * std::log2(size) + uses.guess_offset, 1.0, 95.0);
}

bool with_thinking(std::string_view mode) {
  const bool without = mode.find("no thinking") != std::string_view::npos ||
                       mode.find("thinking off") != std::string_view::npos ||
                       mode.find("non-think") != std::string_view::npos;
  return !without && (mode.find("thinking") != std::string_view::npos || mode == "high");
}

}  // namespace

const Use& Uses::use(std::string_view name) const {
  std::string known;
  for (const Use& candidate : uses) {
    if (candidate.name == name) return candidate;
    known += (known.empty() ? "" : ", ") + candidate.name;
  }
  throw Error(fmt::format("unknown use '{}'", printable(name)), "known are " + known,
              ExitCode::kUsage);
}

const QuantInfo* Uses::quant(std::string_view name) const noexcept {
  if (name.starts_with("UD-")) name.remove_prefix(3);
  const bool extra_large = name.ends_with("_XL");  // a medium mix with a little more
  const std::string_view stem = extra_large ? name.substr(0, name.size() - 2) : name;
  for (const QuantInfo& info : quants) {
    if (info.name == name) return &info;
    if (extra_large && info.name.size() == stem.size() + 1 && info.name.starts_with(stem) &&
        info.name.ends_with('M'))
      return &info;
  }
  return nullptr;
}

double Uses::loss_percent(const QuantInfo& quant, const CatalogModel& model) const {
  if (quant.name == model.published_quant) return 0;
  const double size = std::max(model.parameters, 1e7) / (8 * kGiga);
  const double factor = std::clamp(std::pow(size, loss_power), loss_least, loss_most);
  return std::min(95.0, loss_per_divergence * quant.divergence * factor);
}

Uses parse_uses(std::string_view text, const std::string& source) {
  const Json json = measure::parse_json(text, source, measure::kDataFile);
  JsonReader reader(json, source, "", measure::kDataFile);
  if (reader.needed_text("format") != "hearth-uses-1")
    reader.fail("format", "is not \"hearth-uses-1\"");
  (void)reader.texts("about");
  Uses uses;
  read_scales(reader, uses);
  read_size_guess(reader, uses);
  read_quants(reader, uses);
  reader.each_member("uses", [&](const std::string& name, JsonReader& entry) {
    uses.uses.push_back(read_use(name, entry));
  });
  reader.each("advice", [&](JsonReader& entry) { uses.advice.push_back(read_rule(entry)); });
  reader.finish();
  for (const Use& use : uses.uses) {
    for (const auto& [benchmark, weight] : use.measures) {
      if (!uses.scales.contains(benchmark))
        reader.fail("uses." + use.name + ".measures", "names a benchmark without a scale");
    }
  }
  return uses;
}

Uses builtin_uses() { return parse_uses(embedded_file("uses.json"), "the built-in uses"); }

Quality quality_of(const CatalogModel& model, const Use& use, const Uses& uses) {
  // Of several scores of one benchmark (modes of thinking) the best.
  std::map<std::string, const Score*> best;
  for (const Score& score : model.scores) {
    if (!use.measures.contains(score.benchmark)) continue;
    const Score*& known = best[score.benchmark];
    if (known == nullptr || known->value < score.value) known = &score;
  }
  Quality quality;
  const double by_size = guess_by_size(model, uses);
  if (best.empty()) {
    quality.guessed = true;
    quality.value = by_size > 0 ? std::max(1.0, by_size - uses.guess_penalty) : 0;
    return quality;
  }
  double weights = by_size > 0 ? 1 / (uses.guess_spread * uses.guess_spread) : 0;
  // Embedding models are measured on a scale of their own, which size says nothing about.
  if (use.one_pass) weights = 0;
  double sum = weights * by_size, heaviest = 0;
  for (const auto& [benchmark, score] : best) {
    const Scale& scale = uses.scales.at(benchmark);
    const double variance = scale.spread * scale.spread + uses.noise * uses.noise;
    const double weight = use.measures.at(benchmark) / std::max(variance, 1e-6);
    sum += weight * (scale.slope * score->value + scale.offset);
    weights += weight;
    ++quality.measures;
    if (weight <= heaviest) continue;
    heaviest = weight;
    quality.benchmark = benchmark;
    quality.mode = score->mode;
    quality.source = score->source;
    quality.score = score->value;
    quality.thinking = with_thinking(score->mode);
  }
  quality.value = std::clamp(sum / weights, 1.0, 100.0);
  return quality;
}

}  // namespace hearth::plan
