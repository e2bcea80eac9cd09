#include "measure/probe.h"

#include <fmt/format.h>

#include <algorithm>
#include <ctime>
#include <optional>

#include "compute/cpu/cpu_backend.h"
#include "machine/cpu.h"
#include "machine/facts.h"
#include "machine/processes.h"
#include "machine/topology.h"
#include "measure/disk_speed.h"
#include "measure/kernel_speed.h"
#include "measure/machine_file.h"
#include "measure/machine_speed.h"
#include "measure/samples.h"
#include "support/error.h"
#include "support/file.h"
#include "support/set_aside.h"
#include "support/thread_team.h"

namespace hearth::measure {
namespace {

constexpr std::size_t kMebi = std::size_t{1} << 20;

std::string disturbance(const machine::Machine& machine) {
  return fmt::format(
      "other programs kept {:.1f} processors busy while this machine was measured, so its speeds "
      "are too low; run `hearth probe --refresh` when they are done",
      machine.disturbed_by);
}

/// One probe at work.
class Prober {
 public:
  explicit Prober(const ProbeOptions& options) : options_(options) {}

  ProbedMachine run() {
    say("looking at the machine");
    result_.machine = unmeasured_machine(options_);
    const machine::SystemFiles files;
    const double start = now();
    const machine::ProcessorTime before = machine::processor_time(files);
    {
      ThreadTeam team(machine::usable_cores(), machine::team_places(machine::usable_cores(), ""));
      measure_memory(team);
      measure_arithmetic(team);
    }
    measure_kernels();
    check_quiet(before, machine::processor_time(files), now() - start);
    measure_disks();
    result_.machine.measured_at = std::time(nullptr);
    return std::move(result_);
  }

 private:
  void say(std::string_view what) {
    if (options_.stop != nullptr && options_.stop->load()) {
      throw Error("interrupted", "", ExitCode::kInterrupted);
    }
    if (options_.progress) options_.progress(what);
  }

  /// Several times the caches, but no more than a small part of what is free. 0: not even that.
  [[nodiscard]] std::size_t buffer_bytes() const {
    const auto& machine = result_.machine;
    const std::size_t wanted =
        options_.memory_bytes > 0
            ? options_.memory_bytes
            : std::clamp<std::size_t>(4 * machine.cpu.l3_bytes, 256 * kMebi, 2048 * kMebi);
    const std::size_t room = machine.memory.available_bytes / 8;
    return room < 16 * kMebi ? 0 : std::min(wanted, room);
  }

  /// 1, 2, 4 … and all threads.
  static std::vector<int> thread_counts(int all) {
    std::vector<int> counts;
    for (int threads = 1; threads < all; threads *= 2) counts.push_back(threads);
    counts.push_back(all);
    return counts;
  }

  void measure_memory(ThreadTeam& team) {
    auto& machine = result_.machine;
    const std::size_t bytes = buffer_bytes();
    if (bytes == 0) {
      result_.remarks.emplace_back("the speed of memory was not measured: too little is free");
      return;
    }
    const std::vector<int> counts = thread_counts(team.size());
    const double each = options_.memory_seconds / static_cast<double>(2 * counts.size());
    for (const Pages pages : {Pages::kHuge, Pages::kSmall}) {
      const bool huge = pages == Pages::kHuge;
      say(huge ? "reading memory in huge pages" : "reading memory in 4 KiB pages");
      MachineSpeed speed(team, {}, bytes, pages);
      for (const int threads : counts) {
        say(huge ? "reading memory in huge pages" : "reading memory in 4 KiB pages");
        const double end = now() + each;
        std::vector<double> samples;
        do samples.push_back(speed.read_bandwidth(threads));
        while (now() < end || samples.size() < 3);
        machine.reads.push_back({threads, huge, median(samples)});
        // Of a limit the best counts: what disturbs only makes it slower.
        const double best = *std::max_element(samples.begin(), samples.end());
        if (huge && threads == team.size()) machine.read_bytes_per_second = best;
      }
    }
  }

  void measure_arithmetic(ThreadTeam& team) {
    say("measuring arithmetic");
    constexpr int kRounds = 4;
    const double each = options_.arithmetic_seconds / (3 * kRounds);
    MachineSpeed speed(team, {}, kMebi);
    auto& machine = result_.machine;
    for (int round = 0; round < kRounds; ++round) {
      machine.int8_multiply_adds = std::max(machine.int8_multiply_adds, speed.int8_peak(each));
      machine.bf16_multiply_adds = std::max(machine.bf16_multiply_adds, speed.bf16_peak(each));
      machine.f32_multiply_adds = std::max(machine.f32_multiply_adds, speed.f32_peak(each));
    }
  }

