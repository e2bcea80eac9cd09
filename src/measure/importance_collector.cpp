#include "measure/importance_collector.h"

#include <algorithm>
#include <cstring>
#include <functional>
#include <variant>

#include "spec/visit.h"

namespace hearth::measure {

using compute::GroupedProjection;
using compute::MemoryCategory;
using compute::Projection;
using compute::Residency;
using compute::Tensor;
using compute::TransposedArguments;
using compute::Weight;
using compute::WeightSource;

namespace {

/// to += x * x. Written on vectors, which the compiler splits into what the machine has: all
/// activations of the model pass through here.
void add_squares(const float* x, std::int64_t count, double* to) noexcept {
  constexpr std::int64_t kLanes = 8;
  using Floats = float __attribute__((vector_size(kLanes * sizeof(float))));
  using Doubles = double __attribute__((vector_size(kLanes * sizeof(double))));
  std::int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    Floats values;
    Doubles sums;
    std::memcpy(&values, x + i, sizeof values);
    std::memcpy(&sums, to + i, sizeof sums);
    const Doubles wide = __builtin_convertvector(values, Doubles);
    sums += wide * wide;
    std::memcpy(to + i, &sums, sizeof sums);
  }
  for (; i < count; ++i) to[i] += static_cast<double>(x[i]) * x[i];
}

double sum_of_squares(const float* x, std::int64_t count) noexcept {
  double sum = 0;
  for (std::int64_t i = 0; i < count; ++i) sum += static_cast<double>(x[i]) * x[i];
  return sum;
}

/// Matrices as the engine sees them brought into the number that the tensor has in its file: parts
/// of one matrix are added up, and parts of one that the engine sees as a whole saw the same.
model::Importance in_file_shape(std::span<const double> squares, std::span<const double> counts,
                                std::size_t in_file) {
  const std::size_t seen = counts.size();
  const std::size_t columns = squares.size() / seen;
  const std::size_t most = std::max(seen, in_file);
  std::vector<double> sums(in_file * columns);
  std::vector<double> rows(in_file);
  for (std::size_t i = 0; i < most; ++i) {
    const std::size_t from = i * seen / most;
    const std::size_t to = i * in_file / most;
    rows[to] += counts[from];
    for (std::size_t c = 0; c < columns; ++c) sums[to * columns + c] += squares[from * columns + c];
  }
  return {{sums.begin(), sums.end()}, {rows.begin(), rows.end()}};
}

}  // namespace

void ImportanceCollector::Sums::add(std::int64_t matrix, const float* x) noexcept {
  add_squares(x, columns, squares.data() + matrix * columns);
  counts[static_cast<std::size_t>(matrix)] += 1;
}

std::size_t ImportanceCollector::bytes_of(const WeightSource& source) noexcept {
  return static_cast<std::size_t>(source.matrices * (source.columns + 3)) * sizeof(double);
}

std::unique_ptr<Weight> ImportanceCollector::load_weight(const WeightSource& source, unsigned use,
                                                         Residency residency) {
  std::unique_ptr<Weight> weight = ForwardingBackend::load_weight(source, use, residency);
  if (!is_counted(use)) return weight;
  Sums sums{std::string(source.name), source.columns, source.matrices, {}, {}, {}, {}};
  sums.squares.resize(static_cast<std::size_t>(source.matrices * source.columns));
  for (std::vector<double>* list : {&sums.counts, &sums.row_squares, &sums.row_counts}) {
    list->resize(static_cast<std::size_t>(source.matrices));
  }
  sums_.emplace(weight.get(), std::move(sums));
  bytes_ += bytes_of(source);
  return weight;
}

std::size_t ImportanceCollector::resident_bytes(const WeightSource& source, unsigned use,
                                                Residency residency) const noexcept {
  return ForwardingBackend::resident_bytes(source, use, residency) +
         (is_counted(use) ? bytes_of(source) : 0);
}

std::size_t ImportanceCollector::allocated(MemoryCategory category) const noexcept {
  return ForwardingBackend::allocated(category) +
         (category == MemoryCategory::kWeights ? bytes_ : 0);
}

ImportanceCollector::Sums& ImportanceCollector::sums_of(const Weight& weight) noexcept {
  return sums_.find(&weight)->second;
}

const float* ImportanceCollector::values_of(const Tensor& x) noexcept {
  values_.resize(static_cast<std::size_t>(x.elements()));
  submit();
  read(x, values_.data());
  return values_.data();
}

