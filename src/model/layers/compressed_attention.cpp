#include "model/layers/pass.h"

namespace hearth::model {

using tensor::Tensor;

void run_body(Pass& /*pass*/, const spec::CompressedAttention& /*body*/, const Tensor& /*x*/,
              const Tensor& /*out*/) {}  // TODO(helper)

void run_hyper_sublayer(Pass& /*pass*/, const spec::Sublayer& /*sublayer*/,
                        const Tensor& /*stream*/) {}  // TODO(helper): hyper.cpp
void collapse_streams(Pass& /*pass*/, const spec::StreamHead& /*head*/, const Tensor& /*streams*/,
                      const Tensor& /*out*/) {}  // TODO(helper)
void attend_blocks(Pass& /*pass*/, const spec::Attention& /*body*/, const Tensor& /*x*/,
                   const Tensor& /*q*/, const Tensor& /*out*/) {}  // TODO(helper)

}  // namespace hearth::model