  void measure_kernels() {
    say("measuring this engine's kernels");
    KernelPlan plan;
    plan.seconds = options_.kernel_seconds;
    plan.cancel = options_.stop;
    plan.on_progress = options_.progress;
    try {
      KernelSpeeds speeds = kernel_speeds(plan);
      result_.machine.kernels = std::move(speeds.kernels);
      result_.machine.engine = std::move(speeds.engine);
    } catch (const Error& error) {
      if (error.exit_code() == ExitCode::kInterrupted) throw;
      result_.remarks.push_back(fmt::format("kernels were not measured: {}", error.what()));
    }
  }

  /// What was measured while others were busy is too low.
  void check_quiet(const machine::ProcessorTime& before, const machine::ProcessorTime& after,
                   double seconds) {
    if (seconds < 0.1) return;  // times come in hundredths of a second
    const double others = (after.busy - after.own - before.busy + before.own) / seconds;
    const double stolen = (after.stolen - before.stolen) / seconds;
    const double share =
        (others + stolen) / std::max(1, machine::online_processors(machine::SystemFiles()));
    if (others + stolen < 0.3 || share < 0.05) return;
    result_.machine.disturbed_by = others + stolen;
    result_.remarks.push_back(disturbance(result_.machine));
  }

  void measure_disks() {
    std::vector<machine::Disk*> disks;
    for (machine::Disk& disk : result_.machine.disks) {
      if (disk.kind != "memory") disks.push_back(&disk);
    }
    for (machine::Disk* disk : disks) {
      say(fmt::format("reading the disk of {}", printable(disk->path, 60)));
      DiskPlan plan;
      plan.seconds = options_.disk_seconds / static_cast<double>(disks.size());
      plan.stop = options_.stop;
      DiskSpeed speed = measure_disk(disk->path, plan);
      disk->sequential_bytes_per_second = speed.sequential_bytes_per_second;
      disk->random = std::move(speed.random);
      if (!speed.trouble.empty()) {
        result_.remarks.push_back(fmt::format("the disk of {} was not measured: {}",
                                              printable(disk->path, 60), speed.trouble));
      }
    }
    say("done");
  }

  const ProbeOptions& options_;
  ProbedMachine result_;
};

/// Sets a file that cannot be understood aside; the sentence about it.
std::string put_aside(const std::filesystem::path& file, const Error& error) {
  try {
    return fmt::format("{}; it was set aside as {}", error.what(),
                       printable(set_aside(file).filename().string()));
  } catch (const Error& trouble) {
    return fmt::format("{}; {}", error.what(), trouble.what());
  }
}

}  // namespace

machine::Machine unmeasured_machine(const ProbeOptions& options) {
  machine::Machine machine = machine::machine_facts(machine::SystemFiles(), options.folders);
  machine.cpu.instruction_sets = compute::cpu_instruction_sets();
  return machine;
}

ProbedMachine probe(const ProbeOptions& options) { return Prober(options).run(); }

CacheLook look_into_cache(const std::filesystem::path& cache_file) {
  CacheLook look;
  std::error_code unreadable;
  if (!std::filesystem::exists(cache_file, unreadable)) return look;
  const machine::SystemFiles files;
  try {
    look.found.machine = read_machine_file(cache_file);
  } catch (const Error& error) {
    look.found.remarks.push_back(put_aside(cache_file, error));
    return look;
  }
  if (const std::string change = machine::what_changed(look.found.machine, files);
      !change.empty()) {
    look.found.remarks.push_back("what was measured earlier is not used: " + change);
    return look;
  }
  machine::refresh_facts(look.found.machine, files);
  look.found.cached = true;
  if (look.found.machine.disturbed_by > 0) {
    look.found.remarks.push_back(disturbance(look.found.machine));
  }
  look.usable = true;
  return look;
}

ProbedMachine cached_or_probed(const std::filesystem::path& cache_file, const ProbeOptions& options,
                               bool refresh) {
  CacheLook look = look_into_cache(cache_file);
  if (look.usable && !refresh) return std::move(look.found);
  if (look.usable) look.found.remarks.clear();
  ProbedMachine result = probe(options);
  result.remarks.insert(result.remarks.begin(), look.found.remarks.begin(),
                        look.found.remarks.end());
  try {
    std::filesystem::create_directories(cache_file.parent_path());
    write_file_atomically(cache_file, machine_text(result.machine));
  } catch (const std::filesystem::filesystem_error& error) {
    result.remarks.push_back(
        fmt::format("what was measured could not be kept: {}", printable(error.code().message())));
  } catch (const Error& error) {
    result.remarks.push_back(fmt::format("what was measured could not be kept: {}", error.what()));
  }
  return result;
}

}  // namespace hearth::measure
