#include "spec/visit.h"

#include <unordered_map>
#include <utility>

namespace hearth::spec {
namespace {

class TensorCollector {
 public:
  std::vector<TensorUse> take() { return std::move(uses_); }

  void add(const std::string& name, TensorRole role, std::int64_t matrices = 1) {
    if (name.empty()) return;
    unsigned& roles = roles_[name];
    const unsigned bit = 1U << static_cast<unsigned>(role);
    if ((roles & bit) == 0) uses_.push_back({name, role, matrices});
    roles |= bit;
  }
  template <class... Names>
  void add_vectors(const Names&... names) {
    (add(names, TensorRole::kVector), ...);
  }
  void add(const Linear& linear) {
    add(linear.weight, TensorRole::kMatrix);
    add(linear.bias, TensorRole::kVector);
    add(linear.scale, TensorRole::kScalar);
  }
  void add(const LinearStack& linear) {
    add(linear.weight, TensorRole::kStack, linear.matrices);
    add(linear.bias, TensorRole::kVector);
    add(linear.scale, TensorRole::kVector);
  }
  template <class... Linears>
  void add_all(const Linears&... linears) {
    (add(linears), ...);
  }
  void add(const Norm& norm) {
    add(norm.weight, TensorRole::kVector);
    add(norm.bias, TensorRole::kVector);
  }
  template <class Part>
  void add(const std::optional<Part>& part) {
    if (part) add(*part);
  }
  void add(const Rope& rope) { add(rope.factors, TensorRole::kVector); }
  void add(const OutputGate& gate) { add(gate.linear); }
  void add(const RelativeBias& bias) { add(bias.table, TensorRole::kVector); }
  void add(const Attention::BlockSelection& s) { add_all(s.q, s.k, s.q_norm, s.k_norm); }
  void add(const Attention& a) {
    add_all(a.qkv, a.q, a.k, a.v, a.gate, a.selection, a.q_norm, a.k_norm, a.v_norm, a.rope,
            a.relative_bias, a.output_norm, a.output);
    add(a.sinks, TensorRole::kVector);
  }
  void add(const Indexer& i) { add_all(i.q, i.k, i.weights, i.k_norm, i.rope); }
  void add(const LatentAttention& a) {
    add_all(a.q, a.q_a, a.q_a_norm, a.q_b, a.kv_a, a.kv_a_norm, a.k_b, a.v_b, a.kv_b, a.rope,
            a.indexer, a.output);
  }
  void add(const Compressor& c) {
    add_all(c.values, c.gates, c.norm);
    add(c.position_bias, TensorRole::kVector);
  }
  void add(const CompressedAttention::BlockIndexer& i) { add_all(i.q, i.weights, i.compressor); }
  void add(const CompressedAttention& a) {
    add_all(a.q_a, a.q_a_norm, a.q_b, a.q_norm, a.kv, a.kv_norm, a.rope, a.compressor, a.indexer,
            a.output_a, a.output_b);
    add(a.sinks, TensorRole::kVector);
  }
  void add(const FeedForward& f) { add_all(f.gate, f.up, f.gate_up, f.hidden_norm, f.down); }
  void add(const MixtureOfExperts& m) {
    add_all(m.router_norm, m.router);
    add(m.selection_bias, TensorRole::kVector);
    add(m.token_experts, TensorRole::kIndex);
    add_all(m.latent_down, m.gate, m.up, m.gate_up, m.down, m.latent_up, m.shared, m.shared_gate);
    if (m.chunks) add_all(m.chunks->gate, m.chunks->up, m.chunks->down);
  }
  void add(const GatedDeltaNet& g) {
    add_all(g.qkv, g.gate, g.qkvz, g.beta, g.alpha, g.beta_alpha, g.output_norm, g.output);
    add_vectors(g.conv, g.dt_bias, g.a);
  }
  void add(const KimiDeltaAttention& k) {
    add_all(k.q, k.k, k.v, k.decay_a, k.decay_b, k.beta, k.gate_a, k.gate_b, k.output_norm,
            k.output);
    add_vectors(k.conv_q, k.conv_k, k.conv_v, k.dt_bias, k.a);
  }
  void add(const Mamba1& m) {
    add_all(m.in, m.x, m.dt_norm, m.b_norm, m.c_norm, m.dt, m.output);
    add_vectors(m.conv, m.conv_bias, m.a, m.d);
  }
  void add(const Mamba2& m) {
    add_all(m.in, m.norm, m.output);
    add_vectors(m.conv, m.conv_bias, m.dt_bias, m.a, m.d);
  }
  void add(const ShortConvolution& s) {
    add_all(s.in, s.output);
    add_vectors(s.conv);
  }
  void add(const RwkvTimeMix& r) {
    add_all(r.receptance, r.key, r.value, r.w1, r.w2, r.a1, r.a2, r.v1, r.v2, r.g1, r.g2, r.norm,
            r.output);
    add_vectors(r.lerp, r.w0, r.a0, r.v0, r.k_k, r.k_a, r.r_k);
  }
  void add(const RwkvChannelMix& r) {
    add_all(r.key, r.value);
    add_vectors(r.lerp);
  }
  void add(const Dense& d) { add(d.linear); }

