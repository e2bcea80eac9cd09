#include "generate/scheduler.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <unordered_map>
#include <utility>

#include "generate/compute_turn.h"
#include "generate/generation.h"
#include "generate/prefixes.h"
#include "generate/scheduler_loop.h"

namespace hearth::generate {
namespace {

/// Before any request has ended.
constexpr double kGuessedSeconds = 5;
constexpr double kLongestRetry = 300;

SchedulerLimits checked(SchedulerLimits limits, model::LoadedModel& model) {
  const spec::ModelSpec& spec = model.spec();
  if (!spec.head.linear.present() || spec.encoder || !spec.causal) {
    throw Error("this model does not continue texts", "use a model that does");
  }
  limits.parallel = std::clamp(limits.parallel, 1, model.setup().sequences);
  limits.queue = std::max(limits.queue, 0);
  if (model.runner().limits().logit_rows < limits.parallel) {
    throw Error("the model was not loaded for several requests at once",
                "this is a bug in Hearth: please report it");
  }
  return limits;
}

}  // namespace

model::Outputs scheduler_outputs(const spec::Setup& setup) {
  model::Outputs outputs;
  outputs.logit_rows = setup.sequences;
  return outputs;
}

struct Scheduler::Impl {
  const SchedulerLimits limits;
  const GenerationContext common;
  const std::shared_ptr<ComputeTurn> turn;
  const std::unique_ptr<Prefixes> prefixes;
  SchedulerLoop loop;  // the thread's own

  mutable std::mutex mutex;
  std::condition_variable work, ended;
  std::vector<std::shared_ptr<Generation>> inbox;
  std::unordered_map<RequestId, std::shared_ptr<Generation>> registry;  // until they are told
  RequestId next_id = 1;
  int unended = 0;
  bool draining = false, stopping = false;
  bool disturbed = false;  // something was fetched, or cancelled
  SchedulerStatistics statistics;
  std::vector<RunningRequest> running;
  std::int64_t refused = 0;
  double mean_seconds = 0;

  std::thread thread;  // last: it uses the others

  Impl(model::LoadedModel& model, const text::Tokenizer& tokenizer, const SchedulerLimits& given,
       std::shared_ptr<ComputeTurn> turn_, std::unique_ptr<Prefixes> prefixes_)
      : limits(checked(given, model)),
        common{tokenizer, model.spec().vocabulary, model.setup().context,
               never_generated(tokenizer, model.spec().vocabulary)},
        turn(std::move(turn_)),
        prefixes(std::move(prefixes_)),
        loop(model, limits, turn.get(), prefixes.get(),
             [this](const Generation& generation, bool told) { end(generation, told); }),
        thread([this] { run(); }) {}

  /// Called by the thread of the prefixes when something was fetched.
  void wake() {
    {
      const std::lock_guard lock(mutex);
      disturbed = true;
    }
    work.notify_all();
  }

  ~Impl() {
    {
      const std::lock_guard lock(mutex);
      stopping = true;
      for (const auto& [id, generation] : registry) generation->cancel();
    }
    work.notify_all();
    thread.join();
    if (prefixes) prefixes->stop();
  }

  void run() {
    if (prefixes) prefixes->start([this] { wake(); });
    std::vector<std::shared_ptr<Generation>> arrived;
    for (;;) {
      {
        std::unique_lock lock(mutex);
        const auto is_woken = [this] { return stopping || disturbed || !inbox.empty(); };
        if (!loop.stalled()) {
          work.wait(lock, [this] { return stopping || !inbox.empty() || !loop.idle(); });
        } else if (const auto deadline = loop.next_deadline()) {
          work.wait_until(lock, *deadline, is_woken);
        } else {
          work.wait(lock, is_woken);
        }
        disturbed = false;
        if (stopping && inbox.empty() && loop.idle()) return;
        arrived.swap(inbox);
      }
      for (std::shared_ptr<Generation>& each : arrived) loop.enter(std::move(each));
      arrived.clear();
      try {
        loop.step();
        if (loop.idle()) loop.rest();
      } catch (const Error& error) {
        loop.fail_all(error);
      } catch (const std::exception& error) {
        loop.fail_all(Error(error.what()));
      }
      publish();
    }
  }

