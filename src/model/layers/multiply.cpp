#include <array>

#include "model/layers/pass.h"

namespace hearth::model {

using compute::GroupedProjection;
using compute::Projection;
using tensor::Arena;
using tensor::Tensor;

namespace {

/// More products than any layer asks for at once.
constexpr std::size_t kMostProducts = 8;

/// out += scale * B (A x) for every adapter of the matrix.
void add_low_rank(Pass& pass, const std::string& weight, const Tensor& x, const Tensor& out) {
  for (const LowRank& term : pass.adapters->of(weight)) {
    const Arena::Scope scope(pass.arena);
    const Tensor inner = pass.arena.allocate(tensor::DType::kF32, {x.shape[0], term.a->rows()});
    const Tensor delta = pass.arena.allocate(tensor::DType::kF32, {x.shape[0], term.b->rows()});
    const Projection down{term.a, inner, {}, 1.0F};
    const Projection up{term.b, delta, {}, 1.0F};
    pass.backend.matmul(x, {&down, 1});
    pass.backend.matmul(inner, {&up, 1});
    pass.backend.add(out, delta, term.scale, out);
  }
}

void add_low_rank(Pass& pass, const std::string& weight, const Tensor& x, const Tensor& ids,
                  const Tensor& out) {
  for (const LowRank& term : pass.adapters->of(weight)) {
    const Arena::Scope scope(pass.arena);
    const std::int64_t k = ids.shape[1];
    const Tensor inner = pass.arena.allocate(tensor::DType::kF32, {x.shape[0], k, term.a->rows()});
    const Tensor delta = pass.arena.allocate(tensor::DType::kF32, {x.shape[0], k, term.b->rows()});
    const GroupedProjection down{term.a, inner, {}, {}};
    const GroupedProjection up{term.b, delta, {}, {}};
    pass.backend.grouped_matmul(x, ids, {&down, 1});
    pass.backend.grouped_matmul(inner, ids, {&up, 1});
    pass.backend.add(out, delta, term.scale, out);
  }
}

}  // namespace

void multiply(Pass& pass, const Tensor& x, std::span<const Product> products) {
  std::array<Projection, kMostProducts> projections;
  std::size_t count = 0;
  for (const Product& product : products) {
    const spec::Linear& linear = *product.linear;
    projections.at(count++) = {&pass.weights.matrix(linear.weight), product.out,
                               pass.weights.vector(linear.bias), pass.weights.scalar(linear.scale)};
  }
  pass.backend.matmul(x, {projections.data(), count});
  if (pass.adapters == nullptr) return;
  for (const Product& product : products) {
    add_low_rank(pass, product.linear->weight, x, product.out);
  }
}

void multiply_grouped(Pass& pass, const Tensor& x, const Tensor& ids,
                      std::initializer_list<StackProduct> products) {
  std::array<GroupedProjection, kMostProducts> projections;
  std::size_t count = 0;
  for (const StackProduct& product : products) {
    const spec::LinearStack& linear = *product.linear;
    projections.at(count++) = {&pass.weights.matrix(linear.weight), product.out,
                               pass.weights.vector(linear.bias), pass.weights.vector(linear.scale)};
  }
  pass.backend.grouped_matmul(x, ids, {projections.data(), count});
  if (pass.adapters == nullptr) return;
  for (const StackProduct& product : products) {
    add_low_rank(pass, product.linear->weight, x, ids, product.out);
  }
}

void multiply_transposed(Pass& pass, const Tensor& x, const Tensor& ids,
                         const spec::LinearStack& linear, const Tensor& out) {
  pass.backend.transposed_matmul({x, ids, &pass.weights.matrix(linear.weight), out});
  if (pass.adapters == nullptr) return;
  // x (W + scale B A) = x W + scale (x B) A
  for (const LowRank& term : pass.adapters->of(linear.weight)) {
    const Arena::Scope scope(pass.arena);
    const Tensor inner =
        pass.arena.allocate(tensor::DType::kF32, {x.shape[0], ids.shape[1], term.b->columns()});
    const Tensor delta =
        pass.arena.allocate(tensor::DType::kF32, {x.shape[0], ids.shape[1], term.a->columns()});
    pass.backend.transposed_matmul({x, ids, term.b, inner});
    pass.backend.transposed_matmul({inner, ids, term.a, delta});
    pass.backend.add(out, delta, term.scale, out);
  }
}

}  // namespace hearth::model
