// Timing a model: prefill and decode at chosen depths, beside what this machine can do, measured in
// turn. The model is driven as `hearth run` drives it: by a generate::Session.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "compute/backend.h"
#include "compute/profile/profile_backend.h"
#include "gguf/file.h"
#include "spec/setup.h"
#include "tensor/dtype.h"

namespace hearth::measure {

/// What to time.
struct BenchPlan {
  std::int64_t prompt = 512;    // tokens of a prompt; 0: no prefill
  std::int64_t generated = 64;  // tokens that are generated; 0: no decode
  std::vector<std::int64_t> depths = {0};
  std::vector<int> batches = {1};  // sequences that are decoded together
  int rounds = 5;
  bool profile = false;
  /// Depths from this on are made up instead of evaluated (measure/made_past.h): attention takes as
  /// long, and they are there in seconds. Such contexts are driven without a session.
  std::int64_t made_up_from = std::numeric_limits<std::int64_t>::max();
  /// How the machine is measured: see MachineSpeed.
  std::size_t probe_bytes = std::size_t{512} << 20;
  double probe_seconds = 0.05;
  /// When it becomes true, Error (ExitCode::kInterrupted) is thrown before the next pass. May be
  /// null.
  const std::atomic<bool>* cancel = nullptr;
  /// Told what is under way, for people. May be empty.
  std::function<void(std::string_view)> on_progress;
};

/// Where the model comes from.
struct BenchModel {
  /// Opens it; called when the clock of load_ms runs.
  std::function<std::shared_ptr<gguf::File>()> open;
  /// Called when it is loaded; may be empty.
  std::function<void()> loaded;
};

/// Median of the rounds, and how far they were apart: (largest - smallest) / median.
struct Spread {
  double median = 0, spread = 0;
};
/// Precondition: not empty.
[[nodiscard]] Spread spread_of(std::vector<double> values);

struct BenchRow {
  std::int64_t depth = 0;
  int batch = 1;
  Spread prefill_tps, decode_tps;  // tokens per second; decode: of all sequences together
  /// Of the int8, bfloat16 and float32 peaks: multiply-adds of the weights that prefill applies, by
  /// its speed. 0 without prefill, or without such instructions.
  double prefill_fraction = 0, prefill_fraction_bf16 = 0, prefill_fraction_f32 = 0;
  /// Of the read bandwidth: bytes of weights, as stored in the file, and of KV that a pass reads,
  /// by its time.
  double decode_fraction = 0;
  std::uint64_t pass_weight_bytes = 0, pass_kv_bytes = 0;  // of one decoding pass
  std::uint64_t pass_state_bytes = 0;  // recurrent state, read and written: not in the fraction
  double prompt_multiply_adds = 0;     // of the whole prompt
  double read_bandwidth = 0;           // bytes per second
  double int8_peak = 0, bf16_peak = 0, f32_peak = 0;  // multiply-adds per second
  std::size_t rss_bytes = 0;  // of the process, without the buffer that bandwidth is measured with
  std::size_t anonymous_bytes = 0;                       // of it, not backed by a file
  compute::Profile prefill_profile{}, decode_profile{};  // with BenchPlan::profile: of all rounds
};

struct BenchResult {
  std::string type;     // what most bytes of the weights are stored in
  std::string kernels;  // of the backend
  int threads = 0;
  spec::KvFormat kv_type = tensor::DType::kF16;
  std::int64_t context = 0;
  double load_seconds = 0;  // from opening the file to the first token's logits
  std::size_t weights = 0, kv = 0, state = 0, buffers = 0, other = 0;  // allocated by the engine
  std::uint64_t file_bytes = 0;
  std::vector<BenchRow> rows;  // by depth, then by batch
};

/// Wraps a backend, which it keeps alive: to watch what is done with it.
using Decorator =
    std::function<std::shared_ptr<compute::Backend>(std::shared_ptr<compute::Backend>)>;

/// Loads and times a model. `setup` gives threads, formats and residency; its context is made large
/// enough. Throws Error: a model that does not continue texts, one that does not fit (exit code 3).
[[nodiscard]] BenchResult run_bench(const BenchModel& model, const spec::Setup& setup,
                                    const BenchPlan& plan, const Decorator& decorate = {});

}  // namespace hearth::measure
