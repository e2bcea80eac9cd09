// A case of goldens/arch: its description, its reference arrays, and its model on a backend.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "compute/backend.h"
#include "compute/cpu/cpu_backend.h"
#include "gguf/file.h"
#include "model/cost.h"
#include "model/families/registry.h"
#include "model/runner.h"
#include "model/weights.h"
#include "shared_dir.h"
#include "state/sequence.h"
#include "support/file.h"

namespace hearth::testing {

struct GoldenCase {
  nlohmann::json description;
  std::string arrays;

  explicit GoldenCase(const std::string& name) {
    const std::filesystem::path folder = goldens_dir() / "arch";
    description = nlohmann::json::parse(read_file(folder / (name + ".json")));
    arrays = read_file(folder / description.at("bin").get<std::string>());
  }
  [[nodiscard]] std::filesystem::path model() const {
    return goldens_dir() / "arch" / description.at("gguf").get<std::string>();
  }
  [[nodiscard]] std::vector<float> array(const std::string& name) const {
    for (const auto& entry : description.at("arrays")) {
      if (entry.at("name") != name) continue;
      std::size_t count = 1;
      for (const auto& size : entry.at("shape")) count *= size.get<std::size_t>();
      std::vector<float> values(count);
      std::memcpy(values.data(), arrays.data() + entry.at("offset").get<std::size_t>(),
                  count * sizeof(float));
      return values;
    }
    ADD_FAILURE() << "no array " << name;
    return {};
  }
  [[nodiscard]] std::vector<std::int32_t> ids(const std::string& name) const {
    return description.at(name).get<std::vector<std::int32_t>>();
  }
};

/// Names of the cases of a mode ("gen", "embed", ..) whose architecture is known, sorted.
inline std::vector<std::string> golden_cases(const std::string& mode) {
  std::vector<std::string> names;
  const std::filesystem::path folder = goldens_dir() / "arch";
  if (!std::filesystem::exists(folder)) return names;
  const std::vector<std::string_view> known = model::known_architectures();
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.path().extension() != ".json") continue;
    const auto description = nlohmann::json::parse(read_file(entry.path()));
    if (description.value("mode", "") != mode) continue;
    const auto architecture = description.at("arch").get<std::string>();
    if (std::find(known.begin(), known.end(), architecture) == known.end()) continue;
    names.push_back(entry.path().stem().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

/// What --exact must reach: these three amplify rounding (the issue's own limits).
inline double golden_tolerance(const std::string& name) {
  return name == "gemma3n" || name == "glm-dsa" || name == "deepseek4-long" ? 1e-6 : 1e-8;
}

/// The CPU backend with the reference's arithmetic.
inline std::unique_ptr<compute::Backend> exact_backend(int threads = 2) {
  return compute::make_cpu_backend({.threads = threads, .exact = true, .instruction_set = ""});
}

/// sum((a - reference)^2) / sum(reference^2).
inline double nmse(std::span<const float> values, std::span<const float> reference) {
  EXPECT_EQ(values.size(), reference.size());
  double error = 0;
  double norm = 0;
  for (std::size_t i = 0; i < std::min(values.size(), reference.size()); ++i) {
    const double difference = static_cast<double>(values[i]) - reference[i];
    error += difference * difference;
    norm += static_cast<double>(reference[i]) * reference[i];
  }
  return error / norm;
}

/// A model with one sequence on a backend; every row gives logits.
class ModelOnBackend {
 public:
  ModelOnBackend(const std::filesystem::path& path, std::unique_ptr<compute::Backend> backend,
                 const spec::KvFormat& kv_type = tensor::DType::kF32, std::int64_t context = 512)
      : file_(gguf::File::open(path)), backend_(std::move(backend)) {
    spec_ = model::describe_model(file_, {context});
    if (spec_.position_limit > 0) context = std::min(context, spec_.position_limit);
    spec::Setup setup;
    setup.context = context;
    setup.kv_type = kv_type;
    setup.batch_rows = context;
    setup.sequences = 2;
    const bool hidden = !spec_.head.linear.present();
    const model::Outputs outputs{
        .logit_rows = context,
        .hidden = hidden ? model::HiddenRequest::kHidden : model::HiddenRequest::kNone,
        .hidden_rows = hidden ? context : 0};
    const model::PassCost cost =
        model::count_pass(file_, spec_, setup, *backend_, context, 0, outputs);
    backend_->reserve(context, cost.widest);
    weights_ = std::make_unique<model::Weights>(file_, spec_, *backend_,
                                                compute::Residency::kPacked, nullptr);
    pool_ = std::make_unique<state::MemoryPool>(*backend_, spec_, model::memory_limits(setup));
    runner_ = std::make_unique<model::Runner>(spec_, *weights_, *backend_, *pool_,
                                              model::limits_of(setup, outputs), cost.arena_bytes);
  }

  void restart(std::int64_t first_position) {
    sequence_ = std::make_unique<state::SequenceState>(*pool_, first_position);
  }

  /// Logits of all rows.
  std::vector<float> run(std::span<const std::int32_t> tokens) {
    std::vector<model::BatchRow> rows;
    for (const std::int32_t token : tokens)
      rows.push_back({.sequence = sequence_.get(), .token = token, .wants_logits = true});
    const std::span<const float> logits = runner_->run(rows);
    return {logits.begin(), logits.end()};
  }

  /// The same in pieces of the given sizes, repeated.
  std::vector<float> run_in_chunks(std::span<const std::int32_t> tokens,
                                   std::span<const std::size_t> sizes) {
    std::vector<float> all;
    for (std::size_t i = 0, done = 0; done < tokens.size(); ++i) {
      const std::size_t count = std::min(sizes[i % sizes.size()], tokens.size() - done);
      const std::vector<float> part = run(tokens.subspan(done, count));
      all.insert(all.end(), part.begin(), part.end());
      done += count;
    }
    return all;
  }

  /// A second, independent sequence.
  std::unique_ptr<state::SequenceState> new_sequence() {
    return std::make_unique<state::SequenceState>(*pool_);
  }
  std::vector<float> run_rows(std::span<const model::BatchRow> rows) {
    const std::span<const float> logits = runner_->run(rows);
    return {logits.begin(), logits.end()};
  }

  [[nodiscard]] const spec::ModelSpec& spec() const { return spec_; }
  [[nodiscard]] model::Runner& runner() { return *runner_; }
  [[nodiscard]] state::SequenceState& sequence() { return *sequence_; }

 private:
  gguf::File file_;
  spec::ModelSpec spec_;
  std::unique_ptr<compute::Backend> backend_;
  std::unique_ptr<model::Weights> weights_;
  std::unique_ptr<state::MemoryPool> pool_;
  std::unique_ptr<model::Runner> runner_;
  std::unique_ptr<state::SequenceState> sequence_;
};

inline std::size_t argmax(std::span<const float> values) {
  return static_cast<std::size_t>(std::max_element(values.begin(), values.end()) - values.begin());
}

}  // namespace hearth::testing