const std::int32_t* ImportanceCollector::ids_of(const Tensor& ids) noexcept {
  ids_.resize(static_cast<std::size_t>(ids.elements()));
  read(ids, ids_.data());
  return ids_.data();
}

void ImportanceCollector::matmul(const Tensor& x,
                                 std::span<const Projection> projections) noexcept {
  const float* const values = values_of(x);
  const std::int64_t columns = x.shape[1];
  column_sums_.assign(static_cast<std::size_t>(columns), 0.0);
  for (std::int64_t row = 0; row < x.shape[0]; ++row) {
    add_squares(values + row * columns, columns, column_sums_.data());
  }
  for (const Projection& projection : projections) {
    Sums& sums = sums_of(*projection.weight);
    std::transform(column_sums_.begin(), column_sums_.end(), sums.squares.begin(),
                   sums.squares.begin(), std::plus<>());
    sums.counts[0] += static_cast<double>(x.shape[0]);
  }
  ForwardingBackend::matmul(x, projections);
}

void ImportanceCollector::grouped_matmul(const Tensor& x, const Tensor& ids,
                                         std::span<const GroupedProjection> projections) noexcept {
  const float* const values = values_of(x);
  const std::int32_t* const chosen = ids_of(ids);
  const std::int64_t columns = x.shape[2];
  const std::int64_t products = ids.shape[1];
  const bool shared = x.shape[1] == 1;
  for (const GroupedProjection& projection : projections) {
    Sums& sums = sums_of(*projection.weight);
    for (std::int64_t i = 0; i < ids.shape[0] * products; ++i) {
      sums.add(chosen[i], values + (shared ? i / products : i) * columns);
    }
  }
  ForwardingBackend::grouped_matmul(x, ids, projections);
}

void ImportanceCollector::transposed_matmul(const TransposedArguments& arguments) noexcept {
  const Tensor& x = arguments.x;
  const float* const values = values_of(x);
  const std::int32_t* const chosen = ids_of(arguments.ids);
  const std::int64_t size = x.shape[2];
  const std::int64_t products = arguments.ids.shape[1];
  const bool shared = x.shape[1] == 1;
  Sums& sums = sums_of(*arguments.weight);
  for (std::int64_t i = 0; i < arguments.ids.shape[0] * products; ++i) {
    const auto matrix = static_cast<std::size_t>(chosen[i]);
    const float* const row = values + (shared ? i / products : i) * size;
    sums.row_squares[matrix] += sum_of_squares(row, size) / static_cast<double>(size);
    sums.row_counts[matrix] += 1;
  }
  ForwardingBackend::transposed_matmul(arguments);
}

model::ImportanceMatrix ImportanceCollector::result(const gguf::File& file) const {
  model::ImportanceMatrix result;
  for (const auto& [weight, sums] : sums_) {
    const gguf::TensorInfo* tensor = file.find_tensor(sums.name);
    if (tensor == nullptr) continue;
    std::vector<double> squares = sums.squares;
    std::vector<double> counts = sums.counts;
    for (std::size_t m = 0; m < counts.size(); ++m) {
      if (counts[m] > 0 || sums.row_counts[m] == 0) continue;
      counts[m] = sums.row_counts[m];
      const auto columns = static_cast<std::ptrdiff_t>(sums.columns);
      std::fill_n(squares.begin() + static_cast<std::ptrdiff_t>(m) * columns, columns,
                  sums.row_squares[m]);
    }
    if (std::all_of(counts.begin(), counts.end(), [](double count) { return count == 0; })) {
      continue;
    }
    const std::int64_t matrices = tensor->dimensions > 2 ? tensor->shape[2] : 1;
    result.tensors.emplace(sums.name,
                           in_file_shape(squares, counts, static_cast<std::size_t>(matrices)));
  }
  return result;
}

std::vector<UnreachedExperts> unreached_experts(const model::ImportanceMatrix& importance) {
  std::vector<UnreachedExperts> result;
  for (const auto& [name, tensor] : importance.tensors) {
    const auto unreached = std::count(tensor.counts.begin(), tensor.counts.end(), 0.0F);
    if (unreached == 0) continue;
    result.push_back({name, unreached, static_cast<std::int64_t>(tensor.counts.size())});
  }
  return result;
}

bool absorbs_keys(const spec::ModelSpec& spec) {
  bool found = false;
  spec::for_each_body(spec, [&](const spec::Stack&, std::size_t, const spec::Body& body) {
    const auto* latent = std::get_if<spec::LatentAttention>(&body);
    found = found || (latent != nullptr && latent->k_b.present());
  });
  return found;
}

}  // namespace hearth::measure
