// The weights of a model on a backend, by tensor name.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "compute/backend.h"
#include "gguf/file.h"
#include "spec/model_spec.h"
#include "spec/setup.h"

namespace hearth::model {

/// The table of tokens that draft models without one of their own read: their target's.
inline constexpr std::string_view kTargetEmbedding = "token_embd.weight";

class Weights {
 public:
  /// Loads every tensor that `spec` names. Throws Error naming a tensor that is missing or has the
  /// wrong shape. `shared` (may be null, must outlive this): the weights of the model that this one
  /// drafts for; those of the same file are not loaded again, and those that `file` lacks are taken
  /// from there.
  Weights(const gguf::File& file, const spec::ModelSpec& spec, compute::Backend& backend,
          compute::Residency residency, const std::function<void(double)>& progress,
          const Weights* shared = nullptr);
  ~Weights();

  /// A matrix, or a stack of them. Precondition: the spec names it.
  [[nodiscard]] const compute::Weight& matrix(std::string_view name) const noexcept;
  /// A vector (or matrix) of floats, or of integers where the spec says so, in row-major order and
  /// without dimensions of one: convolution taps are [channels, taps]. An absent tensor for the
  /// empty name.
  [[nodiscard]] tensor::Tensor vector(std::string_view name) const noexcept;
  /// A sidecar scale; 1 for the empty name.
  [[nodiscard]] float scalar(std::string_view name) const noexcept;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace hearth::model
