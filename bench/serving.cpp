// Many requests at once: streams with random arrivals, cancellations and hang-ups on the scheduler,
// first without, then with prompts of 8192 tokens among them. Prints the throughput beside that of
// one stream, the time between two tokens of a stream, how equally clients were served, and how
// the process grew.
//
//   build/bench/serving [SECONDS] [STREAMS] [SHAPE] [FORMAT] [KV]
//   default: 60 16 qwen3-0.6b q4_k f16
#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "compute/cpu/cpu_backend.h"
#include "generate/scheduler.h"
#include "machine/cpu.h"
#include "machine/memory.h"
#include "measure/shape_image.h"
#include "measure/shapes.h"
#include "support/error.h"
#include "support/thread_team.h"
#include "tensor/dtype.h"

namespace hearth::bench {
namespace {

using Clock = std::chrono::steady_clock;
using generate::Scheduler;

constexpr std::int64_t kLongPrompt = 8192;
constexpr std::int64_t kShortPrompt[] = {16, 160}, kAnswer[] = {64, 320};
constexpr double kMeanPause = 0.2;  // seconds between a client's requests
constexpr double kCancelled = 0.1, kHungUp = 0.1;

double seconds_between(Clock::time_point from, Clock::time_point to) {
  return std::chrono::duration<double>(to - from).count();
}

double quantile(std::vector<double> values, double fraction) {
  if (values.empty()) return 0;
  const auto at = static_cast<std::ptrdiff_t>(fraction * static_cast<double>(values.size() - 1));
  std::nth_element(values.begin(), values.begin() + at, values.end());
  return values[static_cast<std::size_t>(at)];
}

/// Every token is a letter; nothing ends a text.
class Letters final : public text::Tokenizer {
 public:
  explicit Letters(std::size_t size) : size_(size) {}
  std::vector<text::TokenId> encode(std::string_view, const text::EncodeOptions&) const override {
    return {};
  }
  std::vector<text::TokenId> encode(const text::Prompt&, bool) const override { return {}; }
  std::string decode(std::span<const text::TokenId> ids,
                     const text::DecodeOptions&) const override {
    return std::string(ids.size(), 'a');
  }
  std::string piece(text::TokenId, bool) const override { return "a"; }
  std::string_view stored_text(text::TokenId) const override { return "a"; }
  text::TokenType type(text::TokenId) const override { return text::TokenType::kNormal; }
  std::uint16_t attributes(text::TokenId) const override { return text::attribute::kNormal; }
  std::optional<text::TokenId> find(std::string_view) const override { return std::nullopt; }
  std::size_t size() const noexcept override { return size_; }
  const text::SpecialTokens& special() const noexcept override { return special_; }
  bool ends_generation(text::TokenId) const noexcept override { return false; }
  bool reserved(text::TokenId) const override { return false; }
  std::span<const text::TokenId> suppressed() const noexcept override { return {}; }
  std::span<const std::string> warnings() const noexcept override { return {}; }

 private:
  std::size_t size_;
  text::SpecialTokens special_;
};

/// What a client saw.
struct Seen {
  std::vector<double> gaps, first_tokens;
  std::int64_t tokens = 0, prompt_tokens = 0;
  double generating = 0;  // seconds
  int requests = 0, failed = 0;

  void add(const Seen& other) {
    gaps.insert(gaps.end(), other.gaps.begin(), other.gaps.end());
    first_tokens.insert(first_tokens.end(), other.first_tokens.begin(), other.first_tokens.end());
    tokens += other.tokens;
    prompt_tokens += other.prompt_tokens;
    generating += other.generating;
    requests += other.requests;
    failed += other.failed;
  }
};

/// One request of a client; hangs up after so many tokens, if at all.
class Reader final : public generate::Listener {
 public:
  explicit Reader(std::int64_t hang_up) : hang_up_(hang_up) {}

  generate::Verdict piece(const generate::GeneratedPiece& told) override {
    const Clock::time_point now = Clock::now();
    if (told.token >= 0) {
      if (seen.tokens++ > 0) {
        seen.gaps.push_back(seconds_between(last_, now));
      } else {
        seen.first_tokens.push_back(seconds_between(start_, now));
      }
      last_ = now;
    }
    generate::Verdict verdict;
    verdict.go_on = seen.tokens != hang_up_;
    return verdict;
  }
  void finished(const generate::GenerateResult& result) override {
    seen.prompt_tokens = result.prompt_tokens;
    seen.generating = result.generate_seconds;
    end();
  }
  void failed(const Error& error) override {
    std::printf("failed: %s\n", error.what());
    seen.failed = 1;
    end();
  }
  /// Returns false when the time is over first.
  bool wait_until(Clock::time_point time) {
    std::unique_lock lock(mutex_);
    return ended_changed_.wait_until(lock, time, [this] { return ended_; });
  }

