// Watches what a model multiplies its weights with, for importance matrices (model/importance.h).
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "compute/forward/forwarding_backend.h"
#include "gguf/file.h"
#include "measure/chunks.h"
#include "model/importance.h"

namespace hearth::measure {

/// Passes everything on and adds up the squares of the inputs of every matrix that was loaded for
/// multiplying, by column; of a stack of matrices (experts, heads) for each by itself, over the
/// rows that were routed to it. Sums are kept in double precision.
///
/// Transposed products, x W, tell how much every row of W counts, which weights by column cannot
/// say: a matrix that is only multiplied so gets the same weight, the mean, for all columns; of one
/// that is multiplied both ways only the ordinary products count.
class ImportanceCollector final : public compute::ForwardingBackend {
 public:
  explicit ImportanceCollector(std::shared_ptr<compute::Backend> inner)
      : ForwardingBackend(*inner), owned_(std::move(inner)) {}

  /// What was seen so far, in the shape that the tensors have in `file`, which the weights came
  /// from. Tensors that nothing was multiplied with are left out.
  [[nodiscard]] model::ImportanceMatrix result(const gguf::File& file) const;

  std::unique_ptr<compute::Weight> load_weight(const compute::WeightSource& source, unsigned use,
                                               compute::Residency residency) override;
  /// With the sums, which count as part of the weights.
  [[nodiscard]] std::size_t resident_bytes(const compute::WeightSource& source, unsigned use,
                                           compute::Residency residency) const noexcept override;
  [[nodiscard]] std::size_t allocated(compute::MemoryCategory category) const noexcept override;

  void matmul(const compute::Tensor& x,
              std::span<const compute::Projection> projections) noexcept override;
  void grouped_matmul(const compute::Tensor& x, const compute::Tensor& ids,
                      std::span<const compute::GroupedProjection> projections) noexcept override;
  void transposed_matmul(const compute::TransposedArguments& arguments) noexcept override;

 private:
  struct Sums {
    std::string name;
    std::int64_t columns = 0, matrices = 0;
    std::vector<double> squares;                  // [matrices, columns]
    std::vector<double> counts;                   // [matrices]
    std::vector<double> row_squares, row_counts;  // [matrices], of transposed products
    void add(std::int64_t matrix, const float* x) noexcept;
  };
  static bool is_counted(unsigned use) noexcept { return (use & compute::kUseMatmul) != 0; }
  static std::size_t bytes_of(const compute::WeightSource& source) noexcept;
  [[nodiscard]] Sums& sums_of(const compute::Weight& weight) noexcept;
  /// A dense copy on the host, valid until the next one of the same kind.
  const float* values_of(const compute::Tensor& x) noexcept;
  const std::int32_t* ids_of(const compute::Tensor& ids) noexcept;

  std::shared_ptr<compute::Backend> owned_;
  std::unordered_map<const compute::Weight*, Sums> sums_;
  std::size_t bytes_ = 0;
  std::vector<float> values_;
  std::vector<double> column_sums_;
  std::vector<std::int32_t> ids_;
};

/// A stack of which some matrices were never reached: experts that no token was routed to.
struct UnreachedExperts {
  std::string tensor;
  std::int64_t unreached = 0, matrices = 0;
};
[[nodiscard]] std::vector<UnreachedExperts> unreached_experts(
    const model::ImportanceMatrix& importance);

/// Whether `runner` should evaluate first rows by themselves so that all matrices are multiplied in
/// the ordinary way: models with latent attention whose keys have a matrix of their own.
[[nodiscard]] bool absorbs_keys(const spec::ModelSpec& spec);

}  // namespace hearth::measure
