// Looking at this machine once and measuring it, and remembering what was found.
#pragma once

#include <atomic>
#include <cstddef>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "machine/machine.h"

namespace hearth::measure {

struct ProbeOptions {
  /// Folders that models lie in or may be put into; each one's disk is measured once.
  std::vector<std::filesystem::path> folders;
  /// Time for the parts that are measured, in seconds; graphics processors' tools come on top.
  double memory_seconds = 1.6, arithmetic_seconds = 0.5, kernel_seconds = 3.5, disk_seconds = 3;
  /// Memory that is read; 0: several times the caches. Never more than an eighth of what is free.
  std::size_t memory_bytes = 0;
  /// Told what is being measured, for a progress line.
  std::function<void(std::string_view)> progress;
  /// Set (by Ctrl-C): stop at the next occasion. probe() then throws Error (kInterrupted).
  const std::atomic<bool>* stop = nullptr;
};

/// A machine, and what has to be said about how it was found.
struct ProbedMachine {
  machine::Machine machine;
  bool cached = false;               // measured earlier
  std::vector<std::string> remarks;  // sentences for stderr
};

/// Finds out and measures everything, in about ten seconds. Throws Error.
[[nodiscard]] ProbedMachine probe(const ProbeOptions& options);

/// What can be known at once: probe() without any measurement.
[[nodiscard]] machine::Machine unmeasured_machine(const ProbeOptions& options);

/// The machine that `cache_file` holds, with what changes by the minute (free memory, disks, power)
/// brought up to date: some milliseconds. When there is none, or it was found on a machine that
/// this no longer is, or `refresh`: probe(), which is then written there. A file that cannot be
/// understood is renamed to NAME.bad-DATE-TIME, and a remark says so; one that cannot be written is a remark,
/// too. Throws Error when probe() does.
[[nodiscard]] ProbedMachine cached_or_probed(const std::filesystem::path& cache_file,
                                             const ProbeOptions& options, bool refresh = false);

/// The same without probing: nothing where cached_or_probed() would have to.
struct CacheLook {
  bool usable = false;
  ProbedMachine found;  // `remarks` also when it is not usable
};
[[nodiscard]] CacheLook look_into_cache(const std::filesystem::path& cache_file);

}  // namespace hearth::measure
