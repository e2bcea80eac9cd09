#include "model/layers/pass.h"

namespace hearth::model {

using tensor::Arena;
using tensor::Tensor;

namespace {

Tensor gated(Pass& pass, const spec::FeedForward& f, const Tensor& x) {
  const Tensor both = pass.scratch(2 * f.width);
  const Tensor gate = both.columns(0, f.width);
  const Tensor up = both.columns(f.width, f.width);
  if (f.gate_up.present()) {
    multiply(pass, x, {{&f.gate_up, both}});
  } else {
    multiply(pass, x, {{&f.gate, gate}, {&f.up, up}});
  }
  if (f.sparsity > 0) pass.backend.keep_largest(gate, f.sparsity);
  pass.backend.activate_gated(f.gating, gate, up, gate);
  return gate;
}

Tensor plain(Pass& pass, const spec::FeedForward& f, const Tensor& x) {
  const Tensor hidden = pass.scratch(f.width);
  multiply(pass, x, {{&f.up, hidden}});
  if (f.xielu) {
    pass.backend.activate_xielu(*f.xielu, hidden, hidden);
  } else {
    pass.backend.activate(f.gating.activation, hidden, hidden);
  }
  return hidden;
}

}  // namespace

void run_body(Pass& pass, const spec::FeedForward& f, const Tensor& x, const Tensor& out) {
  const Arena::Scope scope(pass.arena);
  const Tensor hidden = f.gated ? gated(pass, f, x) : plain(pass, f, x);
  if (f.hidden_norm) apply_norm(pass, *f.hidden_norm, hidden, hidden);
  multiply(pass, hidden, {{&f.down, out}});
}

void run_body(Pass& pass, const spec::Dense& body, const Tensor& x, const Tensor& out) {
  multiply(pass, x, {{&body.linear, out}});
}

}  // namespace hearth::model
