#include "plan/processor_estimate.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <cmath>
#include <cstdio>
#include <map>
#include <utility>

#include "plan/kv_cost.h"
#include "plan/kv_disk.h"
#include "spec/setup.h"
#include "state/page_disk.h"
#include "state/snapshots.h"
#include "support/error.h"
#include "tensor/dtype.h"

namespace hearth::plan {

using machine::EngineSpeed;
using machine::KernelSpeed;
using machine::Machine;

namespace {

// Beyond what the engine reports: the program itself, the tokenizer, pages of the file
// (docs/benchmarks.md, "Memory and loading").
constexpr double kProgramBytes = 64e6;
constexpr double kPassRows = spec::kPassRows, kPageCells = state::kPageCells;
// Cells that a windowed memory keeps behind the window and for a pass; both ends may be in the
// middle of a page (state/memory.cpp).
constexpr double kWindowMore = 64 + kPassRows;
// The measurements that docs/benchmarks.md lists ("Planner") are within these shares of what was
// predicted.
constexpr double kDecodeSlower = 0.85, kDecodeFaster = 1.3;
constexpr double kPrefillSlower = 0.85, kPrefillFaster = 1.2;

struct Relative {
  std::string_view format;
  std::array<std::string_view, 3> nearest;
};
/// Formats that are computed alike: of one family of kernels, else of nearly as many bits.
constexpr Relative kRelatives[] = {
    {"Q4_1", {"Q4_0", "Q4_K", "Q8_0"}},
    {"Q5_1", {"Q5_0", "Q5_K", "Q4_0"}},
    {"Q5_0", {"Q5_K", "Q4_0", "Q8_0"}},
    {"Q4_0", {"Q4_K", "Q8_0", ""}},
    {"Q8_1", {"Q8_0", "", ""}},
    {"IQ4_NL", {"IQ4_XS", "Q4_0", "Q4_K"}},
    {"IQ4_XS", {"Q4_K", "Q4_0", ""}},
    {"NVFP4", {"MXFP4", "IQ4_XS", "Q4_0"}},
    {"MXFP4", {"IQ4_XS", "Q4_0", "Q4_K"}},
    {"Q5_K", {"Q4_K", "Q6_K", ""}},
    {"Q6_K", {"Q5_K", "Q4_K", ""}},
    {"Q4_K", {"Q5_K", "Q6_K", "Q8_0"}},
    {"Q3_K", {"Q4_K", "Q6_K", ""}},
    {"Q2_K", {"Q3_K", "Q4_K", ""}},
    {"IQ3_XXS", {"IQ3_S", "Q3_K", "Q4_K"}},
    {"IQ3_S", {"Q3_K", "Q4_K", ""}},
    {"IQ2_XXS", {"IQ3_S", "Q2_K", "Q4_K"}},
    {"IQ2_XS", {"IQ3_S", "Q2_K", "Q4_K"}},
    {"IQ2_S", {"IQ3_S", "Q2_K", "Q4_K"}},
    {"IQ1_S", {"Q2_K", "Q4_K", ""}},
    {"IQ1_M", {"Q2_K", "Q4_K", ""}},
    {"TQ1_0", {"Q2_K", "Q4_K", ""}},
    {"TQ2_0", {"Q2_K", "Q4_K", ""}},
    {"Q1_0", {"Q2_K", "Q4_K", ""}},
    {"Q2_0", {"Q2_K", "Q4_K", ""}},
    {"F16", {"BF16", "F32", ""}},
    {"BF16", {"F16", "F32", ""}},
    {"F64", {"F32", "", ""}},
    {"F32", {"F16", "BF16", ""}},
};

const KernelSpeed* find(const Machine& machine, std::string_view format) {
  for (const KernelSpeed& kernel : machine.kernels) {
    if (kernel.format == format) return &kernel;
  }
  return nullptr;
}

double bytes_per_weight(std::string_view format) {
  const auto dtype = tensor::dtype_from_name(std::string(format));
  if (!dtype) return 1;
  const tensor::DTypeInfo& info = tensor::info(*dtype);
  return static_cast<double>(info.block_bytes) / info.block_elements;
}

std::string number(const char* format, double value) {
  char text[64];
  std::snprintf(text, sizeof text, format, value);
  return text;
}

/// amount / speed, nothing where the speed is not known.
double over(double amount, double speed) { return speed > 0 ? amount / speed : 0; }

/// Seconds by what they are spent on.
struct ProcessorSeconds {
  double bandwidth = 0;   // weights whose format is read about as fast as memory is
  double arithmetic = 0;  // others, and products of many rows
  double attention = 0;
  double overhead = 0;
  double waiting = 0;  // for keys and values from a disk, beyond all that
  [[nodiscard]] double total() const {
    return bandwidth + arithmetic + attention + overhead + waiting;
  }
  [[nodiscard]] std::string limit() const {
    if (waiting > 0) return "disk";
    const std::array<std::pair<double, const char*>, 4> parts = {{{bandwidth, "memory bandwidth"},
                                                                  {arithmetic, "arithmetic"},
                                                                  {attention, "attention"},
                                                                  {overhead, "overhead"}}};
    return std::max_element(parts.begin(), parts.end())->second;
  }
};

class ProcessorEstimator {
 public:
  ProcessorEstimator(const Workload& work, const Machine& machine, const Conditions& conditions)
      : work_(work),
        machine_(machine),
        conditions_(conditions),
        engine_(machine.engine),
        kv_(kv_cost(work, conditions.kv_type)),
        disk_rate_(disk_rate(machine)),
        division_(divide_kv(kv_need(static_cast<double>(conditions.context)),
                            static_cast<double>(conditions.kv_budget))) {
    for (const auto* formats : {&work.bytes_by_format, &work.multiply_adds_by_format}) {
      for (const auto& entry : *formats) {
        if (!speeds_.contains(entry.first)) {
          speeds_[entry.first] = format_speed(machine, entry.first);
        }
      }
    }
    const int cores = machine.cpu.usable_cores;
    if (conditions.threads > 0 && cores > 0 && conditions.threads < cores) slow_down(cores);
  }

