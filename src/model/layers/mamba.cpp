// Mamba-1 and Mamba-2 (blocks-recurrent.md sections 4 and 5).
#include "model/layers/pass.h"
#include "model/layers/recurrent.h"

namespace hearth::model {

using spec::Activation;
using tensor::Arena;
using tensor::Tensor;

void run_body(Pass& pass, const spec::Mamba1& m, const Tensor& u, const Tensor& out) {
  const Arena::Scope scope(pass.arena);
  compute::Backend& backend = pass.backend;
  const Tensor both = pass.scratch(2 * m.inner);
  multiply(pass, u, {{&m.in, both}});
  const Tensor gate = both.columns(m.inner, m.inner);

  const Tensor x = pass.scratch(m.inner);
  backend.convolve({.x = both.columns(0, m.inner),
                    .weight = as_matrix(pass.weights.vector(m.conv), m.inner, m.conv_taps),
                    .bias = pass.weights.vector(m.conv_bias),
                    .silu = true,
                    .state = pass.memory.conv(m.memory),
                    .rows = pass.recurrent,
                    .out = x});

  const Tensor selection = pass.scratch(m.dt_rank + 2 * m.state);
  multiply(pass, x, {{&m.x, selection}});
  const Tensor dt_low = selection.columns(0, m.dt_rank);
  const Tensor b = selection.columns(m.dt_rank, m.state);
  const Tensor c = selection.columns(m.dt_rank + m.state, m.state);
  if (m.dt_norm) apply_norm(pass, *m.dt_norm, dt_low, dt_low);
  if (m.b_norm) apply_norm(pass, *m.b_norm, b, b);
  if (m.c_norm) apply_norm(pass, *m.c_norm, c, c);
  const Tensor dt = pass.scratch(m.inner);
  multiply(pass, dt_low, {{&m.dt, dt}});
  backend.activate(Activation::kSoftplus, dt, dt);

  const Tensor y = pass.scratch(m.inner);
  backend.selective_scan({.x = x,
                          .dt = dt,
                          .b = b,
                          .c = c,
                          .a = as_matrix(pass.weights.vector(m.a), m.inner, m.state),
                          .d = pass.weights.vector(m.d),
                          .state = pass.memory.scan(m.memory),
                          .rows = pass.recurrent,
                          .out = y});
  backend.activate_gated({.activation = Activation::kSilu}, gate, y, y);
  multiply(pass, y, {{&m.output, out}});
}

void run_body(Pass& pass, const spec::Mamba2& m, const Tensor& u, const Tensor& out) {
  const Arena::Scope scope(pass.arena);
  compute::Backend& backend = pass.backend;
  const std::int64_t selection = m.groups * m.state;
  const std::int64_t convolved = m.inner + 2 * selection;
  const Tensor all = pass.scratch(m.inner + convolved + m.heads);
  multiply(pass, u, {{&m.in, all}});
  const Tensor gate = all.columns(0, m.inner);
  const Tensor dt = all.columns(m.inner + convolved, m.heads);

  const Tensor xbc = pass.scratch(convolved);
  backend.convolve({.x = all.columns(m.inner, convolved),
                    .weight = as_matrix(pass.weights.vector(m.conv), convolved, m.conv_taps),
                    .bias = pass.weights.vector(m.conv_bias),
                    .silu = true,
                    .state = pass.memory.conv(m.memory),
                    .rows = pass.recurrent,
                    .out = xbc});
  backend.add(dt, one_row(pass.weights.vector(m.dt_bias)), 1.0F, dt);
  backend.activate(Activation::kSoftplus, dt, dt);

  const Tensor y = pass.scratch(m.inner);
  backend.state_space_scan({.x = xbc.columns(0, m.inner).split_last(m.heads),
                            .dt = dt,
                            .b = xbc.columns(m.inner, selection).split_last(m.groups),
                            .c = xbc.columns(m.inner + selection, selection).split_last(m.groups),
                            .a = pass.weights.vector(m.a),
                            .d = pass.weights.vector(m.d),
                            .state = pass.memory.scan(m.memory),
                            .rows = pass.recurrent,
                            .out = y.split_last(m.heads)});
  backend.activate_gated({.activation = Activation::kSilu}, gate, y, y);
  if (m.norm) apply_norm(pass, *m.norm, y.split_last(m.groups), y.split_last(m.groups));
  multiply(pass, y, {{&m.output, out}});
}

}  // namespace hearth::model
