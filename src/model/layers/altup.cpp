#include "model/layers/pass.h"

namespace hearth::model {

using tensor::Tensor;

void run_altup_layer(Pass& /*pass*/, const spec::Layer& /*layer*/, const Tensor& /*stream*/) {
}  // TODO(helper)
void open_altup_streams(Pass& /*pass*/, const spec::AltUpStreams& /*streams*/,
                        const Tensor& /*stream*/) {}  // TODO(helper)
void close_altup_streams(Pass& /*pass*/, const spec::AltUpStreams& /*streams*/,
                         const Tensor& /*stream*/, const Tensor& /*out*/) {}  // TODO(helper)
void make_per_layer_embeddings(Pass& /*pass*/, const spec::PerLayerEmbedding& /*embedding*/,
                               const Tensor& /*x*/) {}  // TODO(helper)
void add_per_layer_input(Pass& /*pass*/, const spec::PerLayerInput& /*input*/,
                         const Tensor& /*stream*/) {}  // TODO(helper)

}  // namespace hearth::model
