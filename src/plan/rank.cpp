#include "plan/rank.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <optional>

#include "model/families/registry.h"
#include "support/error.h"
#include "support/units.h"

namespace hearth::plan {
namespace {

/// How much an answer that comes at half the comfortable speed (or after twice the time that one
/// waits gladly) is worth: 2^-kPatience.
constexpr double kPatience = 0.3;
/// More than this share of the free memory leaves no room for anything else …
constexpr double kTight = 0.9;
/// … and makes a candidate worth so much less.
constexpr double kTightFactor = 0.85;
/// With prefer_energy comfort begins at so many times the use's.
constexpr double kEnergyFactor = 6;

const SpeedAt* speed_at(const Estimate& estimate, std::int64_t depth) {
  const SpeedAt* best = nullptr;
  for (const SpeedAt& speed : estimate.speeds) {
    if (best == nullptr || std::abs(speed.depth - depth) < std::abs(best->depth - depth))
      best = &speed;
  }
  return best;
}

bool suits(const CatalogModel& model, const Use& use) {
  const auto has = [](const std::vector<std::string>& list, const std::string& what) {
    return std::find(list.begin(), list.end(), what) != list.end();
  };
  if (!has(use.roles, model.role)) return false;
  if (!use.modality.empty() && !has(model.modalities, use.modality)) return false;
  return use.most_parameters <= 0 ||
         (model.parameters > 0 && model.parameters <= use.most_parameters);
}

/// What speed makes of quality: 1 when it is comfortable.
double comfort(const Candidate& candidate, const Use& use, const Request& request, bool tight) {
  double factor = 1;
  const double comfortable = use.comfortable_tps * (request.prefer_energy ? kEnergyFactor : 1);
  if (comfortable > 0)
    factor *= std::pow(std::min(1.0, candidate.decode_tps / comfortable), kPatience);
  if (candidate.wait_seconds > use.wait_seconds)
    factor *= std::pow(use.wait_seconds / candidate.wait_seconds, kPatience);
  if (tight) factor *= kTightFactor;
  return factor;
}

/// Whether next to nothing of the main memory would be left.
bool is_tight(const Candidate& candidate, const machine::Machine& machine) {
  const plan::MemoryNeed& need = candidate.estimate.memory;
  return need.total() - need.device > kTight * static_cast<double>(machine.memory.available_bytes);
}

std::string trouble_of(const Candidate& candidate, const Use& use, double min_tps,
                       const machine::Machine& machine) {
  if (!candidate.estimate.kv_fits) {
    return fmt::format("the budget is too small for the keys and values of a context of {}",
                       candidate.context);
  }
  if (!candidate.fits) {
    return fmt::format("needs {:.1f} GB with a context of {}; {:.1f} GB are free",
                       candidate.estimate.memory.total() / kGiga, candidate.context,
                       static_cast<double>(machine.memory.available_bytes) / kGiga);
  }
  if (!candidate.fast_enough) {
    return fmt::format("{:.1f} tokens/s after {} tokens of context, less than {:g}",
                       candidate.decode_tps, use.depth, min_tps);
  }
  if (!candidate.context_known) return "what its context takes is not known, and not counted";
  return {};
}

bool better(const Candidate& a, const Candidate& b) {
  const auto grade = [](const Candidate& c) {
    return !c.fits ? 2 : c.fast_enough && c.context_known ? 0 : 1;
  };
  if (grade(a) != grade(b)) return grade(a) < grade(b);
  if (grade(a) == 2) return a.estimate.memory.total() < b.estimate.memory.total();
  return a.value > b.value;
}

}  // namespace

const Candidate* Ranking::recommended() const noexcept {
  if (candidates.empty()) return nullptr;
  const Candidate& first = candidates.front();
  return first.fits && first.fast_enough && first.context_known ? &first : nullptr;
}

bool engine_runs(const CatalogModel& model, std::string_view engine) {
  if (engine != "hearth") return true;
  const std::vector<std::string_view> known = model::known_architectures();
  return std::find(known.begin(), known.end(), model.architecture) != known.end();
}

std::vector<Residency> residencies(const machine::Machine& machine, const Workload& workload,
                                   std::string_view engine) {
  // Hearth has no backend for graphics processors yet, and does not stream experts.
  if (engine == "hearth" || machine.gpus.empty()) return {Residency::kMemory};
  if (machine.memory.unified) return {Residency::kDevice};
  std::vector<Residency> result = {Residency::kDevice};
  const bool discrete = !machine.gpus.front().integrated;
  if (discrete && workload.mixture) result.push_back(Residency::kExperts);
  if (discrete) result.push_back(Residency::kSplit);
  result.push_back(Residency::kMemory);
  return result;
}

Estimate best_estimate(const Workload& workload, const machine::Machine& machine,
                       Conditions conditions) {
  std::optional<Estimate> best;
  std::optional<Error> trouble;
  const auto speed = [](const Estimate& e) {
    return e.speeds.empty() ? 0 : e.speeds.front().decode.tps;
  };
  for (const Residency residency : residencies(machine, workload, conditions.engine)) {
    conditions.residency = residency;
    try {
      Estimate made = estimate(workload, machine, conditions);
      const bool wins = !best || (made.fits && !best->fits) ||
                        (made.fits == best->fits && made.fits && speed(made) > speed(*best));
      if (wins) best = std::move(made);
    } catch (const Error& error) {
      if (!trouble) trouble = error;
    }
  }
  if (!best) throw *trouble;
  return *best;
}

Candidate consider(const CatalogModel& model, const Quantization& quant, const Uses& uses,
                   const Use& use, const machine::Machine& machine, const Request& request) {
  Candidate candidate;
  candidate.model = &model;
  candidate.quant = quant;
  candidate.workload = catalog_workload(model, quant, uses);
  candidate.quality = quality_of(model, use, uses);
  candidate.context = request.context > 0 ? request.context : use.context;
  if (model.context > 0) candidate.context = std::min(candidate.context, model.context);

  Conditions conditions;
  conditions.engine = request.engine;
  conditions.kv_type = request.kv_type;
  conditions.kv_budget = request.kv_budget;
  conditions.kv_disk = request.kv_disk;
  conditions.context = candidate.context;
  conditions.prompt = std::min(use.prompt, candidate.context);
  const std::int64_t depth = std::min(use.depth, candidate.context);
  conditions.depths = {0, 4096, 32768};
  if (conditions.kv_budget > 0) conditions.end_at_context();
  if (std::find(conditions.depths.begin(), conditions.depths.end(), depth) ==
      conditions.depths.end())
    conditions.depths.push_back(depth);
  candidate.estimate = best_estimate(candidate.workload, machine, conditions);
  if (request.correct) {
    candidate.estimate = request.correct(model, quant, std::move(candidate.estimate));
  }
  candidate.fits = candidate.estimate.fits;
  candidate.context_known = use.one_pass || has_kv_numbers(model);
  candidate.wait_seconds = candidate.estimate.first_token_seconds;
  if (const SpeedAt* start = speed_at(candidate.estimate, 0))
    candidate.prefill_tps = start->prefill.tps;
  if (const SpeedAt* speed = speed_at(candidate.estimate, depth))
    candidate.decode_tps = use.one_pass ? speed->prefill.tps : speed->decode.tps;
  const double min_tps = request.min_tps >= 0 ? request.min_tps : use.min_tps;
  candidate.fast_enough = candidate.decode_tps >= min_tps;
  double quality_value = candidate.quality.value;
  candidate.thinking_too_slow = candidate.quality.thinking && candidate.decode_tps > 0 &&
                                uses.thinking_tokens / candidate.decode_tps > uses.thinking_seconds;
  if (candidate.thinking_too_slow) quality_value -= uses.thinking_loss;
  candidate.quality_here = std::max(0.0, quality_value) * (1 - quant.loss / 100);
  const double share = candidate.quality_here / 100;
  candidate.value = share * share * comfort(candidate, use, request, is_tight(candidate, machine));
  candidate.trouble = trouble_of(candidate, use, min_tps, machine);
  return candidate;
}

std::vector<Candidate> consider_all(const CatalogModel& model, const Uses& uses, const Use& use,
                                    const machine::Machine& machine, const Request& request) {
  std::vector<Candidate> all;
  for (const Quantization& quant : quantizations(model, uses))
    all.push_back(consider(model, quant, uses, use, machine, request));
  std::stable_sort(all.begin(), all.end(), better);
  return all;
}

Ranking rank(const Catalog& catalog, const Uses& uses, const machine::Machine& machine,
             const Request& request) {
  const Use& use = uses.use(request.use);
  Ranking ranking;
  for (const CatalogModel& model : catalog.models) {
    if (!suits(model, use) || !engine_runs(model, request.engine)) continue;
    if (request.context > 0 && model.context > 0 && model.context < request.context) continue;
    std::vector<Candidate> all = consider_all(model, uses, use, machine, request);
    if (!all.empty()) ranking.candidates.push_back(std::move(all.front()));
  }
  std::stable_sort(ranking.candidates.begin(), ranking.candidates.end(), better);
  return ranking;
}

}  // namespace hearth::plan
