// LFM2's gated short convolution (blocks-recurrent.md section 6).
#include "model/layers/pass.h"
#include "model/layers/recurrent.h"

namespace hearth::model {

using tensor::Arena;
using tensor::Tensor;

void run_body(Pass& pass, const spec::ShortConvolution& s, const Tensor& u, const Tensor& out) {
  const Arena::Scope scope(pass.arena);
  compute::Backend& backend = pass.backend;
  const std::int64_t width = pass.spec.width;
  const Tensor all = pass.scratch(3 * width);  // b, c, x
  multiply(pass, u, {{&s.in, all}});
  const Tensor x = all.columns(2 * width, width);
  backend.multiply(all.columns(0, width), x, x);
  const Tensor y = pass.scratch(width);
  backend.convolve({.x = x,
                    .weight = as_matrix(pass.weights.vector(s.conv), width, s.taps),
                    .bias = {},
                    .centred = s.centred,
                    .state = s.centred ? Tensor{} : pass.memory.conv(s.memory),
                    .rows = pass.recurrent,
                    .out = y});
  backend.multiply(all.columns(width, width), y, y);
  multiply(pass, y, {{&s.output, out}});
}

}  // namespace hearth::model
