// Models of the reference data, loaded to be measured.
#pragma once

#include <gtest/gtest.h>

#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "measure/chunks.h"
#include "model/families/registry.h"
#include "model/loaded_model.h"
#include "shared_dir.h"
#include "support/file.h"

namespace hearth::testing {

inline std::filesystem::path golden_model(const std::string& name) {
  return goldens_dir() / "arch" / (name + ".gguf");
}
inline std::filesystem::path stories_model() {
  return shared_dir() / "models" / "stories260K.gguf";
}

/// The prompt of a golden case.
inline std::vector<text::TokenId> golden_prompt(const std::string& name) {
  const auto description =
      nlohmann::json::parse(read_file(goldens_dir() / "arch" / (name + ".json")));
  return description.at("prompt_tokens").get<std::vector<text::TokenId>>();
}

/// Loads for `wanted`, in float32 unless `fast`.
inline std::unique_ptr<model::LoadedModel> load_measured(
    const std::filesystem::path& path, std::int64_t size, std::int64_t chunks, std::int64_t batch,
    measure::WantedLogits wanted, bool fast = false, const model::BackendDecorator& decorate = {}) {
  spec::Setup setup;
  setup.model = path;
  setup.threads = 2;
  setup.exact = !fast;
  setup.kv_type = fast ? tensor::DType::kF16 : tensor::DType::kF32;
  const spec::ModelSpec spec = model::describe_model(gguf::File::open(path), {size});
  const measure::ChunkSetup ready = measure::chunk_setup(setup, spec, size, chunks, batch, wanted);
  return model::LoadedModel::load(ready.setup, {}, ready.outputs, decorate);
}

}  // namespace hearth::testing
