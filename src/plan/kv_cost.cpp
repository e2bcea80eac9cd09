#include "plan/kv_cost.h"

#include <algorithm>

#include "plan/rank.h"
#include "spec/kv_format.h"

namespace hearth::plan {

namespace {

/// Bits per value of an usual head.
double part_bits(const spec::KvPartFormat& part) {
  constexpr std::int64_t kHead = 128;
  if (part.coded()) return quant::coded_bits_per_value(part.code, kHead);
  const tensor::DTypeInfo& info = tensor::info(part.type);
  return 8.0 * info.block_bytes / info.block_elements;
}

}  // namespace

KvCost kv_cost(const Workload& workload, std::string_view kv_type) {
  const spec::KvFormat format = spec::parse_kv_format(kv_type);
  if (const auto known = workload.kv_costs.find(format.name()); known != workload.kv_costs.end()) {
    return known->second;
  }
  constexpr double kHalf = 16;
  constexpr double kEightBits = 8.5;
  KvCost cost;
  const double bits = (part_bits(format.keys) + part_bits(format.values)) / 2;
  cost.per_token = bits / kHalf;
  cost.window = format.coded() ? kEightBits / kHalf : cost.per_token;
  if (!format.coded()) return cost;
  if (!format.uniform && workload.layers > 2) {
    const double edges = 2.0 / workload.layers;
    cost.per_token = (edges * kEightBits + (1 - edges) * bits) / kHalf;
  }
  constexpr double kRawCells = 12 * 64;  // of one sequence, whatever the context
  cost.fixed = workload.kv_bytes_per_token * kRawCells;
  return cost;
}

std::string_view kv_quality_source() noexcept {
  return "`hearth eval kv --synthetic`, heads of 128, 2026-11-21: KL divergence of attention on "
         "made keys, easy ones and ones with outlier channels and a shared component";
}

std::vector<KvQuality> kv_qualities() {
  return {{"F16", 1e-6, 1.4e-5},  {"Q8_0", 7e-5, 0.132},    {"q8_0:tq4", 1.3e-4, 4.6e-4},
          {"tq4", 0.0269, 0.115}, {"tq3.5", 0.0646, 0.272}, {"tq3", 0.104, 0.437}};
}

std::vector<KvOffer> kv_offers(const Workload& workload, const machine::Machine& machine,
                               const Conditions& conditions) {
  std::vector<KvOffer> offers;
  if (workload.kv_bytes_per_token <= 0 || conditions.engine != "hearth") return offers;
  for (const KvQuality& quality : kv_qualities()) {
    Conditions with = conditions;
    with.kv_type = quality.format;
    offers.push_back(
        {std::string(quality.format), best_estimate(workload, machine, with), quality});
  }
  return offers;
}

}  // namespace hearth::plan