  Estimate run() {
    Estimate estimate;
    estimate.residency = Residency::kMemory;
    memory(estimate);
    estimate.load_seconds = load_seconds();
    const auto prompt = static_cast<double>(std::max<std::int64_t>(1, conditions_.prompt));
    estimate.first_token_seconds = prefill(prompt, 0).total() + decode_sampling();
    for (const std::int64_t depth : conditions_.depths) {
      const auto past = static_cast<double>(depth);
      SpeedAt at;
      at.depth = depth;
      at.prefill = speed(prefill(prompt, past), prompt, kPrefillSlower, kPrefillFaster);
      if (work_.active_bytes > 0) {
        at.decode = speed(decode(past), 1, kDecodeSlower, kDecodeFaster);
      }
      estimate.speeds.push_back(std::move(at));
    }
    inputs(estimate);
    return estimate;
  }

 private:
  static Speed speed(const ProcessorSeconds& seconds, double tokens, double slower, double faster) {
    const double tps = tokens / seconds.total();
    return {tps, tps * slower, tps * faster, seconds.limit()};
  }
  void slow_down(int cores);
  [[nodiscard]] double decode_sampling() const {
    return over(work_.vocabulary, engine_.logits_per_second);
  }
  [[nodiscard]] ProcessorSeconds decode(double past) const;
  [[nodiscard]] ProcessorSeconds prefill(double tokens, double past) const;
  [[nodiscard]] ProcessorSeconds pass(double rows, double past) const;
  void read_weights(const std::map<std::string, double>& bytes, ProcessorSeconds& into) const;
  void memory(Estimate& estimate) const;
  [[nodiscard]] KvNeed kv_need(double context) const;
  [[nodiscard]] double from_disk(double cells) const;
  void wait_for_disk(ProcessorSeconds& seconds, double cells) const;
  [[nodiscard]] double load_seconds() const;
  void inputs(Estimate& estimate) const;

