#include "plan/together.h"

#include <fmt/format.h>

#include <algorithm>

#include "support/error.h"

namespace hearth::plan {
namespace {

/// The formats of one member, from small to large; only those that are better than all smaller.
std::vector<Candidate> ladder(const Member& member, const Uses& uses,
                              const machine::Machine& machine) {
  const Use& use = uses.use(member.request.use);
  std::vector<Candidate> all = consider_all(*member.model, uses, use, machine, member.request);
  if (!member.quant.empty()) {
    std::erase_if(all, [&](const Candidate& c) { return c.quant.name != member.quant; });
  }
  if (all.empty()) {
    throw Error(member.quant.empty()
                    ? fmt::format("the size of {} is not known", member.model->name)
                    : fmt::format("{} is not known in the format '{}'", member.model->name,
                                  printable(member.quant)),
                fmt::format("see hearth catalog show {}", member.model->name), ExitCode::kUsage);
  }
  std::sort(all.begin(), all.end(), [](const Candidate& a, const Candidate& b) {
    return a.estimate.memory.total() < b.estimate.memory.total();
  });
  std::vector<Candidate> steps;
  for (Candidate& candidate : all) {
    if (steps.empty() || candidate.value > steps.back().value)
      steps.push_back(std::move(candidate));
  }
  return steps;
}

}  // namespace

Together plan_together(const std::vector<Member>& members, const Uses& uses,
                       const machine::Machine& machine) {
  std::vector<std::vector<Candidate>> ladders;
  std::vector<std::size_t> chosen(members.size(), 0);
  Together result;
  result.budget_bytes = static_cast<double>(machine.memory.available_bytes);
  for (const Member& member : members) {
    ladders.push_back(ladder(member, uses, machine));
    result.memory_bytes += ladders.back().front().estimate.memory.total();
  }
  for (;;) {
    // The step up that buys most per byte among those that fit.
    std::size_t best = members.size(), target = 0;
    double most = 0;
    for (std::size_t i = 0; i < members.size(); ++i) {
      const Candidate& now = ladders[i][chosen[i]];
      for (std::size_t step = chosen[i] + 1; step < ladders[i].size(); ++step) {
        const Candidate& next = ladders[i][step];
        const double bytes = next.estimate.memory.total() - now.estimate.memory.total();
        if (result.memory_bytes + bytes > result.budget_bytes) break;
        const double gain = (next.value - now.value) / std::max(bytes, 1.0);
        if (gain <= most) continue;
        most = gain;
        best = i;
        target = step;
      }
    }
    if (best == members.size()) break;
    result.memory_bytes += ladders[best][target].estimate.memory.total() -
                           ladders[best][chosen[best]].estimate.memory.total();
    chosen[best] = target;
  }
  for (std::size_t i = 0; i < members.size(); ++i) {
    Candidate& candidate = ladders[i][chosen[i]];
    const Candidate* alone = nullptr;
    for (const Candidate& other : ladders[i]) {
      if (other.fits && (alone == nullptr || other.value > alone->value)) alone = &other;
    }
    if (alone != nullptr && alone->value > candidate.value) {
      result.compromises.push_back(fmt::format("{}: {} instead of {}, so that all fit",
                                               candidate.model->name, candidate.quant.name,
                                               alone->quant.name));
    }
    result.members.push_back(candidate);
  }
  result.fits = result.memory_bytes <= result.budget_bytes;
  return result;
}

}  // namespace hearth::plan
