#include "measure/disk_speed.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <optional>
#include <random>
#include <thread>

#include "machine/disks.h"
#include "measure/samples.h"
#include "support/error.h"
#include "support/huge_pages.h"

namespace hearth::measure {
namespace {

constexpr std::size_t kPiece = std::size_t{4} << 20;
constexpr std::uint64_t kLeastFile = std::uint64_t{16} << 20;
constexpr std::uint64_t kKeepFree = 1'000'000'000;
constexpr int kSequentialReaders = 4;

bool stopped(const DiskPlan& plan) { return plan.stop != nullptr && plan.stop->load(); }

/// Writes whole pieces until the file has `bytes` or `deadline` has come; how many bytes there are.
std::uint64_t fill(const machine::DirectFile& file, std::span<std::byte> piece,
                   const DiskPlan& plan, double deadline) {
  std::mt19937_64 random(20260101);
  for (std::size_t at = 0; at + 8 <= piece.size(); at += 8) {
    const std::uint64_t value = random();
    std::memcpy(piece.data() + at, &value, 8);
  }
  std::uint64_t written = 0;
  while (written + piece.size() <= plan.file_bytes && !stopped(plan)) {
    // Disks and file systems that compress or share equal blocks shall find none.
    for (std::size_t at = 0; at < piece.size(); at += 4096) {
      const std::uint64_t value = random();
      std::memcpy(piece.data() + at, &value, 8);
    }
    if (!file.write(piece, written)) break;
    written += piece.size();
    if (now() > deadline && written >= kLeastFile) break;
    if (now() > deadline + 2) break;
  }
  return file.sync() ? written : 0;
}

/// Bytes per second of `readers` threads that read blocks for about `seconds`; `place(reader, i)`
/// says where the i-th block of a reader is, negative: no more. Nothing when a read failed.
template <class Place>
std::optional<double> read_blocks(const machine::DirectFile& file, std::span<std::byte> memory,
                                  std::size_t block, int readers, double seconds,
                                  const DiskPlan& plan, Place place) {
  std::atomic<std::uint64_t> bytes{0};
  std::atomic<bool> failed{false};
  const double start = now();
  {
    std::vector<std::jthread> threads;
    for (int reader = 0; reader < readers; ++reader) {
      threads.emplace_back([&, reader] {
        const auto mine = memory.subspan(static_cast<std::size_t>(reader) * block, block);
        for (std::int64_t i = 0; now() - start < seconds && !stopped(plan); ++i) {
          const std::int64_t offset = place(reader, i);
          if (offset < 0) return;
          if (!file.read(mine, static_cast<std::uint64_t>(offset))) {
            failed = true;
            return;
          }
          bytes.fetch_add(block, std::memory_order_relaxed);
        }
      });
    }
  }
  const double elapsed = now() - start;
  if (failed || elapsed <= 0) return std::nullopt;
  return static_cast<double>(bytes.load()) / elapsed;
}

/// A number that looks random, the same for the same arguments (splitmix64, Steele et al. 2014).
std::uint64_t mixed(std::uint64_t value) {
  value += 0x9E3779B97F4A7C15U;
  value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9U;
  value = (value ^ (value >> 27)) * 0x94D049BB133111EBU;
  return value ^ (value >> 31);
}

void read_at_random(const machine::DirectFile& file, std::span<std::byte> memory,
                    std::uint64_t size, double seconds, const DiskPlan& plan, DiskSpeed& speed) {
  std::uint64_t seed = 1;
  for (const int depth : plan.queue_depths) {
    for (const std::uint32_t block : plan.blocks) {
      if (stopped(plan)) return;
      const std::uint64_t places = size / block;
      seed += 1;
      const auto rate =
          read_blocks(file, memory, block, depth, seconds, plan, [&](int reader, std::int64_t i) {
            const std::uint64_t key = seed << 48 | static_cast<std::uint64_t>(reader) << 32 |
                                      static_cast<std::uint64_t>(i);
            return static_cast<std::int64_t>(mixed(key) % places * block);
          });
      if (!rate) {
        speed.trouble = "the disk refused to be read";
        return;
      }
      if (*rate > 0) speed.random.push_back({block, depth, *rate});
    }
  }
}

}  // namespace

DiskSpeed measure_disk(const std::filesystem::path& folder, const DiskPlan& plan) {
  DiskSpeed speed;
  const double start = now();
  const std::uint64_t free = machine::free_bytes(folder);
  if (free < plan.file_bytes + kKeepFree) {
    speed.trouble = fmt::format("only {:.1f} GB are free", static_cast<double>(free) / 1e9);
    return speed;
  }
  const auto file = machine::DirectFile::make(folder);
  if (!file) {
    speed.trouble = "files cannot be made there, or not read past the page cache";
    return speed;
  }
  int deepest = kSequentialReaders;
  for (const int depth : plan.queue_depths) deepest = std::max(deepest, depth);
  // Readers of large blocks are few, and many ones' blocks small.
  std::size_t room = kPiece * kSequentialReaders;
  for (const std::uint32_t block : plan.blocks) {
    room = std::max(room, static_cast<std::size_t>(deepest) * block);
  }
  try {
    const HugePages memory(room);
    const std::uint64_t size =
        fill(*file, memory.bytes().first(kPiece), plan, start + plan.seconds / 3);
    if (size < kLeastFile) {
      speed.trouble = stopped(plan) ? "interrupted" : "too little could be written";
      return speed;
    }
    const double each = plan.seconds * 2 / 3 /
                        static_cast<double>(2 + plan.blocks.size() * plan.queue_depths.size());
    const auto pieces = static_cast<std::int64_t>(size / kPiece);
    // Around and around when the disk is faster than the file is long.
    const auto sequential = read_blocks(*file, memory.bytes(), kPiece, kSequentialReaders, 2 * each,
                                        plan, [&](int reader, std::int64_t i) {
                                          return (i * kSequentialReaders + reader) % pieces *
                                                 static_cast<std::int64_t>(kPiece);
                                        });
    if (!sequential) {
      speed.trouble = "the disk refused to be read";
      return speed;
    }
    speed.sequential_bytes_per_second = *sequential;
    read_at_random(*file, memory.bytes(), size, each, plan, speed);
  } catch (const Error& error) {
    speed.trouble = error.what();
  }
  if (stopped(plan) && speed.trouble.empty()) speed.trouble = "interrupted";
  return speed;
}

}  // namespace hearth::measure