  const Workload& work_;
  const Machine& machine_;
  const Conditions& conditions_;
  EngineSpeed engine_;
  std::map<std::string, FormatSpeed> speeds_;
  KvCost kv_;
  double disk_rate_ = 0;  // 0: not known
  KvDivision division_;   // of the whole context
};

/// Fewer threads than were measured: arithmetic in proportion; memory as it was measured with so
/// many threads, else in proportion, too.
void ProcessorEstimator::slow_down(int cores) {
  const double arithmetic = static_cast<double>(conditions_.threads) / cores;
  double memory = arithmetic;
  for (const machine::ReadSpeed& read : machine_.reads) {
    if (read.threads != conditions_.threads || machine_.read_bytes_per_second <= 0) continue;
    memory = std::clamp(read.bytes_per_second / machine_.read_bytes_per_second, arithmetic, 1.0);
  }
  for (auto& [format, speed] : speeds_) {
    speed.prefill_multiply_adds *= arithmetic;
    speed.decode_bytes_per_second *= memory;
  }
  for (double* rate : {&engine_.kv_multiply_adds, &engine_.row_values_per_second,
                       &engine_.stored_values_per_second, &engine_.attention_multiply_adds,
                       &engine_.attention_values_per_second, &engine_.scan_multiply_adds,
                       &engine_.pack_bytes_per_second}) {
    *rate *= arithmetic;
  }
  engine_.kv_bytes_per_second *= memory;
}

/// One row times every matrix.
void ProcessorEstimator::read_weights(const std::map<std::string, double>& bytes,
                                      ProcessorSeconds& into) const {
  for (const auto& [format, count] : bytes) {
    const double rate = speeds_.at(format).decode_bytes_per_second;
    const double limit = machine_.read_bytes_per_second;
    (limit > 0 && rate < 0.8 * limit ? into.arithmetic : into.bandwidth) += count / rate;
  }
}

/// One token behind `past` others.
ProcessorSeconds ProcessorEstimator::decode(double past) const {
  ProcessorSeconds seconds;
  read_weights(work_.bytes_by_format, seconds);
  if (engine_.expert_decode_fraction > 0) {
    for (const auto& [format, multiply_adds] : work_.expert_multiply_adds_by_format) {
      const double alone =
          multiply_adds * bytes_per_weight(format) / speeds_.at(format).decode_bytes_per_second;
      seconds.bandwidth += alone * (1 / engine_.expert_decode_fraction - 1);
    }
  }
  const double cells = past + 1;
  const double seen = std::min(cells, static_cast<double>(work_.window));
  seconds.attention =
      over(
          kv_.per_token * work_.kv_read_bytes * cells + kv_.window * work_.window_read_bytes * seen,
          engine_.kv_bytes_per_second) +
      over(work_.attention_multiply_adds * cells + work_.window_multiply_adds * seen,
           engine_.kv_multiply_adds) +
      work_.attentions * engine_.attention_seconds;
  seconds.arithmetic += over(work_.scan_multiply_adds, engine_.scan_multiply_adds);
  seconds.overhead =
      work_.products * engine_.product_seconds +
      (work_.operations - work_.products - work_.attentions) * engine_.operation_seconds +
      decode_sampling();
  wait_for_disk(seconds, cells);
  return seconds;
}

/// What a pass over so many cells reads. Layers that share a memory read it each for themselves.
double ProcessorEstimator::from_disk(double cells) const {
  const double kept = kv_.per_token * work_.kv_bytes_per_token;
  if (division_.disk <= 0 || kept <= 0) return 0;
  const double reads = work_.kv_read_bytes > 0 ? work_.kv_read_bytes / work_.kv_bytes_per_token : 1;
  return reads * division_.read(kept * std::ceil(cells / kPageCells) * kPageCells);
}

void ProcessorEstimator::wait_for_disk(ProcessorSeconds& seconds, double cells) const {
  const double bytes = from_disk(cells);
  if (bytes <= 0) return;
  seconds.waiting = disk_wait(bytes, disk_rate_ > 0 ? disk_rate_ : kUnknownDisk, seconds.total());
}

/// A prompt behind `past` tokens, in passes as the engine makes them.
ProcessorSeconds ProcessorEstimator::prefill(double tokens, double past) const {
  ProcessorSeconds seconds;
  for (double done = 0; done < tokens; done += kPassRows) {
    const ProcessorSeconds part = pass(std::min(kPassRows, tokens - done), past + done);
    seconds.bandwidth += part.bandwidth;
    seconds.arithmetic += part.arithmetic;
    seconds.attention += part.attention;
    seconds.overhead += part.overhead;
    seconds.waiting += part.waiting;
  }
  read_weights(work_.last_bytes_by_format, seconds);
  return seconds;
}

ProcessorSeconds ProcessorEstimator::pass(double rows, double past) const {
  ProcessorSeconds seconds;
  const double met = rows * work_.expert_share;  // rows per expert
  const double fraction = expert_fraction(engine_, met);
  for (const auto& [format, all] : work_.multiply_adds_by_format) {
    const FormatSpeed& speed = speeds_.at(format);
    const auto expert = work_.expert_multiply_adds_by_format.find(format);
    const double chosen = expert == work_.expert_multiply_adds_by_format.end() ? 0 : expert->second;
    // However few the rows, every matrix that meets one is read.
    const double weight = bytes_per_weight(format) / speed.decode_bytes_per_second;
    seconds.arithmetic +=
        std::max(rows * (all - chosen) / speed.prefill_multiply_adds, (all - chosen) * weight);
    if (chosen == 0) continue;
    const double touched = std::min(rows, (1 - std::exp(-met)) / work_.expert_share);
    seconds.arithmetic += std::max(rows * chosen / (speed.prefill_multiply_adds * fraction),
                                   touched * chosen * weight);
  }
  // What the rows see, on average.
  const double cells = past + (rows + 1) / 2;
  const auto window = static_cast<double>(work_.window);
  const double seen = std::min(cells, window);
  seconds.attention =
      over(rows * (work_.attention_multiply_adds * cells + work_.window_multiply_adds * seen),
           engine_.attention_multiply_adds) +
      over(rows * work_.attention_values, engine_.attention_values_per_second);
  seconds.arithmetic += over(rows * work_.scan_multiply_adds, engine_.scan_multiply_adds);
  seconds.overhead = over(rows * work_.row_values, engine_.row_values_per_second) +
                     over(rows * work_.stored_values, engine_.stored_values_per_second) +
                     work_.operations * engine_.operation_seconds;
  wait_for_disk(seconds, past + rows);
  return seconds;
}

KvNeed ProcessorEstimator::kv_need(double context) const {
  const double cells = std::ceil(context / kPageCells) * kPageCells;
  // What the sequence reaches, and what one chat's snapshots keep.
  const auto windowed = [&] {
    if (work_.window <= 0) return 0.0;
    const auto window = static_cast<double>(work_.window);
    const double held = std::floor((window + kWindowMore + 2 * kPageCells - 2) / kPageCells);
    const double snapshots = std::floor((window + 2 * kPageCells - 3) / kPageCells) +
                             static_cast<double>(state::kRecentWindowRows) / kPageCells;
    return std::min(cells, kPageCells * (held + snapshots));
  };
  KvNeed need;
  need.per_token = kv_.per_token * work_.kv_bytes_per_token;
  need.growing = need.per_token * cells;
  need.fixed = kv_.window * work_.window_bytes_per_token * windowed() + kv_.fixed;
  need.layers = work_.layers;
  need.context = static_cast<std::int64_t>(context);
  return need;
}

void ProcessorEstimator::memory(Estimate& estimate) const {
  MemoryNeed& need = estimate.memory;
  need.weights = work_.packed_bytes > 0 ? work_.packed_bytes : work_.weight_bytes;
  need.kv = division_.memory;
  need.disk = division_.disk;
  need.state = work_.state_memory_bytes;
  need.buffers = work_.buffer_bytes;
  estimate.kv_bytes_per_token = kv_.per_token * work_.kv_bytes_per_token;
  estimate.disk_bytes_per_token = from_disk(static_cast<double>(conditions_.context));
  const machine::MainMemory& memory = machine_.memory;
  const auto available =
      static_cast<double>(memory.available_bytes > 0 ? memory.available_bytes : memory.total_bytes);
  const double fixed = need.weights + need.state + need.buffers + kProgramBytes;
  const auto fits = [&](const KvDivision& kv) {
    return kv.within(conditions_.kv_disk) && fixed + kv.memory <= available;
  };
  estimate.fits = fits(division_);
  estimate.kv_fits = division_.within(conditions_.kv_disk);
  // Halving finds the largest context: KV only grows with it.
  std::int64_t fitting = 0;
  std::int64_t too_many = std::max<std::int64_t>(work_.trained_context, conditions_.context) + 1;
  while (fixed <= available && too_many - fitting > 1) {
    const std::int64_t middle = fitting + (too_many - fitting) / 2;
    const KvDivision kv =
        divide_kv(kv_need(static_cast<double>(middle)), static_cast<double>(conditions_.kv_budget));
    (fits(kv) ? fitting : too_many) = middle;
  }
  estimate.largest_context = fitting;
}

/// From the disk where its speed is known: reading and packing overlap. Else from the page cache.
double ProcessorEstimator::load_seconds() const {
  const double packing = over(work_.weight_bytes, engine_.pack_bytes_per_second);
  return std::max(packing, over(work_.weight_bytes, disk_rate_));
}

void ProcessorEstimator::inputs(Estimate& estimate) const {
  std::vector<std::string>& lines = estimate.inputs;
  lines.emplace_back(work_.source == "counted"
                         ? "bytes and multiply-adds counted by the engine's own layer code"
                         : "bytes and multiply-adds computed from the catalog's numbers");
  for (const auto& [format, bytes] : work_.bytes_by_format) {
    if (bytes < 0.02 * work_.active_bytes) continue;
    const FormatSpeed& speed = speeds_.at(format);
    std::string line = format;
    line += number(" kernels: %.1f GB/s for one row", speed.decode_bytes_per_second / 1e9);
    line += number(", %.0f G multiply-adds/s for 512", speed.prefill_multiply_adds / 1e9);
    line += speed.relative.empty() ? ", measured" : ", as " + speed.relative + " measured";
    lines.push_back(std::move(line));
  }
  if (machine_.read_bytes_per_second > 0) {
    lines.push_back(
        number("read bandwidth %.1f GB/s, measured", machine_.read_bytes_per_second / 1e9));
  }
  if (division_.disk <= 0) return;
  lines.push_back(disk_rate_ > 0 ? number("disk %.2g GB/s, measured", disk_rate_ / 1e9)
                                 : "disk 1 GB/s, guessed");
}

}  // namespace

bool has_measured_kernels(const Workload& workload, const Machine& machine,
                          const Conditions& conditions) noexcept {
  return conditions.engine == "hearth" && conditions.residency == Residency::kMemory &&
         !machine.kernels.empty() && !workload.multiply_adds_by_format.empty();
}

Estimate estimate_on_processor(const Workload& workload, const Machine& machine,
                               const Conditions& conditions) {
  return ProcessorEstimator(workload, machine, conditions).run();
}

FormatSpeed format_speed(const Machine& machine, std::string_view format) {
  if (const KernelSpeed* kernel = find(machine, format)) {
    return {kernel->decode_bytes_per_second, kernel->prefill_multiply_adds, {}};
  }
  const KernelSpeed* nearest = nullptr;
  for (const Relative& relative : kRelatives) {
    if (relative.format != format) continue;
    for (const std::string_view name : relative.nearest) {
      if (nearest == nullptr && !name.empty()) nearest = find(machine, name);
    }
  }
  if (nearest == nullptr) nearest = &machine.kernels.front();
  double bytes = nearest->decode_bytes_per_second * bytes_per_weight(format) /
                 bytes_per_weight(nearest->format);
  if (machine.read_bytes_per_second > 0) bytes = std::min(bytes, machine.read_bytes_per_second);
  return {bytes, nearest->prefill_multiply_adds, nearest->format};
}

double expert_fraction(const EngineSpeed& engine, double rows) noexcept {
  const auto& points = engine.experts;
  if (points.empty()) return 1;
  if (rows <= points.front().rows) {
    return points.front().fraction * std::max(0.1, rows / points.front().rows);
  }
  for (std::size_t i = 1; i < points.size(); ++i) {
    if (rows > points[i].rows) continue;
    const double part =
        std::log(rows / points[i - 1].rows) / std::log(points[i].rows / points[i - 1].rows);
    return points[i - 1].fraction + part * (points[i].fraction - points[i - 1].fraction);
  }
  // More rows gain as much again with every doubling, until there is nothing left to gain.
  if (points.size() < 2) return points.back().fraction;
  const machine::ExpertSpeed& last = points.back();
  const machine::ExpertSpeed& before = points[points.size() - 2];
  const double slope = (last.fraction - before.fraction) / std::log(last.rows / before.rows);
  return std::clamp(last.fraction + std::max(0.0, slope) * std::log(rows / last.rows),
                    last.fraction, std::max(1.0, last.fraction));
}

}  // namespace hearth::plan
