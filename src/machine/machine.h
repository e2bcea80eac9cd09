// A computer as the planner sees it: the one that was probed, or a described one. Plain data; the
// file format is measure/machine_file.h.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace hearth::machine {

/// Cores of one kind.
struct CoreKind {
  int cores = 0;
  int threads = 0;     // logical processors of these cores
  double max_ghz = 0;  // 0: unknown
  int efficiency = 0;  // higher is faster; 0 where all are alike
};

struct Processors {
  std::string name;
  std::vector<CoreKind> kinds;  // fastest first
  int usable_cores = 0;         // what Hearth would use: within affinity mask and quota
  int nodes = 1;                // of memory (NUMA)
  std::vector<std::string> instruction_sets;  // kernel sets that can run, best first
  std::uint64_t l1_bytes = 0, l2_bytes = 0, l3_bytes = 0;
};

struct MainMemory {
  std::uint64_t total_bytes = 0;      // or the container's limit when that is smaller
  std::uint64_t available_bytes = 0;  // without swapping
  std::uint64_t swap_total_bytes = 0, swap_used_bytes = 0;
  std::string huge_pages;  // "always", "madvise", "never"; empty: unknown
  /// The graphics processor works in the same memory (Apple, Strix Halo).
  bool unified = false;
};

/// Bytes per second of reading main memory with so many threads.
struct ReadSpeed {
  int threads = 0;
  bool huge_pages = false;
  double bytes_per_second = 0;
};

/// Measured on this engine's own kernels with weights of one format, all cores.
struct KernelSpeed {
  std::string format;  // "Q4_K"
  /// Bytes of weights, as stored in a file, per second of one row times a matrix that is larger
  /// than the caches.
  double decode_bytes_per_second = 0;
  /// Multiply-adds per second of 512 rows times that matrix.
  double prefill_multiply_adds = 0;
};

/// Products of rows with chosen experts, against one product of 512 rows with one matrix.
struct ExpertSpeed {
  double rows = 0;      // that meet an expert, on average
  double fraction = 0;  // of KernelSpeed::prefill_multiply_adds
};

/// What else this engine spends when it runs a model, measured as KernelSpeed is. 0: unknown.
struct EngineSpeed {
  // One row (decoding): seconds that an operation takes besides its bytes.
  double product_seconds = 0;  // a product with a matrix
  /// Bytes per second of chosen experts, as a fraction of one matrix's; 0: unknown.
  double expert_decode_fraction = 0;
  double operation_seconds = 0;  // norms, activations, sums …
  double attention_seconds = 0;
  // Attention of one row behind a long context: bytes of F16 keys and values, and multiply-adds;
  // the two times add up.
  double kv_bytes_per_second = 0, kv_multiply_adds = 0;
  // 512 rows (prompts).
  double row_values_per_second = 0;        // written by operations that are no products
  double stored_values_per_second = 0;     // keys and values put into an F16 memory
  double attention_multiply_adds = 0;      // per second, behind a long context
  double attention_values_per_second = 0;  // of its result: what it takes besides multiplying
  double scan_multiply_adds = 0;           // per second, of recurrent mixers (also decoding)
  std::vector<ExpertSpeed> experts;        // by rows, ascending
  // Others.
  double logits_per_second = 0;  // of the vocabulary, when a token is drawn
  double pack_bytes_per_second =
      0;  // of a file's weights in the page cache, when a model is loaded
};

struct RandomRead {
  std::uint32_t block_bytes = 0;
  int queue_depth = 1;
  double bytes_per_second = 0;
};

/// A file system that models can lie on.
struct Disk {
  std::string path;    // a folder on it
  std::string device;  // "nvme0n1"; empty: unknown
  std::string kind;    // "nvme", "ssd", "hdd", "virtual", "network", "memory" or "unknown"
  std::uint64_t total_bytes = 0, free_bytes = 0;
  double sequential_bytes_per_second = 0;  // direct reads; 0: not measured
  std::vector<RandomRead> random;
};

struct Gpu {
  std::string name, vendor, driver;
  std::string api;  // "cuda", "rocm", "vulkan", "metal"; empty: none found
  std::uint64_t memory_total_bytes = 0, memory_free_bytes = 0;
  double memory_bytes_per_second = 0;  // by the data sheet; 0: unknown
  double fp16_flops = 0;               // per second, dense, by the data sheet; 0: unknown
  double link_bytes_per_second = 0;    // to main memory; 0: unknown
  bool integrated = false;             // works in main memory
};

struct Npu {
  std::string name, device;
};

struct Limits {
  std::string container;           // "docker", "lxc", "cgroup" …; empty: none seen
  std::uint64_t memory_bytes = 0;  // 0: no limit
  double processors = 0;           // quota; 0: no limit
};

struct Power {
  std::string source = "unknown";  // "mains", "battery", "unknown"
  int battery_percent = -1;
  std::string governor;    // "performance", "powersave" …; empty: unknown
  bool throttled = false;  // the processor was slowed down for heat since it was started
};

struct Machine {
  std::string name;  // of a preset; else the processor's
  Processors cpu;
  MainMemory memory;
  /// The most bytes per second that all cores read from huge pages; 0: unknown.
  double read_bytes_per_second = 0;
  std::vector<ReadSpeed> reads;
  /// Multiply-adds per second of all cores; 0: unknown or no such instructions.
  double int8_multiply_adds = 0, bf16_multiply_adds = 0, f32_multiply_adds = 0;
  std::vector<KernelSpeed> kernels;
  EngineSpeed engine;  // measured together with `kernels`
  std::vector<Disk> disks;
  std::vector<Gpu> gpus;
  std::vector<Npu> npus;
  Limits limits;
  Power power;
  /// "apple" where speeds are those of Apple's chips, else empty.
  std::string family;
  /// Where the numbers come from when they were not measured here ("data sheet"); empty: measured.
  std::string source;
  std::int64_t measured_at = 0;  // seconds since 1970; 0: described, not measured
  /// Processors that other programs kept busy meanwhile; 0: too few to matter. Else all speeds of
  /// processors and memory are too low.
  double disturbed_by = 0;
};

}  // namespace hearth::machine
