// hearth probe: what this machine is and what it can do at most.

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <ctime>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "cli/main.h"
#include "cli/said.h"
#include "cli/terminal.h"
#include "cli/this_machine.h"
#include "cli/words.h"
#include "measure/machine_file.h"
#include "support/error.h"

namespace hearth::cli {
namespace {

using machine::Machine;

/// Caches and blocks are powers of two.
std::string binary_text(std::uint64_t bytes) {
  return bytes >= 1U << 20 ? fmt::format("{} MiB", bytes >> 20)
                           : fmt::format("{} KiB", bytes >> 10);
}

std::string rate_text(double bytes_per_second) {
  if (bytes_per_second >= 9.95e8) return fmt::format("{:.1f} GB/s", bytes_per_second / 1e9);
  return fmt::format("{:.0f} MB/s", bytes_per_second / 1e6);
}

std::string arithmetic_text(double per_second) {
  return per_second >= 1e12 ? fmt::format("{:.2f} T", per_second / 1e12)
                            : fmt::format("{:.0f} G", per_second / 1e9);
}

std::string counted(int count, const char* thing) {
  return fmt::format("{} {}{}", count, thing, count == 1 ? "" : "s");
}

void row(const std::string& name, const std::string& text) {
  fmt::print("  {:<14} {}\n", name, text);
}

void print_processor(const Machine& m) {
  std::vector<std::string> kinds;
  for (const machine::CoreKind& kind : m.cpu.kinds) {
    std::string text = counted(kind.cores, "core");
    if (kind.threads > kind.cores) text += fmt::format(" with {} threads", kind.threads);
    if (kind.max_ghz > 0) text += fmt::format(" up to {:.1f} GHz", kind.max_ghz);
    kinds.push_back(std::move(text));
  }
  int cores = 0;
  for (const machine::CoreKind& kind : m.cpu.kinds) cores += kind.cores;
  if (m.cpu.usable_cores != cores) {
    kinds.push_back(fmt::format("of which {} may be used", m.cpu.usable_cores));
  }
  if (m.cpu.nodes > 1) kinds.push_back(counted(m.cpu.nodes, "memory node"));
  row("cores", joined(kinds));
  row("kernels", joined(m.cpu.instruction_sets));
  std::vector<std::string> caches;
  if (m.cpu.l1_bytes > 0) caches.push_back(binary_text(m.cpu.l1_bytes) + " L1");
  if (m.cpu.l2_bytes > 0) caches.push_back(binary_text(m.cpu.l2_bytes) + " L2");
  if (m.cpu.l3_bytes > 0) caches.push_back(binary_text(m.cpu.l3_bytes) + " L3");
  if (!caches.empty()) row("caches", joined(caches));
}

void print_memory(const Machine& m) {
  std::string text =
      fmt::format("{}, {} available", size_text(static_cast<double>(m.memory.total_bytes)),
                  size_text(static_cast<double>(m.memory.available_bytes)));
  if (m.memory.huge_pages == "madvise") text += ", huge pages on request";
  if (m.memory.huge_pages == "always") text += ", huge pages always";
  if (m.memory.huge_pages == "never") text += ", no huge pages";
  text += m.memory.swap_total_bytes == 0
              ? std::string(", no swap")
              : fmt::format(", {} of {} swap used",
                            size_text(static_cast<double>(m.memory.swap_used_bytes)),
                            size_text(static_cast<double>(m.memory.swap_total_bytes)));
  row("memory", text);
  for (const bool huge : {true, false}) {
    std::vector<std::string> speeds;
    for (const machine::ReadSpeed& read : m.reads) {
      if (read.huge_pages != huge) continue;
      speeds.push_back(
          fmt::format("{} {}", counted(read.threads, "thread"), rate_text(read.bytes_per_second)));
    }
    if (!speeds.empty()) row(huge ? "  huge pages" : "  4 KiB pages", joined(speeds));
  }
  if (m.read_bytes_per_second > 0) row("  at most", rate_text(m.read_bytes_per_second));
}

void print_arithmetic(const Machine& m) {
  std::vector<std::string> peaks;
  if (m.int8_multiply_adds > 0) peaks.push_back("int8 " + arithmetic_text(m.int8_multiply_adds));
  if (m.bf16_multiply_adds > 0) peaks.push_back("bf16 " + arithmetic_text(m.bf16_multiply_adds));
  if (m.f32_multiply_adds > 0) peaks.push_back("f32 " + arithmetic_text(m.f32_multiply_adds));
  if (!peaks.empty()) row("arithmetic", joined(peaks) + " multiply-adds/s");
  for (const machine::KernelSpeed& kernel : m.kernels) {
    row("  " + kernel.format, fmt::format("decode {}, prefill {} multiply-adds/s",
                                          rate_text(kernel.decode_bytes_per_second),
                                          arithmetic_text(kernel.prefill_multiply_adds)));
  }
}

void print_disk(const machine::Disk& disk) {
  std::string what = disk.kind;
  if (!disk.device.empty()) what += " " + printable(disk.device);
  row("disk", fmt::format("{} ({}): {} of {} free", printable(disk.path), what,
                          size_text(static_cast<double>(disk.free_bytes)),
                          size_text(static_cast<double>(disk.total_bytes))));
  if (disk.sequential_bytes_per_second > 0) {
    row("  in order", rate_text(disk.sequential_bytes_per_second));
  }
  std::map<int, std::vector<std::string>> by_depth;
  for (const machine::RandomRead& read : disk.random) {
    by_depth[read.queue_depth].push_back(
        fmt::format("{} {}", binary_text(read.block_bytes), rate_text(read.bytes_per_second)));
  }
  for (const auto& [depth, speeds] : by_depth) {
    row(depth == 1 ? "  random" : fmt::format("  {} at once", depth), joined(speeds));
  }
}

void print_gpu(const machine::Gpu& gpu) {
  std::vector<std::string> facts;
  if (gpu.memory_total_bytes > 0) {
    facts.push_back(fmt::format("{} of {}{} free",
                                size_text(static_cast<double>(gpu.memory_free_bytes)),
                                size_text(static_cast<double>(gpu.memory_total_bytes)),
                                gpu.integrated ? " main memory" : ""));
  } else if (gpu.integrated) {
    facts.emplace_back("in main memory");
  }
  if (gpu.link_bytes_per_second > 0) {
    facts.push_back("link " + rate_text(gpu.link_bytes_per_second));
  }
  if (!gpu.api.empty()) facts.push_back(printable(gpu.api));
  if (!gpu.driver.empty()) facts.push_back("driver " + printable(gpu.driver));
  if (gpu.api.empty()) facts.emplace_back("no Vulkan, CUDA or ROCm found");
  row("graphics", fmt::format("{}: {}", printable(gpu.name), joined(facts)));
}

void print_surroundings(const Machine& m) {
  if (m.power.source != "unknown" || !m.power.governor.empty() || m.power.throttled) {
    std::vector<std::string> facts;
    if (m.power.source != "unknown") facts.push_back(printable(m.power.source));
    if (m.power.battery_percent >= 0) {
      facts.push_back(fmt::format("battery at {} %", m.power.battery_percent));
    }
    if (!m.power.governor.empty()) facts.push_back("governor " + printable(m.power.governor));
    if (m.power.throttled) facts.emplace_back("was slowed down for heat");
    row("power", joined(facts));
  }
  if (m.limits.container.empty()) return;
  std::vector<std::string> facts = {printable(m.limits.container)};
  if (m.limits.memory_bytes > 0) {
    facts.push_back("memory limited to " + size_text(static_cast<double>(m.limits.memory_bytes)));
  }
  if (m.limits.processors > 0) {
    facts.push_back(fmt::format("at most {:g} processors", m.limits.processors));
  }
  row("container", joined(facts));
}

std::string age_text(std::int64_t seconds) {
  if (seconds < 120) return "a minute ago";
  if (seconds < 2 * 3600) return fmt::format("{} minutes ago", seconds / 60);
  if (seconds < 2 * 86400) return fmt::format("{} hours ago", seconds / 3600);
  return fmt::format("{} days ago", seconds / 86400);
}

void print_text(const measure::ProbedMachine& probed) {
  const Machine& m = probed.machine;
  fmt::print("{}\n", printable(m.cpu.name));
  print_processor(m);
  print_memory(m);
  print_arithmetic(m);
  for (const machine::Disk& disk : m.disks) print_disk(disk);
  for (const machine::Gpu& gpu : m.gpus) print_gpu(gpu);
  if (m.gpus.empty()) row("graphics", "no graphics processor found");
  for (const machine::Npu& npu : m.npus) {
    row("accelerator",
        fmt::format("{} ({}): not used by Hearth", printable(npu.name), printable(npu.device)));
  }
  print_surroundings(m);
  if (!m.gpus.empty()) {
    fmt::print(
        "Hearth itself computes on the processor; graphics processors are known to "
        "`hearth plan` only.\n");
  }
  if (probed.cached) {
    fmt::print("Measured {}; `hearth probe --refresh` measures again.\n",
               age_text(std::max<std::int64_t>(0, std::time(nullptr) - m.measured_at)));
  }
}

}  // namespace

void add_probe_command(CLI::App& app) {
  struct Options {
    bool json = false, refresh = false;
  };
  auto options = std::make_shared<Options>();
  CLI::App* command =
      app.add_subcommand("probe", "Find out what this machine is and can do at most");
  command->footer(
      "Measures how fast memory is read, how fast the processor multiplies, and how fast the disks "
      "are that models lie on; this takes up to ten seconds and is remembered. What is remembered "
      "is measured anew when the processor, the usable cores or the size of memory change. Nothing "
      "is sent anywhere.\n\n"
      "Examples:\n"
      "  hearth probe\n"
      "  hearth probe --refresh\n"
      "  hearth probe --json > this-machine.json\n"
      "  hearth plan --machine this-machine.json\n"
      "\n"
      "Exit status:\n"
      "  0  found out          2    wrong usage\n"
      "  1  failed             130  interrupted\n");
  command->add_flag("--json", options->json, "Print one JSON object, which `plan --machine` reads");
  command->add_flag("--refresh", options->refresh, "Measure again");
  command->callback([options] {
    const measure::ProbedMachine probed = this_machine(options->refresh);
    if (options->json) {
      fmt::print("{}", measure::machine_text(probed.machine));
    } else {
      print_text(probed);
    }
  });
}

}  // namespace hearth::cli
