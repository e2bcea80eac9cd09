// laguna: Laguna (Poolside): windows in three of four layers, the full ones first, with YaRN in
// full layers and plain RoPE of another size in windowed ones; a softplus gate on the output of
// attention, per head or per element; sigmoid experts with a shared one (reference: moe.md).
#include "model/families/registry.h"

namespace hearth::model {

using namespace spec;

namespace {

Rope windowed_rope(const FamilyReader& reader) {
  Rope rope = reader.window_rope(RopePairing::kHalves, reader.number_or("rope.freq_base", 10000));
  const std::int64_t rotated =
      reader.integer_in("rope.dimension_count_swa", 0, reader.key_size(), reader.rotated());
  rope.angles.rotated = static_cast<std::int32_t>(rotated - rotated % 2);
  return rope;
}

OutputGate output_gate(const FamilyReader& reader, std::int64_t layer, const Attention& attention) {
  const std::string name = FamilyReader::layer_name(layer, "attn_gate");
  const gguf::TensorInfo* tensor = reader.file().find_tensor(name + ".weight");
  const bool per_head = tensor != nullptr && tensor->shape[1] == attention.heads;
  const std::int64_t gates = attention.heads * (per_head ? 1 : attention.value_size);
  return {.linear = reader.linear(name, reader.width(), gates),
          .per_head = per_head,
          .activation = Activation::kSoftplus};
}

}  // namespace

ModelSpec describe_laguna(const FamilyReader& reader) {
  ModelSpec model = reader.model(NormKind::kRms);
  const std::int64_t window = reader.window_size(0);
  const std::vector<bool> windowed = reader.windowed_layers(4, true);
  for (std::int64_t layer = 0; layer < reader.layers(); ++layer) {
    Attention attention = reader.attention(layer);
    reader.add_qk_norm(attention, NormKind::kRms, layer);
    attention.gate = output_gate(reader, layer, attention);
    if (window > 0 && windowed[static_cast<std::size_t>(layer)]) {
      attention.window = {WindowKind::kSliding, window};
      attention.rope = windowed_rope(reader);
    } else {
      attention.rope = reader.rope(RopePairing::kHalves);
    }
    model.stacks[0].layers.push_back(reader.sequential_layer(
        layer, NormKind::kRms, std::move(attention),
        reader.experts_or_dense(layer, reader.usual_experts(layer, RouterGate::kSigmoid))));
  }
  return model;
}

}  // namespace hearth::model
