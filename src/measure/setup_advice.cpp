#include "measure/setup_advice.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <thread>

#include "machine/cpu.h"
#include "machine/disks.h"
#include "machine/system_files.h"
#include "support/elapsed.h"
#include "support/error.h"
#include "support/units.h"

namespace hearth::measure {
namespace {

constexpr double kSlowDisk = 0.5e9;    // bytes per second: 8 GB take 16 s
constexpr double kBusy = 0.3;          // processors
constexpr std::size_t kMostNamed = 3;  // programs

double in_gigabytes(std::uint64_t bytes) { return static_cast<double>(bytes) / kGiga; }

/// Collects what applies, in this order.
class Adviser {
 public:
  explicit Adviser(const SetupFacts& facts) : facts_(facts), machine_(facts.machine) {}

  std::vector<Advice> run() {
    swap();
    free_memory();
    other_programs();
    heat();
    cores();
    memory_limit();
    huge_pages();
    governor();
    battery();
    model_disk();
    return std::move(advice_);
  }

 private:
  void add(const char* name, std::string what, std::string fix) {
    advice_.push_back({name, std::move(what), std::move(fix)});
  }

  void swap() {
    const auto used = machine_.memory.swap_used_bytes;
    if (used < 200'000'000 || used < machine_.memory.total_bytes / 50) return;
    add("swap",
        fmt::format("{:.1f} GB of memory are swapped out: a model that is swapped out is read "
                    "from the disk for every token",
                    in_gigabytes(used)),
        "close programs until nothing is swapped, or choose a smaller model");
  }

