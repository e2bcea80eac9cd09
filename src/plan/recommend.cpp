#include "plan/recommend.h"

#include <fmt/format.h>

#include <algorithm>

#include "plan/presets.h"
#include "support/units.h"

namespace hearth::plan {
namespace {

double gigabytes(double bytes) { return bytes / kGiga; }

bool has_gpu(const machine::Machine& machine) {
  return std::any_of(machine.gpus.begin(), machine.gpus.end(),
                     [](const machine::Gpu& gpu) { return !gpu.integrated; });
}

bool holds(const AdviceRule& rule, const machine::Machine& machine, const Request& request,
           const Candidate* best) {
  const auto memory = static_cast<double>(machine.memory.available_bytes);
  const auto named = [&](const std::vector<std::string>& uses) {
    return uses.empty() || std::find(uses.begin(), uses.end(), request.use) != uses.end();
  };
  return named(rule.uses) && (rule.memory_below <= 0 || memory < rule.memory_below) &&
         (rule.memory_above <= 0 || memory > rule.memory_above) &&
         (rule.tps_below <= 0 || (best != nullptr && best->decode_tps < rule.tps_below)) &&
         (!rule.without_gpu || machine.gpus.empty()) &&
         (!rule.on_battery || machine.power.source == "battery") &&
         (!rule.throttled || machine.power.throttled) &&
         (rule.engine.empty() || rule.engine == request.engine);
}

/// What a changed machine would be recommended.
Upgrade upgrade(std::string change, const Catalog& catalog, const Uses& uses,
                const machine::Machine& machine, const Request& request, const Candidate* today) {
  Upgrade result;
  result.change = std::move(change);
  result.engine = request.engine;
  const Ranking ranking = rank(catalog, uses, machine, request);
  const Candidate* best = ranking.recommended();
  if (best == nullptr) {
    result.sentence = fmt::format("With {}: still nothing that is fast enough.", result.change);
    return result;
  }
  result.model = best->model->name;
  result.quant = best->quant.name;
  result.decode_tps = best->decode_tps;
  result.quality = best->quality_here;
  const bool same =
      today != nullptr && today->model == best->model && today->quant.name == best->quant.name;
  result.better = today == nullptr || best->value > 1.02 * today->value;
  const std::string engine = request.engine == "hearth" ? "" : fmt::format(" ({})", request.engine);
  if (!result.better) {
    result.sentence = same ? fmt::format("With {}: the same model.", result.change)
                           : fmt::format("With {}: nothing better.", result.change);
  } else {
    result.sentence =
        fmt::format("With {}: {} {}, {:.0f} tokens/s{}, quality {:.0f}{}.", result.change,
                    result.model, result.quant, result.decode_tps, engine, result.quality,
                    today == nullptr ? "" : fmt::format(" instead of {:.0f}", today->quality_here));
  }
  return result;
}

std::vector<Upgrade> upgrades(const Catalog& catalog, const Uses& uses,
                              const machine::Machine& machine, const Request& request,
                              const Candidate* today) {
  std::vector<Upgrade> result;
  machine::Machine more = machine;
  more.memory.available_bytes += more.memory.total_bytes;
  more.memory.total_bytes *= 2;
  if (machine.memory.unified) {
    for (machine::Gpu& gpu : more.gpus) {
      gpu.memory_free_bytes += gpu.memory_total_bytes;
      gpu.memory_total_bytes *= 2;
    }
  }
  result.push_back(upgrade(fmt::format("twice the memory ({:.0f} GB)",
                                       gigabytes(static_cast<double>(more.memory.total_bytes))),
                           catalog, uses, more, request, today));
  if (has_gpu(machine) || machine.memory.unified) return result;
  // A card that people buy for this, as its preset has it.
  const std::optional<Preset> preset = find_preset("rtx-3090");
  if (!preset) return result;
  machine::Machine carded = machine;
  carded.gpus.insert(carded.gpus.begin(), preset->machine.gpus.front());
  Request with_card = request;
  with_card.correct = {};
  with_card.engine = "llama.cpp";
  result.push_back(upgrade("an RTX 3090 (24 GB)", catalog, uses, carded, with_card, today));
  return result;
}

std::string cloud(const Use& use, const Ranking& ranking, const Candidate* best) {
  if (best == nullptr) {
    const bool fits = !ranking.candidates.empty() && ranking.candidates.front().fits;
    return fits ? fmt::format(
                      "Nothing that is fast enough runs here ({}): use a cloud model for "
                      "this, or accept the wait with --min-tps.",
                      ranking.candidates.front().trouble)
                : std::string("Nothing of the catalog fits here: use a cloud model for this.");
  }
  if (best->quality_here >= use.cloud_below) return {};
  return fmt::format(
      "For {} models under about {:.0f} points disappoint, and the best one here has {:.0f}: use a "
      "cloud model for what matters, and this one for what is private or simple.",
      use.about, use.cloud_below, best->quality_here);
}

}  // namespace

std::string why(const Candidate& candidate, const machine::Machine& machine) {
  const Estimate& estimate = candidate.estimate;
  if (!candidate.trouble.empty()) return candidate.trouble;
  const double free = static_cast<double>(machine.memory.available_bytes);
  std::string text = estimate.memory.device > 0
                         ? fmt::format("{:.1f} GB of it in the graphics processor's memory",
                                       gigabytes(estimate.memory.device))
                         : fmt::format("takes {:.1f} of {:.1f} GB that are free",
                                       gigabytes(estimate.memory.total()), gigabytes(free));
  if (!estimate.speeds.empty() && !estimate.speeds.front().decode.limited_by.empty())
    text += fmt::format(", limited by {}", estimate.speeds.front().decode.limited_by);
  const Quality& quality = candidate.quality;
  text += quality.guessed
              ? std::string(", no published score: quality guessed from its size")
              : fmt::format(", {} {:g}{} ({})", quality.benchmark, quality.score,
                            quality.mode.empty() ? "" : ", " + quality.mode, quality.source);
  if (candidate.thinking_too_slow)
    text += ", which takes thinking that this machine is too slow for: counted as less";
  if (candidate.quant.loss >= 0.5)
    text += fmt::format(", about {:.0f} % of it lost to {}", candidate.quant.loss,
                        candidate.quant.name);
  if (!has_kv_numbers(*candidate.model)) text += ", memory of its context unknown and not counted";
  return text;
}

Advice advise(const Catalog& catalog, const Uses& uses, const machine::Machine& machine,
              const Request& request, const Ranking& ranking) {
  const Use& use = uses.use(request.use);
  Advice advice;
  const Candidate* best = ranking.recommended();
  if (best != nullptr) {
    advice.why = fmt::format(
        "Of {} models that suit {}, {} fit and are fast enough; this one weighs quality against "
        "speed best: it {}.",
        ranking.candidates.size(), use.name,
        std::count_if(
            ranking.candidates.begin(), ranking.candidates.end(),
            [](const Candidate& c) { return c.fits && c.fast_enough && c.context_known; }),
        why(*best, machine));
  }
  for (const AdviceRule& rule : uses.advice) {
    if (holds(rule, machine, request, best)) advice.notes.push_back(rule.say);
  }
  advice.upgrades = upgrades(catalog, uses, machine, request, best);
  advice.cloud = cloud(use, ranking, best);
  return advice;
}

}  // namespace hearth::plan
