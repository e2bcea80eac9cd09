// LoRA adapters as they come from files, checked against the model they are for: GGUF adapters and
// folders as PEFT writes them (reference: lora-imatrix.md section 1; Hu et al. 2021,
// arXiv:2106.09685).
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "compute/backend.h"
#include "gguf/file.h"
#include "spec/model_spec.h"

namespace hearth::model {

/// The change of one matrix of the model: y += strength * scale * B (A x).
struct AdapterTerm {
  std::string weight;      // as the spec names it
  bool embedding = false;  // `a` is a table: one row per token
  compute::WeightSource a, b;
  float scale = 1;  // alpha / rank
};

/// A matrix, or a stack of them, of an adapter.
struct Factor {
  tensor::DType dtype = tensor::DType::kF32;
  std::int64_t rows = 0, columns = 0, matrices = 1;
  std::span<const std::byte> bytes;
};

class AdapterSource {
 public:
  /// Opens a GGUF adapter or a PEFT folder for `model`, which `spec` describes. Throws Error naming
  /// the file and what is wrong with it: an unknown or missing tensor, a shape that does not fit,
  /// another architecture, a kind of adapter that is not supported.
  [[nodiscard]] static std::unique_ptr<AdapterSource> open(const std::filesystem::path& path,
                                                           const gguf::File& model,
                                                           const spec::ModelSpec& spec);
  virtual ~AdapterSource() = default;
  AdapterSource(const AdapterSource&) = delete;
  AdapterSource& operator=(const AdapterSource&) = delete;

  /// Throws Error if the file was truncated while its numbers are used where they are.
  virtual void check() const {}

  [[nodiscard]] std::span<const AdapterTerm> terms() const noexcept { return terms_; }
  [[nodiscard]] const std::filesystem::path& path() const noexcept { return path_; }
  /// Memory that numbers take which are not used where they are in the file.
  [[nodiscard]] std::size_t host_bytes() const noexcept { return host_bytes_; }

 protected:
  AdapterSource(std::filesystem::path path, const gguf::File& model, const spec::ModelSpec& spec);

  /// Adds the change of tensor `name` of the model. Throws Error when there is no such matrix or
  /// the shapes do not fit. The scale is alpha / rank, or alpha / sqrt(rank) with `root_of_rank`
  /// (rsLoRA, arXiv:2312.03732), or 1 where alpha is 0.
  void add(std::string_view name, Factor a, Factor b, double alpha, bool root_of_rank);
  /// Floats that live as long as this.
  [[nodiscard]] std::span<float> make_floats(std::size_t count);
  /// Throws Error "adapter 'PATH' WHAT".
  [[noreturn]] void fail(const std::string& what, const std::string& hint = {}) const;

  [[nodiscard]] const gguf::File& model() const noexcept { return model_; }
  [[nodiscard]] const spec::ModelSpec& spec() const noexcept { return spec_; }
  /// What `name` is in the model: the output matrix may be the embedding table.
  [[nodiscard]] std::string resolved(std::string_view name) const;

 private:
  [[nodiscard]] Factor cut(const Factor& b, std::int64_t matrices) const;
  [[nodiscard]] Factor repeated(const Factor& a, std::int64_t matrices);

  std::filesystem::path path_;
  const gguf::File& model_;  // only while the file is read
  const spec::ModelSpec& spec_;
  std::vector<AdapterTerm> terms_;
  std::vector<std::unique_ptr<float[]>> floats_;
  std::size_t host_bytes_ = 0;
};

/// The two kinds of files; AdapterSource::open chooses.
[[nodiscard]] std::unique_ptr<AdapterSource> open_gguf_adapter(const std::filesystem::path& path,
                                                               const gguf::File& model,
                                                               const spec::ModelSpec& spec);
[[nodiscard]] std::unique_ptr<AdapterSource> open_peft_adapter(const std::filesystem::path& folder,
                                                               const gguf::File& model,
                                                               const spec::ModelSpec& spec);

}  // namespace hearth::model
