// The engine on a processor whose kernels were measured: counted bytes and multiply-adds, priced
// with the speeds that this engine's own operations had here (measure/kernel_speed.h). No number in
// it was fitted to a model.
#pragma once

#include <string>
#include <string_view>

#include "machine/machine.h"
#include "plan/estimate.h"
#include "plan/workload.h"

namespace hearth::plan {

/// Whether estimate_on_processor() can be asked: a workload by formats, in memory, by "hearth", on
/// a machine with measured kernels.
[[nodiscard]] bool has_measured_kernels(const Workload& workload, const machine::Machine& machine,
                                        const Conditions& conditions) noexcept;

/// Precondition: has_measured_kernels().
[[nodiscard]] Estimate estimate_on_processor(const Workload& workload,
                                             const machine::Machine& machine,
                                             const Conditions& conditions);

/// Speeds of a format: measured, or those of its nearest relative among the measured ones, whose
/// name is `relative` (else empty): as many multiply-adds per second, and as many weights per
/// second when a row is multiplied, but no more bytes than the memory gives.
struct FormatSpeed {
  double decode_bytes_per_second = 0, prefill_multiply_adds = 0;
  std::string relative;
};
/// Precondition: the machine has kernels.
[[nodiscard]] FormatSpeed format_speed(const machine::Machine& machine, std::string_view format);

/// How fast 512 rows are multiplied with chosen experts, as a fraction of one matrix's speed, when
/// `rows` meet each on average. 1 when it was not measured.
[[nodiscard]] double expert_fraction(const machine::EngineSpeed& engine, double rows) noexcept;

}  // namespace hearth::plan
