// Adapters and control vectors that are loaded, and the choice of them that a pass applies.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "compute/backend.h"
#include "model/adapter_source.h"
#include "model/adapters.h"
#include "spec/model_spec.h"

namespace hearth::model {

/// A LoRA adapter whose weights are on a backend.
class Adapter {
 public:
  struct Term {
    std::string weight;
    bool embedding = false;
    std::unique_ptr<compute::Weight> a, b;
    float scale = 1;
  };

  /// Throws Error when memory is short.
  Adapter(std::shared_ptr<const AdapterSource> source, std::shared_ptr<compute::Backend> backend,
          compute::Residency residency);

  [[nodiscard]] const std::vector<Term>& terms() const noexcept { return terms_; }
  [[nodiscard]] const std::filesystem::path& path() const noexcept { return source_->path(); }
  [[nodiscard]] std::size_t host_bytes() const noexcept { return source_->host_bytes(); }
  /// Of its numbers and what they belong to.
  [[nodiscard]] std::uint64_t fingerprint() const noexcept { return fingerprint_; }
  /// See AdapterSource::check.
  void check() const { source_->check(); }
  /// Most input features of any of its matrices.
  [[nodiscard]] std::int64_t widest() const noexcept;

 private:
  std::shared_ptr<compute::Backend> backend_;
  std::shared_ptr<const AdapterSource> source_;
  std::vector<Term> terms_;
  std::uint64_t fingerprint_ = 0;
};

/// Directions that are added to the stream after layers (reference: lora-imatrix.md section 2; Zou
/// et al. 2023, arXiv:2310.01405).
class ControlVector {
 public:
  /// Reads a GGUF control vector for a model. Throws Error.
  ControlVector(const std::filesystem::path& path, const spec::ModelSpec& spec);

  /// What is added after layer `layer`, [width]; empty: nothing.
  [[nodiscard]] std::span<const float> direction(std::size_t layer) const noexcept;
  [[nodiscard]] const std::filesystem::path& path() const noexcept { return path_; }

 private:
  [[noreturn]] void fail(const std::string& what, const std::string& hint = {}) const;

  std::filesystem::path path_;
  std::vector<std::vector<float>> directions_;  // by layer
};

struct AdapterChoice {
  std::shared_ptr<const Adapter> adapter;
  float scale = 1;
};

struct ControlChoice {
  std::shared_ptr<const ControlVector> vector;
  float strength = 1;
  /// Layers it applies to, counted from 0, both included.
  std::int64_t first_layer = 0, last_layer = std::numeric_limits<std::int64_t>::max();
};

/// Any number of adapters and control vectors, which add up.
class AdapterMix final : public AdapterSet {
 public:
  AdapterMix(const std::vector<AdapterChoice>& adapters, const std::vector<ControlChoice>& vectors,
             std::shared_ptr<compute::Backend> backend, const spec::ModelSpec& spec);

  [[nodiscard]] std::uint64_t fingerprint() const noexcept override { return fingerprint_; }
  [[nodiscard]] std::span<const LowRank> of(std::string_view weight) const noexcept override;
  [[nodiscard]] std::span<const LowRank> embedding() const noexcept override { return embedding_; }
  [[nodiscard]] tensor::Tensor direction(std::size_t layer) const noexcept override;

 private:
  struct NameHash {
    using is_transparent = void;
    std::size_t operator()(std::string_view name) const noexcept {
      return std::hash<std::string_view>{}(name);
    }
  };
  void add_directions(const std::vector<ControlChoice>& vectors, const spec::ModelSpec& spec);

  std::shared_ptr<compute::Backend> backend_;
  std::vector<std::shared_ptr<const Adapter>> adapters_;  // kept alive
  std::unordered_map<std::string, std::vector<LowRank>, NameHash, std::equal_to<>> terms_;
  std::vector<LowRank> embedding_;
  std::unique_ptr<tensor::Buffer> directions_;
  std::vector<tensor::Tensor> by_layer_;
  std::uint64_t fingerprint_ = 0;
};

}  // namespace hearth::model
