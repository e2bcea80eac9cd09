#include "measure/machine_speed.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstring>
#include <span>

#include "compute/cpu/kernel_choice.h"
#include "measure/samples.h"
#include "support/huge_pages.h"
#include "support/small_pages.h"

namespace hearth::measure {
namespace {

constexpr std::size_t kShare = std::size_t{1} << 20;

}  // namespace

struct MachineSpeed::Impl {
  Impl(ThreadTeam& given, const std::string& instruction_set, std::size_t bytes, Pages pages)
      : team(given),
        kernels(compute::cpu::choose_kernels(instruction_set)),
        huge(pages == Pages::kHuge ? whole_shares(bytes) : 0),
        small(pages == Pages::kSmall ? whole_shares(bytes) : 0),
        buffer(pages == Pages::kHuge ? huge.bytes() : small.bytes()) {
    // Pages that were never written are all the same zero page.
    team.for_chunks(static_cast<std::int64_t>(buffer.size() / kShare), 1,
                    [&](std::int64_t begin, std::int64_t end, int) {
                      std::memset(buffer.data() + static_cast<std::size_t>(begin) * kShare, 1,
                                  static_cast<std::size_t>(end - begin) * kShare);
                    });
  }
  static std::size_t whole_shares(std::size_t bytes) {
    return std::max(kShare, bytes / kShare * kShare);
  }
  ThreadTeam& team;
  const compute::cpu::KernelTable& kernels;
  HugePages huge;
  SmallPages small;
  std::span<std::byte> buffer;
  std::atomic<std::uint32_t> sink{0};  // keeps the compiler from leaving the work out
};

MachineSpeed::MachineSpeed(ThreadTeam& team, const std::string& instruction_set,
                           std::size_t buffer_bytes, Pages pages)
    : impl_(std::make_unique<Impl>(team, instruction_set, buffer_bytes, pages)) {}
MachineSpeed::~MachineSpeed() = default;

double MachineSpeed::read_bandwidth(int threads) {
  Impl& m = *impl_;
  const std::size_t shares = m.buffer.size() / kShare;
  std::atomic<std::size_t> next{0};
  const double start = now();
  m.team.share([&](int thread) noexcept {
    if (threads > 0 && thread >= threads) return;
    for (std::size_t share; (share = next.fetch_add(1, std::memory_order_relaxed)) < shares;) {
      const std::uint32_t sum = m.kernels.read_memory(m.buffer.data() + share * kShare, kShare);
      m.sink.fetch_xor(sum, std::memory_order_relaxed);
    }
  });
  return static_cast<double>(m.buffer.size()) / (now() - start);
}

namespace {

/// Multiply-adds per second of all threads in `count(value)`, which does some and says how many.
template <class Value, class Count>
double peak(ThreadTeam& team, std::atomic<std::uint32_t>& sink, double seconds, Count count) {
  std::atomic<std::int64_t> done{0};
  const double start = now();
  team.run([&](int) noexcept {
    while (now() - start < seconds) {
      Value value = 0;
      done.fetch_add(count(&value), std::memory_order_relaxed);
      sink.fetch_xor(std::bit_cast<std::uint32_t>(value), std::memory_order_relaxed);
    }
  });
  return static_cast<double>(done.load()) / (now() - start);
}

constexpr std::int64_t kRounds = 20000;

}  // namespace

double MachineSpeed::int8_peak(double seconds) {
  return peak<std::int32_t>(impl_->team, impl_->sink, seconds, [this](std::int32_t* value) {
    return impl_->kernels.int8_peak(kRounds, value);
  });
}

double MachineSpeed::bf16_peak(double seconds) {
  float value = 0;
  if (impl_->kernels.bf16_peak(1, &value) == 0) return 0;
  return peak<float>(impl_->team, impl_->sink, seconds,
                     [this](float* sum) { return impl_->kernels.bf16_peak(kRounds, sum); });
}

double MachineSpeed::f32_peak(double seconds) {
  return peak<float>(impl_->team, impl_->sink, seconds,
                     [this](float* value) { return impl_->kernels.f32_peak(kRounds, value); });
}

std::size_t MachineSpeed::buffer_bytes() const noexcept { return impl_->buffer.size(); }

}  // namespace hearth::measure
