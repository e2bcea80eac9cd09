#include <array>

#include "model/layers/pass.h"

namespace hearth::model {

using compute::Projection;
using tensor::Arena;
using tensor::Tensor;

void feed_forward(Pass& pass, const spec::FeedForward& f, const Tensor& x, const Tensor& out) {
  const Arena::Scope scope(pass.arena);
  compute::Backend& backend = pass.backend;
  Tensor hidden;
  if (!f.gated) {
    hidden = pass.scratch(f.width);
    const Projection up = projection(pass, f.up, hidden);
    backend.matmul(x, {&up, 1});
    backend.activate(f.activation, hidden, hidden);
  } else {
    const Tensor both = pass.scratch(2 * f.width);
    const Tensor gate = both.columns(0, f.width);
    const Tensor up = both.columns(f.width, f.width);
    if (f.gate_up.present()) {
      const Projection fused = projection(pass, f.gate_up, both);
      backend.matmul(x, {&fused, 1});
    } else {
      const std::array separate = {projection(pass, f.gate, gate), projection(pass, f.up, up)};
      backend.matmul(x, separate);
    }
    backend.activate_gated(f.activation, gate, up, gate);
    hidden = gate;
  }
  const Projection down = projection(pass, f.down, out);
  backend.matmul(hidden, {&down, 1});
}

}  // namespace hearth::model
