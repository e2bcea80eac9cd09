// What a format of keys and values makes of the bytes that a workload states for F16.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "machine/machine.h"
#include "plan/estimate.h"
#include "plan/workload.h"

namespace hearth::plan {

/// The cost of the KV format named `kv_type` (spec::parse_kv_format): counted where the workload
/// has it, else guessed for heads of 128. Throws Error for an unknown name.
[[nodiscard]] KvCost kv_cost(const Workload& workload, std::string_view kv_type);

/// What a format keeps of the quality, as `hearth eval kv` measured it (docs/kv.md).
struct KvQuality {
  std::string_view format;
  /// KL divergence of attention from exact keys' on made keys, heads of 128: alike in all channels,
  /// and with outlier channels and a large shared component.
  double divergence = 0, divergence_hard = 0;
};
/// The measurement behind the numbers: what was done, and when.
[[nodiscard]] std::string_view kv_quality_source() noexcept;
/// Formats worth choosing, the best first.
[[nodiscard]] std::vector<KvQuality> kv_qualities();

/// A format that could be chosen instead.
struct KvOffer {
  std::string format;
  Estimate estimate;  // under the same conditions but for the format
  KvQuality quality;
};
/// F16 and the formats worth choosing, for this engine on the processor. Empty where the workload
/// keeps nothing that grows with the context.
[[nodiscard]] std::vector<KvOffer> kv_offers(const Workload& workload,
                                             const machine::Machine& machine,
                                             const Conditions& conditions);

}  // namespace hearth::plan
