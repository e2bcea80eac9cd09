// What to tell about a ranking: why the choice, what else to know, what an upgrade would bring, and
// when the cloud is the better answer.
#pragma once

#include <string>
#include <vector>

#include "machine/machine.h"
#include "plan/catalog.h"
#include "plan/rank.h"
#include "plan/uses.h"

namespace hearth::plan {

/// One change of the machine and what would then be recommended.
struct Upgrade {
  std::string change;  // "twice the memory (32 GB)"
  std::string model, quant, engine;
  double decode_tps = 0, quality = 0;
  bool better = false;  // than what is recommended without it
  std::string sentence;
};

struct Advice {
  /// In a sentence or two why the recommended model; empty when there is none.
  std::string why;
  std::vector<std::string> notes;  // of uses.json and of this machine's state
  std::vector<Upgrade> upgrades;
  std::string cloud;  // why the cloud is the better answer; empty: it is not
};

/// `ranking` must be of these arguments. Upgrades rank the catalog anew for each.
[[nodiscard]] Advice advise(const Catalog& catalog, const Uses& uses,
                            const machine::Machine& machine, const Request& request,
                            const Ranking& ranking);

/// "fits into 5.4 of 7.0 GB, 17 tokens/s …": why this candidate is where it is.
[[nodiscard]] std::string why(const Candidate& candidate, const machine::Machine& machine);

}  // namespace hearth::plan
