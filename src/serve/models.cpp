#include "serve/models.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <list>
#include <thread>

#include "generate/compute_turn.h"
#include "model/cost.h"
#include "model/families/registry.h"
#include "model/load_errors.h"
#include "serve/dialects/ollama.h"
#include "serve/http/message.h"
#include "serve/metrics.h"
#include "serve/request_failure.h"
#include "support/elapsed.h"
#include "support/error.h"

namespace hearth::serve {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

/// How often those who wait look whether their client is still there.
constexpr milliseconds kWaitStep{200};

/// Ends a load.
struct LoadCancelled {};

RequestFailure not_enough_memory(const Error& error, std::size_t busy) {
  std::string message = error.what();
  if (!error.hint().empty()) message += "; " + error.hint();
  if (busy > 0) message += fmt::format(" ({} other models are in use and stay loaded)", busy);
  RequestFailure failure(503, std::move(message), "not_enough_memory");
  if (busy > 0) failure.retry_after = std::chrono::seconds(30);
  return failure;
}

RequestFailure cannot_load(const std::string& name, const Error& error, int status) {
  const std::string hint = error.hint().empty() ? "" : "; " + error.hint();
  return {status, fmt::format("the model '{}' cannot be loaded: {}{}", printable(name),
                              error.what(), hint)};
}

RequestFailure not_found(std::string_view name) {
  return {404, fmt::format("model '{}' not found", printable(name)), "model_not_found", "model"};
}

/// What whoever wants `context` cells gets: a model knows nothing beyond what it was trained for,
/// unless the server was `given` more for all.
std::int64_t usable_context(std::int64_t context, const spec::ModelSpec& spec, std::int64_t given) {
  return spec.context_length > 0 ? std::min(context, std::max(spec.context_length, given))
                                 : context;
}

std::string_view what_it_makes(ModelKind kind) {
  switch (kind) {
    case ModelKind::kGenerates:
      return "text";
    case ModelKind::kEmbeds:
      return "embeddings";
    case ModelKind::kReranks:
      return "scores of documents";
  }
  return "";
}

void check_kind(const std::string& name, ModelKind is, std::optional<ModelKind> wanted) {
  if (!wanted || is == *wanted) return;
  throw RequestFailure(400,
                       fmt::format("the model '{}' makes {}, not {}", printable(name),
                                   what_it_makes(is), what_it_makes(*wanted)),
                       "wrong_kind_of_model", "model");
}

}  // namespace

struct ModelManager::Impl {
  /// A model that is loaded or being loaded.
  struct Entry {
    std::string name;
    std::filesystem::path path;
    std::string digest;
    ModelExtras extras;
    std::shared_ptr<ServedModel> model;  // null while loading
    std::atomic<double> progress{0};
    std::size_t users = 0;
    Clock::time_point used = Clock::now();
    std::optional<Clock::time_point> expires;
    bool leave_soon = false;  // unload() was called while it was in use
  };

  Impl(ModelDirectory& models, const ModelOptions& given)
      : directory(models), options(given), turn(std::make_shared<generate::ComputeTurn>()) {
    janitor = std::thread([this] { clean(); });
  }

  Entry* find(const std::filesystem::path& path);
  std::shared_ptr<ServedModel> load(std::unique_lock<std::mutex>& lock, Entry& entry,
                                    std::optional<std::int64_t> context);
  std::shared_ptr<ServedModel> try_load(Entry& entry, std::optional<std::int64_t> context,
                                        bool shrink);
  bool evict(std::unique_lock<std::mutex>& lock);
  [[nodiscard]] std::size_t idle_bytes() const;
  [[nodiscard]] std::size_t in_use() const;
  void remove(std::unique_lock<std::mutex>& lock, Entry& entry);
  void wait(std::unique_lock<std::mutex>& lock, const Wish& wish);
  void release(const std::shared_ptr<ServedModel>& model,
               std::optional<double> keep_alive) noexcept;
  void clean();

  ModelDirectory& directory;
  ModelOptions options;
  std::shared_ptr<generate::ComputeTurn> turn;
  mutable std::mutex mutex;
  std::condition_variable changed;
  std::list<Entry> entries;
  bool busy = false;  // somebody loads or unloads: one at a time
  std::atomic<bool> stopping{false};
  generate::SchedulerStatistics past;  // of models that were unloaded
  std::thread janitor;
};