  Seen seen;

 private:
  void end() {
    const std::lock_guard lock(mutex_);
    seen.requests = 1;
    ended_ = true;
    ended_changed_.notify_all();
  }
  std::int64_t hang_up_;
  Clock::time_point start_ = Clock::now(), last_;
  std::mutex mutex_;
  std::condition_variable ended_changed_;
  bool ended_ = false;
};

struct Load {
  Scheduler& scheduler;
  std::int64_t vocabulary = 0;
  Clock::time_point until;
};

std::int64_t between(std::mt19937& random, const std::int64_t (&range)[2]) {
  return std::uniform_int_distribution<std::int64_t>(range[0], range[1])(random);
}

void run_client(const Load& load, int number, bool is_long, bool pauses, Seen& seen) {
  std::mt19937 random(static_cast<std::uint32_t>(number));
  std::uniform_real_distribution<double> chance(0, 1);
  while (Clock::now() < load.until) {
    if (pauses) {
      const double pause = std::exponential_distribution<double>(1 / kMeanPause)(random);
      std::this_thread::sleep_for(std::chrono::duration<double>(pause));
    }
    generate::GenerateRequest request;
    request.client = "client " + std::to_string(number);
    const std::int64_t length = is_long ? kLongPrompt : between(random, kShortPrompt);
    std::uniform_int_distribution<text::TokenId> token(
        0, static_cast<text::TokenId>(load.vocabulary - 1));
    for (std::int64_t i = 0; i < length; ++i) request.prompt.push_back(token(random));
    request.max_tokens = between(random, kAnswer);
    const double fate = pauses ? chance(random) : 1;
    const std::int64_t some = std::max<std::int64_t>(1, request.max_tokens / 3);
    auto reader = std::make_shared<Reader>(fate < kHungUp ? some : -1);
    const auto id = load.scheduler.submit(std::move(request), reader);
    const bool cancels = fate >= kHungUp && fate < kHungUp + kCancelled;
    if (cancels && !reader->wait_until(Clock::now() + std::chrono::milliseconds(500)))
      load.scheduler.cancel(id);
    // What is left at the end is cancelled; a request that never ends would be seen here.
    if (!reader->wait_until(load.until)) load.scheduler.cancel(id);
    if (!reader->wait_until(Clock::now() + std::chrono::seconds(60))) {
      std::printf("STUCK: a request of client %d does not end\n", number);
      std::abort();
    }
    seen.add(reader->seen);
  }
}

/// All clients for `seconds`; the first one has long prompts, if any has.
std::vector<Seen> run_load(Scheduler& scheduler, std::int64_t vocabulary, int clients,
                           double seconds, bool with_long, bool pauses) {
  const Load load{scheduler, vocabulary,
                  Clock::now() + std::chrono::duration_cast<Clock::duration>(
                                     std::chrono::duration<double>(seconds))};
  std::vector<Seen> seen(static_cast<std::size_t>(clients));
  std::vector<std::thread> threads;
  for (int i = 0; i < clients; ++i) {
    threads.emplace_back([&, i] {
      run_client(load, i, with_long && i == 0, pauses, seen[static_cast<std::size_t>(i)]);
    });
  }
  for (std::thread& thread : threads) thread.join();
  return seen;
}

void print(const char* name, const std::vector<Seen>& clients, double seconds, double alone,
           const generate::SchedulerStatistics& before,
           const generate::SchedulerStatistics& after) {
  Seen all;
  double slowest = 1e9, fastest = 0;
  for (const Seen& seen : clients) {
    all.add(seen);
    if (seen.tokens < 50 || seen.generating <= 0) continue;
    const double rate = static_cast<double>(seen.tokens) / seen.generating;
    slowest = std::min(slowest, rate);
    fastest = std::max(fastest, rate);
  }
  const double rate = static_cast<double>(all.tokens) / seconds;
  std::printf("%s: %d requests (%d failed), %.1f tokens/s generated", name, all.requests,
              all.failed, rate);
  if (alone > 0) std::printf(" = %.2f x one stream", rate / alone);
  const double passes =
      static_cast<double>(std::max<std::int64_t>(1, after.passes - before.passes));
  std::printf(", %.1f prompt tokens/s, %.1f rows and %.1f ms per pass\n",
              static_cast<double>(after.prompt_tokens - before.prompt_tokens) / seconds,
              static_cast<double>(after.rows - before.rows) / passes,
              1000 *
                  (after.prompt_seconds + after.generate_seconds - before.prompt_seconds -
                   before.generate_seconds) /
                  passes);
  std::printf(
      "  between tokens: median %.1f ms, p99 %.1f ms, most %.1f ms; first token: median "
      "%.2f s, p99 %.2f s\n",
      1000 * quantile(all.gaps, 0.5), 1000 * quantile(all.gaps, 0.99), 1000 * quantile(all.gaps, 1),
      quantile(all.first_tokens, 0.5), quantile(all.first_tokens, 0.99));
  if (fastest > 0 && clients.size() > 1) {
    std::printf("  clients while active: %.1f to %.1f tokens/s, ratio %.2f\n", slowest, fastest,
                fastest / slowest);
  }
}

/// The process's megabytes by the second, in the background.
class MemoryWatch {
 public:
  MemoryWatch() : thread_([this] { run(); }) {}
  ~MemoryWatch() {
    {
      const std::lock_guard lock(mutex_);
      ends_ = true;
    }
    ends_changed_.notify_all();
    thread_.join();
    if (samples_.size() < 4) return;
    const std::size_t from = samples_.size() > 120 ? 60 : samples_.size() / 2;
    const double minutes = static_cast<double>(samples_.size() - 1 - from) / 60;
    std::printf(
        "resident: %.1f MB at the start, %.1f MB in second %zu, %.1f MB at the end: %+.2f MB/min\n",
        samples_.front(), samples_[from], from, samples_.back(),
        (samples_.back() - samples_[from]) / minutes);
  }

