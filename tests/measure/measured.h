// Models of the reference data, loaded to be measured.
#pragma once

#include <gtest/gtest.h>

#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "compute/cpu/cpu_backend.h"
#include "measure/chunks.h"
#include "model/families/registry.h"
#include "model/loaded_model.h"
#include "shared_dir.h"
#include "support/file.h"

namespace hearth::testing {

/// The prompt of a golden case.
inline std::vector<text::TokenId> golden_prompt(const std::string& name) {
  const auto description =
      nlohmann::json::parse(read_file(goldens_dir() / "arch" / (name + ".json")));
  return description.at("prompt_tokens").get<std::vector<text::TokenId>>();
}

/// Loads for `wanted`, in float32 unless `fast`; on `backend` unless that is null.
inline std::unique_ptr<model::LoadedModel> load_measured(
    const std::filesystem::path& path, std::int64_t size, std::int64_t chunks, std::int64_t batch,
    measure::WantedLogits wanted, bool fast = false,
    std::shared_ptr<compute::Backend> backend = {}) {
  spec::Setup setup;
  setup.model = path;
  setup.threads = 2;
  setup.exact = !fast;
  setup.kv_type = fast ? tensor::DType::kF16 : tensor::DType::kF32;
  auto file = std::make_shared<gguf::File>(gguf::File::open(path));
  const spec::ModelSpec spec = model::describe_model(*file, {size});
  const measure::ChunkSetup ready = measure::chunk_setup(setup, spec, size, chunks, batch, wanted);
  if (!backend)
    backend = compute::make_cpu_backend({.threads = 2, .exact = !fast, .instruction_set = {}});
  return model::LoadedModel::load(std::move(file), std::move(backend), ready.setup, {},
                                  ready.outputs);
}

}  // namespace hearth::testing