ModelManager::Impl::Entry* ModelManager::Impl::find(const std::filesystem::path& path) {
  for (Entry& entry : entries) {
    if (entry.path == path) return &entry;
  }
  return nullptr;
}

/// Waits a moment. Throws RequestFailure when the client has given up or the server ends.
void ModelManager::Impl::wait(std::unique_lock<std::mutex>& lock, const Wish& wish) {
  if (stopping.load()) throw RequestFailure(503, "the server is stopping");
  changed.wait_for(lock, kWaitStep);
  lock.unlock();
  const bool given_up = wish.given_up && wish.given_up();
  lock.lock();
  if (given_up) throw RequestFailure(499, "the client went away");
}

/// Unloads what is idle and was not used for longest. False when nothing is idle.
bool ModelManager::Impl::evict(std::unique_lock<std::mutex>& lock) {
  Entry* oldest = nullptr;
  for (Entry& entry : entries) {
    if (entry.users > 0 || !entry.model) continue;
    if (oldest == nullptr || entry.used < oldest->used) oldest = &entry;
  }
  if (oldest == nullptr) return false;
  remove(lock, *oldest);
  return true;
}

/// What unloading all that is idle would give back.
std::size_t ModelManager::Impl::idle_bytes() const {
  std::size_t bytes = 0;
  for (const Entry& entry : entries) {
    if (entry.users == 0 && entry.model) bytes += entry.model->model().memory().total();
  }
  return bytes;
}

std::size_t ModelManager::Impl::in_use() const {
  return static_cast<std::size_t>(std::count_if(
      entries.begin(), entries.end(), [](const Entry& entry) { return entry.users > 0; }));
}

/// With `busy` set by the caller. The model ends without the lock: that may take a moment.
void ModelManager::Impl::remove(std::unique_lock<std::mutex>& lock, Entry& entry) {
  std::shared_ptr<ServedModel> model = std::move(entry.model);
  if (model && model->kind() == ModelKind::kGenerates)
    add_totals(model->scheduler().statistics(), past);
  entries.remove_if([&](const Entry& each) { return &each == &entry; });
  lock.unlock();
  model.reset();
  lock.lock();
}

/// `shrink`: the context may become smaller than the default so that it fits.
std::shared_ptr<ServedModel> ModelManager::Impl::try_load(Entry& entry,
                                                          std::optional<std::int64_t> context,
                                                          bool shrink) {
  ServedModelOptions each = options.each;
  each.extras = read_extras(entry.extras);
  const std::int64_t given = each.setup.context;
  // What a model was made with counts where nobody says anything else.
  const std::int64_t wanted = context.value_or(given == 0 ? each.extras.context.value_or(0) : 0);
  if (wanted > 0 || (given == 0 && !shrink)) {
    const gguf::File file = gguf::File::open(entry.path);
    const spec::ModelSpec spec =
        model::describe_model(file, {wanted, options.each.setup.rope_scaling});
    if (wanted > 0) {
      each.setup.context = usable_context(wanted, spec, given);
    } else if (kind_of(file.metadata(), spec) == ModelKind::kGenerates) {
      each.setup.context = model::default_context(spec);
    }
  }
  return std::make_shared<ServedModel>(entry.path, each, turn, [&](double fraction) {
    if (stopping.load()) throw LoadCancelled();
    entry.progress.store(fraction);
  });
}

/// With `busy` set by the caller; without the lock while it loads.
std::shared_ptr<ServedModel> ModelManager::Impl::load(std::unique_lock<std::mutex>& lock,
                                                      Entry& entry,
                                                      std::optional<std::int64_t> context) {
  const auto most = static_cast<std::size_t>(options.most_loaded);
  while (most > 0 && entries.size() > most) {
    if (evict(lock)) continue;
    RequestFailure failure(
        503, fmt::format("{} models are loaded and in use, which is the most allowed", most));
    failure.retry_after = std::chrono::seconds(30);
    throw failure;
  }
  for (;;) {
    const bool alone = std::none_of(entries.begin(), entries.end(), [](const Entry& each) {
      return each.model != nullptr && each.users == 0;
    });
    lock.unlock();
    try {
      std::shared_ptr<ServedModel> model = try_load(entry, context, alone);
      lock.lock();
      return model;
    } catch (const model::ContextTooLong& error) {
      lock.lock();
      throw cannot_load(entry.name, error, context ? 400 : 500);
    } catch (const model::MemoryShortage& error) {
      lock.lock();
      // What would be too little leaves nobody's model.
      if (error.missing > idle_bytes() || !evict(lock)) throw not_enough_memory(error, in_use());
    } catch (const Error& error) {
      lock.lock();
      std::error_code ignored;
      if (!std::filesystem::exists(entry.path, ignored) && !ignored) throw not_found(entry.name);
      if (error.exit_code() != ExitCode::kDoesNotFit) throw cannot_load(entry.name, error, 500);
      if (!evict(lock)) throw not_enough_memory(error, in_use());
    } catch (const LoadCancelled&) {
      lock.lock();
      throw RequestFailure(503, "the server is stopping");
    } catch (const std::bad_alloc&) {
      lock.lock();
      if (!evict(lock)) throw RequestFailure(503, "there is not enough memory for the model");
    } catch (...) {
      lock.lock();
      throw;
    }
  }
}

