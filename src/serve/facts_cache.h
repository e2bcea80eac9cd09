// What is told about models that are not loaded: read from their files' headers, once.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "serve/dialects/model_facts.h"
#include "serve/models.h"

namespace hearth::serve {

class FactsCache {
 public:
  explicit FactsCache(ModelManager& models) : models_(models) {}

  /// Of a model; what cannot be read is left out.
  [[nodiscard]] ModelFacts facts(const AvailableModel& model);
  /// Of all, in the directory's order.
  [[nodiscard]] std::vector<ModelFacts> all();
  [[nodiscard]] std::vector<LoadedModelFacts> loaded();
  /// Everything about one. `verbose`: long arrays of the metadata and the tensors. Throws Error
  /// when the file cannot be read.
  [[nodiscard]] ModelDetails details(const AvailableModel& model, bool verbose);

 private:
  struct Known {
    std::int64_t modified = 0;
    std::uint64_t bytes = 0;
    ModelFacts facts;
  };
  ModelManager& models_;
  std::mutex mutex_;
  std::map<std::filesystem::path, Known> known_;
};

}  // namespace hearth::serve