 private:
  void run() {
    std::unique_lock lock(mutex_);
    do {
      samples_.push_back(static_cast<double>(machine::process_memory().resident) / 1e6);
    } while (!ends_changed_.wait_for(lock, std::chrono::seconds(1), [this] { return ends_; }));
  }
  std::mutex mutex_;
  std::condition_variable ends_changed_;
  bool ends_ = false;
  std::vector<double> samples_;
  std::thread thread_;
};

void run(double seconds, int streams, const std::string& shape_name, tensor::DType format,
         tensor::DType kv) {
  ThreadTeam team(hearth::machine::usable_cores());
  const measure::ShapeImage image(measure::known_shape(shape_name, format), team);
  spec::Setup setup;
  setup.context = kLongPrompt + kAnswer[1] + 64;
  setup.sequences = streams;
  setup.kv_type = kv;
  const auto model = model::LoadedModel::load(std::make_shared<gguf::File>(image.file()),
                                              compute::make_cpu_backend({}), setup, {},
                                              generate::scheduler_outputs(setup));
  image.forget_pages();
  model->pool().populate();  // as a server does
  const Letters tokenizer(static_cast<std::size_t>(model->spec().vocabulary));
  generate::SchedulerLimits limits;
  limits.parallel = streams;
  Scheduler scheduler(*model, tokenizer, limits);
  const std::int64_t vocabulary = model->spec().vocabulary;
  (void)run_load(scheduler, vocabulary, 1, 1, false, false);  // wakes everything up

  const double alone_seconds = std::max(3.0, seconds / 10);
  generate::SchedulerStatistics before = scheduler.statistics();
  const std::vector<Seen> one = run_load(scheduler, vocabulary, 1, alone_seconds, false, false);
  generate::SchedulerStatistics after = scheduler.statistics();
  print("one stream", one, alone_seconds, 0, before, after);
  const double alone = static_cast<double>(one.front().tokens) / alone_seconds;

  const MemoryWatch memory;
  for (const bool with_long : {false, true}) {
    before = scheduler.statistics();
    const double part = seconds / 2;
    const std::vector<Seen> all = run_load(scheduler, vocabulary, streams, part, with_long, true);
    after = scheduler.statistics();
    print(with_long ? "with 8k prompts" : "all streams", all, part, alone, before, after);
  }
  std::printf("preempted %lld, cancelled %lld, failed %lld\n",
              static_cast<long long>(after.preempted), static_cast<long long>(after.cancelled),
              static_cast<long long>(after.failed));
}

tensor::DType dtype_of(const char* name) {
  const std::optional<tensor::DType> dtype = tensor::dtype_from_name(name);
  if (!dtype.has_value()) throw Error(std::string("there is no format ") + name);
  return *dtype;
}

}  // namespace
}  // namespace hearth::bench

int main(int argc, char** argv) {
  try {
    const auto argument = [&](int index, const char* fallback) {
      return argc > index ? argv[index] : fallback;
    };
    hearth::bench::run(std::atof(argument(1, "60")), std::atoi(argument(2, "16")),
                       argument(3, "qwen3-0.6b"), hearth::bench::dtype_of(argument(4, "q4_k")),
                       hearth::bench::dtype_of(argument(5, "f16")));
    return 0;
  } catch (const hearth::Error& error) {
    std::fprintf(stderr, "%s: %s\n", error.what(), error.hint().c_str());
    return 1;
  }
}
