// --lora and --control-vector: what commands that run a model share.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "model/loaded_model.h"

namespace CLI {
class App;
}

namespace hearth::cli {

/// The values of the two options, FILE[:SCALE] each.
struct AdapterOptions {
  std::vector<std::string> loras, control_vectors;
};

/// Adds --lora and --control-vector to a command that has no settings table.
void add_adapter_options(CLI::App& command, AdapterOptions& options);

/// A file with the number behind its last colon; without one, 1. A file whose whole name is there
/// is that file.
struct ScaledFile {
  std::string path;
  float scale = 1;
};
[[nodiscard]] ScaledFile parse_scaled_file(std::string_view value);

/// The adapters and control vectors of a command, loaded once; which of them count, and how much,
/// can change at any time.
class Adapters {
 public:
  struct Entry {
    std::string name;  // the file's
    bool control = false;
    float scale = 1;  // 0: off
    float given = 1;  // what it was loaded with
    std::shared_ptr<const model::Adapter> adapter;
    std::shared_ptr<const model::ControlVector> vector;
  };

  /// Loads all. Throws Error.
  Adapters(model::LoadedModel& model, const AdapterOptions& options);

  [[nodiscard]] const std::vector<Entry>& entries() const noexcept { return entries_; }
  void set_scale(std::size_t index, float scale) { entries_.at(index).scale = scale; }
  /// What a pass applies now; null when that is nothing.
  [[nodiscard]] std::shared_ptr<const model::AdapterSet> chosen() const;

 private:
  model::LoadedModel* model_;
  std::vector<Entry> entries_;
};

}  // namespace hearth::cli
