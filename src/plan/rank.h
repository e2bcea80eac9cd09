// Ranking the catalog for a machine and a use.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "machine/machine.h"
#include "plan/catalog.h"
#include "plan/catalog_workload.h"
#include "plan/estimate.h"
#include "plan/uses.h"
#include "plan/workload.h"

namespace hearth::plan {

struct Request {
  std::string use = "chat";
  std::int64_t context = 0;  // 0: the use's
  double min_tps = -1;       // < 0: the use's
  std::string engine = "hearth";
  std::string kv_type = "F16";
  std::uint64_t kv_budget = 0, kv_disk = 0;  // as in Conditions
  /// Speed beyond comfort counts as well: who is done sooner used less power.
  bool prefer_energy = false;
  /// Corrects an estimate by what the machine at hand really did (plan/correction.h). Empty: none.
  std::function<Estimate(const CatalogModel&, const Quantization&, Estimate)> correct;
};

/// A model in a format on a machine.
struct Candidate {
  const CatalogModel* model = nullptr;  // of the catalog that was ranked
  Quantization quant;
  Workload workload;
  Estimate estimate;
  Quality quality;  // before quantization
  /// It was reached with thinking, for which this machine is too slow: some points less.
  bool thinking_too_slow = false;
  double quality_here = 0;  // after both
  double decode_tps = 0;    // at the depth of the use; of one-pass uses, prompt tokens per second
  double prefill_tps = 0;
  double wait_seconds = 0;   // for the use's prompt
  double value = 0;          // what candidates are ranked by
  std::int64_t context = 0;  // that was planned for
  bool fits = false;
  bool fast_enough = false;
  bool context_known = true;  // what keys and values take; models without that are not recommended
  /// Why it is not recommended: "needs 19.3 GB where 14.2 GB are free", "4.1 tokens/s, less than
  /// 5".
  std::string trouble;
};

struct Ranking {
  /// One per model: its best format. Those that fit and are fast enough first, by value; then those
  /// that fit; then the others by size.
  std::vector<Candidate> candidates;
  /// The best, or null when none fits and is fast enough. Into `candidates`.
  [[nodiscard]] const Candidate* recommended() const noexcept;
};

/// Whether the engine knows the architecture. Of other engines than Hearth it is assumed.
[[nodiscard]] bool engine_runs(const CatalogModel& model, std::string_view engine);

/// The residencies that an engine has on a machine, best first.
[[nodiscard]] std::vector<Residency> residencies(const machine::Machine& machine,
                                                 const Workload& workload, std::string_view engine);

/// The best residency's estimate. Those that do not fit are compared by their need. Throws Error
/// when the machine lacks the numbers for all of them.
[[nodiscard]] Estimate best_estimate(const Workload& workload, const machine::Machine& machine,
                                     Conditions conditions);

/// One model in one format.
[[nodiscard]] Candidate consider(const CatalogModel& model, const Quantization& quant,
                                 const Uses& uses, const Use& use, const machine::Machine& machine,
                                 const Request& request);

/// All formats of a model, best value first.
[[nodiscard]] std::vector<Candidate> consider_all(const CatalogModel& model, const Uses& uses,
                                                  const Use& use, const machine::Machine& machine,
                                                  const Request& request);

/// The models that suit the use. `catalog` must outlive the ranking.
[[nodiscard]] Ranking rank(const Catalog& catalog, const Uses& uses,
                           const machine::Machine& machine, const Request& request);

}  // namespace hearth::plan