void ModelManager::Impl::release(const std::shared_ptr<ServedModel>& model,
                                 std::optional<double> keep_alive) noexcept {
  const std::lock_guard lock(mutex);
  for (Entry& entry : entries) {
    if (entry.model != model) continue;
    --entry.users;
    entry.used = Clock::now();
    const double seconds = entry.leave_soon ? 0 : keep_alive.value_or(options.keep_alive.count());
    entry.expires.reset();
    // More than a year is for ever, and would overflow the clock.
    if (seconds >= 0 && seconds < 3.2e7) {
      entry.expires = entry.used + std::chrono::duration_cast<Clock::duration>(
                                       std::chrono::duration<double>(seconds));
    }
  }
  changed.notify_all();
}

/// Unloads what has been idle for long enough.
void ModelManager::Impl::clean() {
  std::unique_lock lock(mutex);
  while (!stopping.load()) {
    std::optional<Clock::time_point> next;
    Entry* due = nullptr;
    for (Entry& entry : entries) {
      if (entry.users > 0 || !entry.model || !entry.expires) continue;
      if (*entry.expires <= Clock::now()) due = &entry;
      if (!next || *entry.expires < *next) next = entry.expires;
    }
    if (due != nullptr && !busy) {
      busy = true;
      remove(lock, *due);
      busy = false;
      changed.notify_all();
    } else if (next && due == nullptr) {
      changed.wait_until(lock, *next);
    } else {
      changed.wait(lock);
    }
  }
}

std::string bare_name(std::string_view name) {
  std::string text = lower_case(name);
  for (const std::string_view beginning : {"registry.ollama.ai/", "library/"}) {
    if (text.size() > beginning.size() && text.starts_with(beginning))
      text.erase(0, beginning.size());
  }
  for (const std::string_view ending : {":latest", ".gguf"}) {
    if (text.size() > ending.size() && text.ends_with(ending))
      text.resize(text.size() - ending.size());
  }
  return text;
}

ModelManager::ModelManager(ModelDirectory& directory, const ModelOptions& options)
    : impl_(std::make_unique<Impl>(directory, options)) {}

ModelManager::~ModelManager() {
  stop();
  impl_->janitor.join();
}

ModelManager::Lease::Lease(Lease&& other) noexcept { *this = std::move(other); }

ModelManager::Lease& ModelManager::Lease::operator=(Lease&& other) noexcept {
  std::swap(manager_, other.manager_);
  std::swap(model_, other.model_);
  std::swap(name_, other.name_);
  std::swap(load_seconds_, other.load_seconds_);
  std::swap(keep_alive_, other.keep_alive_);
  return *this;
}

ModelManager::Lease::~Lease() {
  if (manager_ != nullptr) manager_->impl_->release(model_, keep_alive_);
}

