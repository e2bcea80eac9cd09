// t5, t5encoder: T5, Flan-T5 and encoders made of them: relative position biases that the first
// layer shares with all, no RoPE, attention without scale (Raffel et al. 2020, arXiv:1910.10683;
// reference: classic.md).
#include "model/families/encoders.h"
#include "model/families/registry.h"

namespace hearth::model {

using namespace spec;

namespace {

/// One of the two stacks, "enc" or "dec".
class StackReader {
 public:
  StackReader(const FamilyReader& reader, std::string prefix)
      : reader_(reader), prefix_(std::move(prefix)) {}

  [[nodiscard]] Norm final_norm() const {
    return reader_.norm(NormKind::kRms, prefix_ + ".output_norm", reader_.width());
  }

  [[nodiscard]] Layer layer(std::int64_t l, bool decoder) {
    Layer layer;
    Attention self = attention(l, "attn_");
    self.relative_bias = bias(l, !decoder);
    if (decoder) {
      layer.sublayers.push_back(sublayer(l, "attn_norm", std::move(self)));
      Attention cross = attention(l, "cross_attn_");
      cross.key_source = KeySource::kEncoder;
      cross.window = {WindowKind::kEverything, 0};
      layer.sublayers.push_back(sublayer(l, "cross_attn_norm", std::move(cross)));
    } else {
      self.key_source = KeySource::kBatch;
      self.window = {WindowKind::kEverything, 0};
      layer.sublayers.push_back(sublayer(l, "attn_norm", std::move(self)));
    }
    layer.sublayers.push_back(sublayer(l, "ffn_norm", feed_forward(l)));
    return layer;
  }

 private:
  [[nodiscard]] std::string name(std::int64_t l, std::string_view tensor) const {
    return prefix_ + "." + FamilyReader::layer_name(l, tensor);
  }

  [[nodiscard]] Sublayer sublayer(std::int64_t l, std::string_view norm, Body body) const {
    return {reader_.norm(NormKind::kRms, name(l, norm), reader_.width()),
            {Branch{{}, std::move(body), {}}},
            {}};
  }

  [[nodiscard]] Attention attention(std::int64_t l, const std::string& kind) const {
    Attention result;
    // All layers of both stacks are alike; the decoder may have more of them than the encoder.
    result.heads = reader_.heads(0);
    result.kv_heads = result.heads;
    result.key_size = reader_.key_size();
    result.value_size = reader_.value_size();
    const std::int64_t keys = result.heads * result.key_size;
    const std::int64_t values = result.heads * result.value_size;
    result.q = reader_.linear(name(l, kind + "q"), reader_.width(), keys);
    result.k = reader_.linear(name(l, kind + "k"), reader_.width(), keys);
    result.v = reader_.linear(name(l, kind + "v"), reader_.width(), values);
    result.output = reader_.linear(name(l, kind + "o"), values, reader_.width());
    result.scale = 1;
    return result;
  }

  /// The layer's own bias, or the first layer's.
  [[nodiscard]] RelativeBias bias(std::int64_t l, bool bidirectional) const {
    RelativeBias result;
    result.buckets = reader_.integer_in("attention.relative_buckets_count", 4, 1 << 16);
    result.bidirectional = bidirectional;
    const std::string own = name(l, "attn_rel_b.weight");
    result.table = reader_.vector(reader_.has(own) ? own : name(0, "attn_rel_b.weight"),
                                  reader_.heads(0), result.buckets);
    return result;
  }

  [[nodiscard]] FeedForward feed_forward(std::int64_t l) const {
    FeedForward result;
    result.width = reader_.feed_forward_width(0);
    result.gated = reader_.has(name(l, "ffn_gate.weight"));
    result.gating.activation = result.gated ? Activation::kGelu : Activation::kRelu;
    if (result.gated) {
      result.gate = reader_.linear(name(l, "ffn_gate"), reader_.width(), result.width);
    }
    result.up = reader_.linear(name(l, "ffn_up"), reader_.width(), result.width);
    result.down = reader_.linear(name(l, "ffn_down"), result.width, reader_.width());
    return result;
  }

  const FamilyReader& reader_;
  std::string prefix_;
};

Stack encoder_stack(const FamilyReader& reader) {
  StackReader encoder(reader, "enc");
  Stack stack{"encoder", {}};
  for (std::int64_t l = 0; l < reader.layers(); ++l) {
    stack.layers.push_back(encoder.layer(l, false));
  }
  return stack;
}

}  // namespace

ModelSpec describe_t5_encoder(const FamilyReader& reader) {
  ModelSpec model = encoder_model(reader);
  model.stacks[0] = encoder_stack(reader);
  model.head.norm = StackReader(reader, "enc").final_norm();
  return model;
}

ModelSpec describe_t5(const FamilyReader& reader) {
  constexpr std::int64_t kMaxLayers = 4096;
  ModelSpec model = encoder_model(reader);
  model.causal = true;
  model.encoder = Encoder{encoder_stack(reader), StackReader(reader, "enc").final_norm()};
  StackReader decoder(reader, "dec");
  model.stacks[0] = {"decoder", {}};
  const std::int64_t layers =
      reader.integer_in("decoder_block_count", 1, kMaxLayers, reader.layers());
  for (std::int64_t l = 0; l < layers; ++l) {
    model.stacks[0].layers.push_back(decoder.layer(l, true));
  }
  model.head.norm = decoder.final_norm();
  model.head.linear = reader.linear(reader.has("output.weight") ? "output" : "token_embd",
                                    reader.width(), model.vocabulary);
  model.logits = model.vocabulary;
  model.decoder_start_token = static_cast<std::int32_t>(
      reader.integer_in("decoder_start_token_id", 0, model.vocabulary - 1, 0));
  return model;
}

}  // namespace hearth::model
