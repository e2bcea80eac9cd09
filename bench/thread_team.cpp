// What the thread team costs: an empty run, a stream of decode-like operations alone and beside a
// program that never rests, and the processor time an idle team takes.
//
//   HEARTH_PIN=yes|no build/bench/thread_team [THREADS]
//
// An operation of the stream is 64 chunks of arithmetic, as long in all as the product of one token
// with one matrix; its speed beside the busy program is to be compared with the share of the
// processors that a fair scheduler leaves (2 of 3 threads on 2 processors: 67 %).
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <thread>
#include <vector>

#include "compute/cpu/kernel_choice.h"
#include "machine/cpu.h"
#include "machine/topology.h"
#include "measure/samples.h"
#include "support/thread_team.h"

namespace {

using Clock = std::chrono::steady_clock;
using hearth::measure::median;
constexpr std::int64_t kChunks = 64;
constexpr std::int64_t kRounds = 1000;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

double processor_seconds() {
  timespec time{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

/// Median nanoseconds of an empty run.
double empty_run(hearth::ThreadTeam& team) {
  std::vector<double> rounds;
  for (int round = 0; round < 51; ++round) {
    const Clock::time_point start = Clock::now();
    for (int i = 0; i < 2000; ++i) team.run([](int) noexcept {});
    rounds.push_back(seconds_since(start) / 2000 * 1e9);
  }
  return median(rounds);
}

/// Operations per second of the stream, on average over the whole time.
double stream(hearth::ThreadTeam& team, double seconds) {
  const auto multiply = hearth::compute::cpu::choose_kernels({}).int8_peak;
  std::atomic<std::int32_t> sink{0};
  const Clock::time_point start = Clock::now();
  double operations = 0;
  do {
    team.for_chunks(kChunks, 1, [&](std::int64_t, std::int64_t, int) noexcept {
      std::int32_t result = 0;
      multiply(kRounds, &result);
      sink.fetch_add(result, std::memory_order_relaxed);
    });
    ++operations;
  } while (seconds_since(start) < seconds);
  return operations / seconds_since(start);
}

}  // namespace

int main(int argc, char** argv) {
  const int threads = argc > 1 ? std::atoi(argv[1]) : hearth::machine::usable_cores();
  const char* const pin = std::getenv("HEARTH_PIN");
  const std::vector<int> places = hearth::machine::team_places(threads, pin != nullptr ? pin : "");
  hearth::ThreadTeam team(threads, places);
  std::printf("%d threads%s\n", threads, places.empty() ? "" : ", bound to processors");
  std::printf("empty run            %8.0f ns\n", empty_run(team));
  const double alone = stream(team, 2);
  std::printf("stream alone         %8.0f op/s\n", alone);

  const pid_t busy = fork();
  if (busy == 0) {
    std::atomic<unsigned> count{0};
    for (;;) count.fetch_add(1, std::memory_order_relaxed);
  }
  const double beside = stream(team, 4);
  kill(busy, SIGKILL);
  waitpid(busy, nullptr, 0);
  std::printf("beside a busy program%8.0f op/s, %.0f %%\n", beside, 100 * beside / alone);

  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  const double before = processor_seconds();
  std::this_thread::sleep_for(std::chrono::milliseconds(500));
  std::printf("idle, 20 ms later    %8.3f %% of a processor\n",
              100 * (processor_seconds() - before) / 0.5);
  return 0;
}
