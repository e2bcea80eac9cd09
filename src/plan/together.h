// Several models in one memory: their formats are chosen ahead, so that all fit at once and none
// has to make room for another.
#pragma once

#include <string>
#include <vector>

#include "machine/machine.h"
#include "plan/rank.h"

namespace hearth::plan {

/// One of the models, and for what it is used.
struct Member {
  const CatalogModel* model = nullptr;
  std::string quant;  // empty: to be chosen
  Request request;
};

struct Together {
  std::vector<Candidate> members;  // in the order asked; estimates as if alone in the memory
  double memory_bytes = 0;         // of all
  double budget_bytes = 0;
  bool fits = false;
  /// What was given up for the others: "qwen3-8b: Q4_K_M instead of Q6_K".
  std::vector<std::string> compromises;
};

/// Begins with the smallest format of each and spends what is left of the memory where it buys most
/// quality per byte, weighed by `weight` of the use (embedding models and drafts are small and come
/// first by themselves). Throws Error when a model has no known size, or a format is unknown.
[[nodiscard]] Together plan_together(const std::vector<Member>& members, const Uses& uses,
                                     const machine::Machine& machine);

}  // namespace hearth::plan
