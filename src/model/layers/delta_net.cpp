#include "model/layers/pass.h"

namespace hearth::model {

using tensor::Tensor;

void run_body(Pass& /*pass*/, const spec::GatedDeltaNet& /*body*/, const Tensor& /*x*/,
              const Tensor& /*out*/) {}  // TODO(helper)
void run_body(Pass& /*pass*/, const spec::KimiDeltaAttention& /*body*/, const Tensor& /*x*/,
              const Tensor& /*out*/) {}  // TODO(helper)

}  // namespace hearth::model
