#include "model/layers/pass.h"

namespace hearth::model {

using tensor::Tensor;

void run_body(Pass& /*pass*/, const spec::Mamba1& /*body*/, const Tensor& /*x*/,
              const Tensor& /*out*/) {}  // TODO(helper)
void run_body(Pass& /*pass*/, const spec::Mamba2& /*body*/, const Tensor& /*x*/,
              const Tensor& /*out*/) {}  // TODO(helper)

}  // namespace hearth::model