ModelManager::Lease ModelManager::use(const Wish& wish) {
  AvailableModel wanted = available(wish.name);
  impl_->directory.used(wanted.path);
  const auto start = Clock::now();
  bool waited = false;
  std::unique_lock lock(impl_->mutex);
  const auto wait = [&] {
    impl_->wait(lock, wish);
    lock.unlock();
    wanted = available(wish.name);  // it may have been made anew meanwhile
    lock.lock();
  };
  bool grown = false;  // once: a loader may have reasons for less that are not known here
  for (;;) {
    Impl::Entry* entry = impl_->find(wanted.path);
    const bool grow =
        entry != nullptr && entry->model && wish.context && entry->users == 0 && !grown &&
        usable_context(*wish.context, entry->model->model().spec(), 0) > entry->model->context();
    // It was made anew of another file or with other texts: those that use the old one come to
    // their end first.
    const bool stale = entry != nullptr && entry->model &&
                       (entry->digest != wanted.digest || entry->extras != wanted.extras);
    if (stale && entry->users > 0) {
      wait();
      continue;
    }
    if (entry != nullptr && entry->model && !grow && !stale) {
      check_kind(wanted.name, entry->model->kind(), wish.kind);
      ++entry->users;
      entry->leave_soon = false;
      Lease lease;
      lease.manager_ = this;
      lease.model_ = entry->model;
      lease.name_ = wanted.name;
      if (waited) lease.load_seconds_ = seconds_since(start);
      return lease;
    }
    waited = true;
    if (impl_->stopping.load()) throw RequestFailure(503, "the server is stopping");
    if (impl_->busy) {
      wait();
      continue;
    }
    impl_->busy = true;
    grown = true;
    if (grow || stale) impl_->remove(lock, *entry);
    Impl::Entry& added = impl_->entries.emplace_back();
    added.name = wanted.name;
    added.path = wanted.path;
    added.digest = wanted.digest;
    added.extras = wanted.extras;
    try {
      added.model = impl_->load(lock, added, wish.context);
    } catch (...) {
      impl_->entries.remove_if([&](const Impl::Entry& each) { return &each == &added; });
      impl_->busy = false;
      impl_->changed.notify_all();
      throw;
    }
    impl_->busy = false;
    impl_->changed.notify_all();
  }
}

void ModelManager::preload(std::string_view name) {
  const Lease lease = use({.name = name, .kind = std::nullopt});
}

AvailableModel ModelManager::available(std::string_view name) {
  std::optional<AvailableModel> found;
  try {
    if (name.empty()) {
      std::vector<AvailableModel> all = impl_->directory.list();
      if (!all.empty()) found = std::move(all.front());
    } else {
      found = impl_->directory.find(name);
    }
  } catch (const Error& error) {
    throw RequestFailure(400, error.hint().empty()
                                  ? error.what()
                                  : fmt::format("{}; {}", error.what(), error.hint()));
  }
  if (found) return *std::move(found);
  if (!name.empty()) throw not_found(name);
  throw RequestFailure(404, "there is no model; fetch one with `hearth pull`", "model_not_found",
                       "model");
}

ModelDirectory& ModelManager::directory() noexcept { return impl_->directory; }

std::vector<LoadedFacts> ModelManager::loaded(generate::SchedulerStatistics* past) const {
  const std::lock_guard lock(impl_->mutex);
  if (past != nullptr) *past = impl_->past;
  std::vector<LoadedFacts> all;
  for (const Impl::Entry& entry : impl_->entries) {
    LoadedFacts facts{.name = entry.name,
                      .path = entry.path,
                      .loading = !entry.model,
                      .progress = entry.progress.load(),
                      .users = entry.users,
                      .expires_in = std::nullopt,
                      .model = entry.model};
    if (entry.expires && entry.users == 0) {
      facts.expires_in =
          std::max(0.0, std::chrono::duration<double>(*entry.expires - Clock::now()).count());
    }
    all.push_back(std::move(facts));
  }
  return all;
}

bool ModelManager::unload(std::string_view name) {
  const AvailableModel wanted = available(name);
  const std::lock_guard lock(impl_->mutex);
  Impl::Entry* entry = impl_->find(wanted.path);
  if (entry == nullptr) return false;
  entry->leave_soon = true;
  entry->expires = Clock::now();
  impl_->changed.notify_all();
  return true;
}

void ModelManager::refuse_loads() noexcept {
  const std::lock_guard lock(impl_->mutex);
  impl_->stopping.store(true);
  impl_->changed.notify_all();
}

void ModelManager::stop() {
  refuse_loads();
  std::vector<std::shared_ptr<ServedModel>> models;
  {
    const std::lock_guard lock(impl_->mutex);
    for (const Impl::Entry& entry : impl_->entries) {
      if (entry.model && entry.model->kind() == ModelKind::kGenerates)
        models.push_back(entry.model);
    }
  }
  // None is told later because it stands behind another one's pass.
  for (const auto& model : models) model->scheduler().cancel_all();
  for (const auto& model : models) model->scheduler().drain(milliseconds(0));
}

}  // namespace hearth::serve