  void add(const HyperConnection& h) {
    add_all(h.norm, h.function);
    add_vectors(h.base, h.scale);
  }
  void add(const Sublayer& sublayer) {
    add_all(sublayer.hyper, sublayer.token_norm, sublayer.pre_norm);
    for (const Branch& branch : sublayer.branches) {
      add(branch.pre_norm);
      std::visit([this](const auto& body) { add(body); }, branch.body);
      add(branch.post_norm);
    }
    add_all(sublayer.post_norm, sublayer.second_norm);
  }
  void add(const AltUp& a) {
    add_all(a.router_norm, a.router, a.predict, a.laurel_left, a.laurel_right, a.laurel_norm,
            a.correct);
    add_vectors(a.correct_scale);
  }
  void add(const PerLayerInput& p) { add_all(p.gate, p.projection, p.post_norm); }
  void add(const Stack& stack) {
    for (const Layer& layer : stack.layers) {
      add(layer.altup);
      for (const Sublayer& sublayer : layer.sublayers) add(sublayer);
      add(layer.per_layer_input);
      add(layer.output_scale, TensorRole::kScalar);
      add(layer.output_norm);
    }
  }
  void add(const PerLayerEmbedding& p) {
    add(p.tokens, TensorRole::kTable);
    add_all(p.projection, p.norm);
  }
  void add(const HiddenInput& h) {
    add_all(h.features_norm, h.features, h.token_norm, h.hidden_norm, h.projection);
  }
  void add(const Embedding& e) {
    add(e.tokens, TensorRole::kTable);
    add(e.positions, TensorRole::kTable);
    add(e.types, TensorRole::kTable);
    add_all(e.norm, e.per_layer, e.hidden);
  }
  void add(const AltUpStreams& a) { add_all(a.projection, a.unembedding); }
  void add(const StreamHead& h) {
    add_all(h.norm, h.function);
    add_vectors(h.base, h.scale);
  }
  void add(const Encoder& e) { add_all(e.stack, e.norm); }
  void add(const Pooling& p) {
    for (const Linear& dense : p.dense) add(dense);
    add_all(p.classifier, p.classifier_norm, p.classifier_output);
  }

 private:
  std::vector<TensorUse> uses_;
  std::unordered_map<std::string, unsigned> roles_;  // of names in uses_, one bit each
};

template <class Spec, class Visit>
void visit_bodies(Spec& spec, const Visit& visit) {
  const auto walk = [&](auto& stack) {
    for (std::size_t layer = 0; layer < stack.layers.size(); ++layer) {
      for (auto& sublayer : stack.layers[layer].sublayers) {
        for (auto& branch : sublayer.branches) visit(stack, layer, branch.body);
      }
    }
  };
  if (spec.encoder) walk(spec.encoder->stack);
  for (auto& stack : spec.stacks) walk(stack);
}

}  // namespace

std::vector<TensorUse> tensors_of(const ModelSpec& spec) {
  TensorCollector collector;
  collector.add_all(spec.embedding, spec.altup_streams, spec.encoder);
  for (const Stack& stack : spec.stacks) collector.add(stack);
  collector.add_all(spec.stream_head, spec.head.norm, spec.head.linear, spec.pooling);
  return collector.take();
}

void for_each_body(ModelSpec& spec, const std::function<void(Stack&, std::size_t, Body&)>& visit) {
  visit_bodies(spec, visit);
}

void for_each_body(const ModelSpec& spec,
                   const std::function<void(const Stack&, std::size_t, const Body&)>& visit) {
  visit_bodies(spec, visit);
}

}  // namespace hearth::spec