  void publish() {
    const SchedulerStatistics now = loop.statistics();
    const std::lock_guard lock(mutex);
    statistics = now;
    mean_seconds = loop.mean_seconds();
    loop.list_running(running);
  }

  /// A generation has ended: its place is free before the listener is told, but the scheduler is
  /// done with it only afterwards.
  void end(const Generation& generation, bool told) {
    if (!told) publish();
    const std::lock_guard lock(mutex);
    if (!told) {
      --unended;
      return;
    }
    registry.erase(generation.id());
    if (registry.empty()) ended.notify_all();
  }

  RequestId submit(GenerateRequest request, std::shared_ptr<Listener> listener) {
    RequestId id = 0;
    {
      const std::lock_guard lock(mutex);
      id = next_id++;
    }
    auto generation =
        std::make_shared<Generation>(id, std::move(request), std::move(listener), common);
    {
      const std::lock_guard lock(mutex);
      if (draining || stopping) {
        ++refused;
        throw QueueFull("the server is stopping and takes no more requests",
                        std::chrono::seconds(1));
      }
      if (unended >= limits.parallel + limits.queue) {
        ++refused;
        throw QueueFull(fmt::format("{} requests wait already", unended - limits.parallel),
                        retry_after());
      }
      registry.emplace(id, generation);
      inbox.push_back(std::move(generation));
      ++unended;
    }
    work.notify_one();
    return id;
  }

  /// When those who wait now will have been served.
  [[nodiscard]] std::chrono::seconds retry_after() const {
    const double each = mean_seconds > 0 ? mean_seconds : kGuessedSeconds;
    const double all = each * (unended - limits.parallel) / limits.parallel;
    return std::chrono::seconds(
        static_cast<std::int64_t>(std::clamp(std::ceil(all), 1.0, kLongestRetry)));
  }

  void cancel(RequestId id) noexcept {
    const std::lock_guard lock(mutex);
    const auto found = registry.find(id);
    if (found == registry.end()) return;
    found->second->cancel();
    disturbed = true;
    work.notify_all();
  }

  void cancel_all() noexcept {
    const std::lock_guard lock(mutex);
    for (const auto& [id, generation] : registry) generation->cancel();
    disturbed = true;
    work.notify_all();
  }

  void drain(std::chrono::milliseconds patience) {
    const auto is_empty = [this] { return registry.empty(); };
    {
      std::unique_lock lock(mutex);
      draining = true;
      if (ended.wait_for(lock, patience, is_empty)) return;
    }
    cancel_all();
    std::unique_lock lock(mutex);
    ended.wait(lock, is_empty);
  }

  [[nodiscard]] SchedulerStatistics current() const {
    const std::lock_guard lock(mutex);
    SchedulerStatistics now = statistics;
    now.waiting += static_cast<int>(inbox.size());
    now.refused = refused;
    return now;
  }
};

Scheduler::Scheduler(model::LoadedModel& model, const text::Tokenizer& tokenizer,
                     const SchedulerLimits& limits, std::shared_ptr<ComputeTurn> turn,
                     std::unique_ptr<Prefixes> prefixes)
    : impl_(
          std::make_unique<Impl>(model, tokenizer, limits, std::move(turn), std::move(prefixes))) {}

Scheduler::~Scheduler() = default;

Scheduler::RequestId Scheduler::submit(GenerateRequest request,
                                       std::shared_ptr<Listener> listener) {
  return impl_->submit(std::move(request), std::move(listener));
}

void Scheduler::cancel(RequestId id) noexcept { impl_->cancel(id); }
void Scheduler::cancel_all() noexcept { impl_->cancel_all(); }
void Scheduler::drain(std::chrono::milliseconds patience) { impl_->drain(patience); }
SchedulerStatistics Scheduler::statistics() const { return impl_->current(); }
std::vector<RunningRequest> Scheduler::running() const {
  std::vector<RunningRequest> now;
  {
    const std::lock_guard lock(impl_->mutex);
    now = impl_->running;
  }
  std::sort(now.begin(), now.end(),
            [](const RunningRequest& a, const RunningRequest& b) { return a.slot < b.slot; });
  return now;
}
const SchedulerLimits& Scheduler::limits() const noexcept { return impl_->limits; }

}  // namespace hearth::generate
