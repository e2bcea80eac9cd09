#include "measure/machine_speed.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>

#include "compute/cpu/kernel_choice.h"
#include "support/huge_pages.h"

namespace hearth::measure {
namespace {

constexpr std::size_t kShare = std::size_t{1} << 20;

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

}  // namespace

struct MachineSpeed::Impl {
  Impl(ThreadTeam& given, const std::string& instruction_set, std::size_t bytes)
      : team(given),
        kernels(compute::cpu::choose_kernels(instruction_set)),
        buffer(std::max(kShare, bytes / kShare * kShare)) {
    // Pages that were never written are all the same zero page.
    team.for_chunks(static_cast<std::int64_t>(buffer.size() / kShare), 1,
                    [&](std::int64_t begin, std::int64_t end, int) {
                      std::memset(buffer.data() + static_cast<std::size_t>(begin) * kShare, 1,
                                  static_cast<std::size_t>(end - begin) * kShare);
                    });
  }
  ThreadTeam& team;
  const compute::cpu::KernelTable& kernels;
  HugePages buffer;
  std::atomic<std::uint32_t> sink{0};  // keeps the compiler from leaving the work out
};

MachineSpeed::MachineSpeed(ThreadTeam& team, const std::string& instruction_set,
                           std::size_t buffer_bytes)
    : impl_(std::make_unique<Impl>(team, instruction_set, buffer_bytes)) {}
MachineSpeed::~MachineSpeed() = default;

double MachineSpeed::read_bandwidth() {
  Impl& m = *impl_;
  const double start = now();
  m.team.for_chunks(static_cast<std::int64_t>(m.buffer.size() / kShare), 1,
                    [&](std::int64_t begin, std::int64_t end, int) {
                      const std::uint32_t sum = m.kernels.read_memory(
                          m.buffer.data() + static_cast<std::size_t>(begin) * kShare,
                          static_cast<std::size_t>(end - begin) * kShare);
                      m.sink.fetch_xor(sum, std::memory_order_relaxed);
                    });
  return static_cast<double>(m.buffer.size()) / (now() - start);
}

double MachineSpeed::int8_peak(double seconds) {
  Impl& m = *impl_;
  std::atomic<std::int64_t> done{0};
  const double start = now();
  m.team.run([&](int) noexcept {
    while (now() - start < seconds) {
      std::int32_t value = 0;
      done.fetch_add(m.kernels.int8_peak(20000, &value), std::memory_order_relaxed);
      m.sink.fetch_xor(static_cast<std::uint32_t>(value), std::memory_order_relaxed);
    }
  });
  return static_cast<double>(done.load()) / (now() - start);
}

}  // namespace hearth::measure