  void free_memory() {
    const auto total = machine_.memory.total_bytes, available = machine_.memory.available_bytes;
    if (total == 0 || (available >= 2'000'000'000 && available >= total / 3)) return;
    add("memory",
        fmt::format("only {:.1f} of {:.1f} GB of memory are available", in_gigabytes(available),
                    in_gigabytes(total)),
        "close programs that hold memory (browsers and containers, mostly)");
  }

  void other_programs() {
    if (facts_.others_processors >= kBusy) {
      std::string names;
      std::size_t named = 0;
      for (const machine::BusyProcess& other : facts_.others) {
        if (other.processors < kBusy / 3 || named == kMostNamed) break;
        names += fmt::format("{}{} (process {})",
                             named++ > 0 ? ", " : "; the busiest: ", printable(other.name, 40),
                             other.number);
      }
      add("busy",
          fmt::format("other programs keep {:.1f} of {} processors busy{}",
                      facts_.others_processors, facts_.online_processors, names),
          "let them end or end them while a model runs");
    }
    if (facts_.stolen_processors >= kBusy) {
      add("stolen",
          fmt::format("the machine below this virtual one gives {:.1f} of its processors to others",
                      facts_.stolen_processors),
          "run fewer virtual machines beside this one, or rent processors of its own");
    }
    const std::uint64_t total = machine_.memory.total_bytes;
    std::size_t large = 0;
    for (const machine::BusyProcess& other : facts_.others) {
      if (total == 0 || other.resident_bytes < total / 5 || ++large > kMostNamed) continue;
      add("large-program",
          fmt::format("{} (process {}) holds {:.1f} GB of memory", printable(other.name, 40),
                      other.number, in_gigabytes(other.resident_bytes)),
          "end it when a model needs the memory");
    }
  }

  void heat() {
    if (!machine_.power.throttled) return;
    add("heat", "the processor was slowed down for heat since it was started",
        "clean its fan and give it air; until then use one thread less (--threads)");
  }

  void cores() {
    const double quota = machine_.limits.processors;
    if (quota > 0 && quota < facts_.usable_processors) {
      add("quota",
          fmt::format("the container or service may use {:g} of {} processors", quota,
                      facts_.usable_processors),
          "raise its limit (docker run --cpus, CPUQuota= of systemd) if the machine is yours");
    } else if (facts_.usable_processors > 0 &&
               facts_.usable_processors < facts_.online_processors) {
      add("affinity",
          fmt::format("this program may use {} of {} processors", facts_.usable_processors,
                      facts_.online_processors),
          "start it without taskset, or with more processors (docker run --cpuset-cpus)");
    }
  }

  void memory_limit() {
    const auto limit = machine_.limits.memory_bytes;
    // A limit that is no tighter than the machine takes nothing away.
    if (limit == 0 || limit > machine_.memory.total_bytes) return;
    add("memory-limit",
        fmt::format("the container or service may use {:.1f} GB of memory", in_gigabytes(limit)),
        "raise its limit (docker run --memory, MemoryMax= of systemd) to run larger models");
  }

  void huge_pages() {
    if (machine_.memory.huge_pages != "never") return;
    add("huge-pages",
        "huge pages are switched off: weights are read about a fifth more slowly without",
        "echo madvise | sudo tee /sys/kernel/mm/transparent_hugepage/enabled");
  }

  void governor() {
    const std::string& governor = machine_.power.governor;
    if (governor != "powersave" && governor != "conservative") return;
    add("governor",
        fmt::format("the processor's governor is {}: it may run below its highest clock",
                    printable(governor, 40)),
        "sudo cpupower frequency-set -g performance, or the desktop's power mode");
  }

  void battery() {
    if (machine_.power.source != "battery") return;
    add("battery",
        machine_.power.battery_percent >= 0
            ? fmt::format("the machine runs on its battery ({} %): most are slower then",
                          machine_.power.battery_percent)
            : std::string("the machine runs on its battery: most are slower then"),
        "plug it in for full speed");
  }

  void model_disk() {
    const machine::Disk& disk = facts_.models;
    if (disk.path.empty()) return;
    const std::string folder = printable(disk.path, 200);
    const bool measured = disk.sequential_bytes_per_second > 0;
    if (measured && disk.sequential_bytes_per_second < kSlowDisk) {
      add("slow-disk",
          fmt::format("models in {} are read at {:.0f} MB/s", folder,
                      disk.sequential_bytes_per_second / 1e6),
          "keep models on a faster disk: set XDG_DATA_HOME to a folder there");
    } else if (!measured && (disk.kind == "hdd" || disk.kind == "network")) {
      add("slow-disk",
          fmt::format("models in {} are on a {}", folder,
                      disk.kind == "hdd" ? "disk that spins" : "network file system"),
          "keep models on a faster disk: set XDG_DATA_HOME to a folder there");
    } else if (disk.kind == "memory") {
      add("disk-in-memory",
          fmt::format("models in {} lie in memory, which they take from the running model", folder),
          "keep models on a disk: set XDG_DATA_HOME to a folder there");
    }
    if (disk.free_bytes < 5'000'000'000) {
      add("full-disk",
          fmt::format("only {:.1f} GB are free for models in {}", in_gigabytes(disk.free_bytes),
                      folder),
          "remove what is not needed, or set XDG_DATA_HOME to a folder on a larger disk");
    }
  }

  const SetupFacts& facts_;
  const machine::Machine& machine_;
  std::vector<Advice> advice_;
};

}  // namespace

std::vector<Advice> setup_advice(const SetupFacts& facts) { return Adviser(facts).run(); }

SetupFacts setup_facts(machine::Machine machine, const std::string& models_folder, double seconds) {
  const machine::SystemFiles files;
  SetupFacts facts;
  const std::vector<machine::Disk> disks = machine::disks_of(files, {models_folder});
  if (!disks.empty()) {
    facts.models = disks.front();
    // Speeds were measured under the path of another folder, perhaps.
    for (const machine::Disk& disk : machine.disks) {
      const auto same = machine::disks_of(files, {disk.path, facts.models.path});
      if (same.size() != 1) continue;
      facts.models.sequential_bytes_per_second = disk.sequential_bytes_per_second;
      facts.models.random = disk.random;
    }
    facts.models.path = models_folder;
  }
  facts.usable_processors = machine::usable_processors();
  facts.online_processors = machine::online_processors(files);
  const auto begin = std::chrono::steady_clock::now();
  const auto before = machine::process_states(files);
  const machine::ProcessorTime time_before = machine::processor_time(files);
  std::this_thread::sleep_for(std::chrono::duration<double>(seconds));
  const auto after = machine::process_states(files);
  const double elapsed = seconds_since(begin);
  const machine::ProcessorTime time_after = machine::processor_time(files);
  if (elapsed > 0.01) {  // times come in hundredths of a second
    facts.others_processors =
        (time_after.busy - time_after.own - time_before.busy + time_before.own) / elapsed;
    facts.stolen_processors = (time_after.stolen - time_before.stolen) / elapsed;
  }
  facts.others =
      machine::busy_processes(before, after, elapsed, kBusy / 3,
                              std::max<std::uint64_t>(machine.memory.total_bytes / 5, 1));
  facts.machine = std::move(machine);
  return facts;
}

}  // namespace hearth::measure
