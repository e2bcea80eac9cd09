#include "plan/estimate.h"

#include "plan/hardware_class.h"
#include "plan/processor_estimate.h"

namespace hearth::plan {

std::string name(Residency residency) {
  switch (residency) {
    case Residency::kMemory:
      return "memory";
    case Residency::kDevice:
      return "device";
    case Residency::kSplit:
      return "split";
    case Residency::kExperts:
      return "experts";
    case Residency::kStreamed:
      return "streamed";
  }
  return "memory";
}

void Conditions::end_at_context() {
  std::erase_if(depths, [&](std::int64_t depth) { return depth >= context - 1; });
  if (context > 0) depths.push_back(context - 1);
}

Estimate estimate(const Workload& workload, const machine::Machine& machine,
                  const Conditions& conditions) {
  if (has_measured_kernels(workload, machine, conditions)) {
    return estimate_on_processor(workload, machine, conditions);
  }
  Estimate estimate = estimate_by_class(workload, machine, conditions);
  estimate.inputs.emplace_back(workload.source == "counted"
                                   ? "work counted from the model's header"
                                   : "work computed from the catalog's numbers");
  return estimate;
}

}  // namespace hearth::plan
