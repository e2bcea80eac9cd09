// What a machine makes of a workload: memory, times and speeds, each with what limits it and how
// far off it may be.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "machine/machine.h"
#include "plan/workload.h"

namespace hearth::plan {

/// Where weights live.
enum class Residency {
  kMemory,    // all in main memory, computed by the processor
  kDevice,    // all in a graphics processor's memory
  kSplit,     // layers divided between the two
  kExperts,   // experts in main memory, the rest on the graphics processor
  kStreamed,  // experts read from disk through a cache in main memory
};
[[nodiscard]] std::string name(Residency residency);

struct Conditions {
  /// "hearth", "llama.cpp", "ollama", "mlx", "lm studio" …: whose efficiency.
  std::string engine = "hearth";
  Residency residency = Residency::kMemory;
  std::string kv_type = "F16";
  std::int64_t context = 8192;  // cells that memory is reserved for
  std::int64_t prompt = 512;    // tokens of the prompt that prefill speed is asked for
  std::vector<std::int64_t> depths = {0, 4096, 32768};
  int threads = 0;  // 0: all usable cores
  /// Most bytes of memory for keys and values, and of a file for what has no room there, as in
  /// spec::Setup; of engine "hearth" in main memory only. 0: no bound.
  std::uint64_t kv_budget = 0, kv_disk = 0;
  /// Leaves out depths beyond the context and adds its end: for a budget, which divides this one.
  void end_at_context();
};

/// Tokens per second, and the range that about nine of ten machines fall into.
struct Speed {
  double tps = 0, low = 0, high = 0;
  std::string limited_by;  // "memory bandwidth", "arithmetic", "attention", "disk", "link" …
};

struct SpeedAt {
  std::int64_t depth = 0;
  Speed decode, prefill;
};

/// Bytes.
struct MemoryNeed {
  double weights = 0, kv = 0, state = 0, buffers = 0;
  double device = 0;  // of the total, what lies on a graphics processor
  double disk = 0;    // not in the total: the file of keys and values that have no room in `kv`
  [[nodiscard]] double total() const noexcept { return weights + kv + state + buffers; }
};

struct Estimate {
  Residency residency = Residency::kMemory;
  MemoryNeed memory;
  bool fits = false;
  bool kv_fits = true;               // false: Conditions::kv_budget or kv_disk is too small
  std::int64_t largest_context = 0;  // that fits; 0: not even the weights do
  double kv_bytes_per_token = 0;
  /// What decoding a token at the end of the context reads from the disk.
  double disk_bytes_per_token = 0;
  double load_seconds = 0;
  double first_token_seconds = 0;  // prompt of Conditions::prompt tokens, weights loaded
  std::vector<SpeedAt> speeds;     // by Conditions::depths
  std::vector<std::string>
      inputs;  // what it rests on, for people: "read bandwidth 55 GB/s, measured"
};

/// By counted work and this engine's measured kernels where the machine has them
/// (Machine::kernels, engine "hearth"); otherwise by plan/hardware_class.h's efficiencies. Throws
/// Error when the machine lacks what the residency needs.
[[nodiscard]] Estimate estimate(const Workload& workload, const machine::Machine& machine,
                                const Conditions& conditions);

}  // namespace hearth::plan
