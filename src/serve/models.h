// The models that are served: found by name, loaded when they are asked for, kept for a while,
// and unloaded when they are idle for long or another one needs the memory.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "serve/model_extras.h"
#include "serve/served_model.h"

namespace hearth::serve {

/// A model that can be asked for.
struct AvailableModel {
  std::string name;  ///< what clients call it
  std::filesystem::path path;
  std::uint64_t bytes = 0;
  std::int64_t modified = 0;  ///< Unix seconds
  std::string digest;         ///< SHA-256 in hexadecimal; empty when it is not known
  std::string quant, source;
  ModelExtras extras = {};
};

/// A model's name in lower case and without what clients add to it: Ollama's registry, "library/",
/// ":latest", ".gguf".
[[nodiscard]] std::string bare_name(std::string_view name);

/// Where models come from. Methods may be called by several threads.
class ModelDirectory {
 public:
  virtual ~ModelDirectory() = default;
  /// In the order in which they should be listed; the first is meant by an empty name.
  [[nodiscard]] virtual std::vector<AvailableModel> list() = 0;
  /// By name: case does not matter, ":latest" and ".gguf" may be left out. Nothing when there is
  /// none. A name that means several is an Error.
  [[nodiscard]] virtual std::optional<AvailableModel> find(std::string_view name) = 0;
  /// The model at `path` was used.
  virtual void used(const std::filesystem::path& /*path*/) {}
};

struct ModelOptions {
  ServedModelOptions each;
  /// How long an idle model stays. Negative: for ever.
  std::chrono::duration<double> keep_alive{300};
  int most_loaded = 0;  ///< 0: as many as memory holds
};

/// What is known of a loaded (or loading) model.
struct LoadedFacts {
  std::string name;
  std::filesystem::path path;
  bool loading = false;
  double progress = 0;    ///< 0..1 while loading
  std::size_t users = 0;  ///< requests
  /// Seconds until it is unloaded; nothing: never, or it is in use.
  std::optional<double> expires_in;
  std::shared_ptr<ServedModel> model;  ///< null while loading
};

class ModelManager {
 public:
  /// `directory` must outlive the manager. Starts the thread that unloads idle models.
  ModelManager(ModelDirectory& directory, const ModelOptions& options);
  /// Unloads everything; leases must be gone.
  ~ModelManager();

  /// While it exists, the model stays loaded.
  class Lease {
   public:
    Lease() = default;
    Lease(Lease&& other) noexcept;
    Lease& operator=(Lease&& other) noexcept;
    ~Lease();
    [[nodiscard]] ServedModel& operator*() const noexcept { return *model_; }
    [[nodiscard]] ServedModel* operator->() const noexcept { return model_.get(); }
    /// The name in the directory.
    [[nodiscard]] const std::string& name() const noexcept { return name_; }
    /// How long it took until the model was there; 0 when it was loaded already.
    [[nodiscard]] double load_seconds() const noexcept { return load_seconds_; }
    /// For how long the model stays when its last lease is gone. Negative: for ever.
    void keep_alive(double seconds) noexcept { keep_alive_ = seconds; }

   private:
    friend class ModelManager;
    ModelManager* manager_ = nullptr;
    std::shared_ptr<ServedModel> model_;
    std::string name_;
    double load_seconds_ = 0;
    std::optional<double> keep_alive_;
  };

  struct Wish {
    std::string_view name;                                  ///< empty: the first one
    std::optional<ModelKind> kind = ModelKind::kGenerates;  ///< nothing: any
    std::optional<std::int64_t> context =
        std::nullopt;  ///< more than it is loaded with: it is loaded anew
    /// Asked from time to time while waiting; true ends it with RequestFailure 499. What it throws
    /// ends it, too. A load that this one has begun is brought to its end.
    std::function<bool()> given_up = {};
  };
  /// Loads the model when it is not there, waiting for others that load; unloads idle ones that
  /// were not used for longest when memory is short. Throws RequestFailure: 404 unknown, 400 the
  /// wrong kind, 503 no memory (the numbers).
  [[nodiscard]] Lease use(const Wish& wish);

  /// Loads it, whatever it is for, and leaves it idle. Throws RequestFailure as use() does.
  void preload(std::string_view name);

  /// The model of that name as it is available. Throws RequestFailure 404.
  [[nodiscard]] AvailableModel available(std::string_view name);
  [[nodiscard]] ModelDirectory& directory() noexcept;
  /// `past`, unless null: what models did that were unloaded since. No model is in both.
  [[nodiscard]] std::vector<LoadedFacts> loaded(
      generate::SchedulerStatistics* past = nullptr) const;
  /// Unloads it as soon as it is idle; true when it was loaded.
  bool unload(std::string_view name);
  /// Nothing is loaded from now on, and what is being loaded is given up.
  void refuse_loads() noexcept;
  /// Cancels what runs and waits for its end; nothing is loaded any more.
  void stop();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace hearth::serve
