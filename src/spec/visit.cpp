#include "spec/visit.h"

#include <unordered_map>
#include <utility>

namespace hearth::spec {
namespace {

class TensorCollector {
 public:
  std::vector<TensorUse> take() { return std::move(uses_); }

  void add(const std::string& name, TensorRole role) {
    if (name.empty()) return;
    unsigned& roles = roles_[name];
    const unsigned bit = 1U << static_cast<unsigned>(role);
    if ((roles & bit) == 0) uses_.push_back({name, role});
    roles |= bit;
  }
  void add(const Linear& linear) {
    add(linear.weight, TensorRole::kMatrix);
    add(linear.bias, TensorRole::kVector);
    add(linear.scale, TensorRole::kScalar);
  }
  void add(const std::optional<Norm>& norm) {
    if (!norm) return;
    add(norm->weight, TensorRole::kVector);
    add(norm->bias, TensorRole::kVector);
  }
  void add(const Attention& attention) {
    for (const Linear* linear :
         {&attention.qkv, &attention.q, &attention.k, &attention.v, &attention.output})
      add(*linear);
    add(attention.q_norm);
    add(attention.k_norm);
    if (attention.rope) add(attention.rope->factors, TensorRole::kVector);
    add(attention.sinks, TensorRole::kVector);
  }
  void add(const FeedForward& feed_forward) {
    for (const Linear* linear :
         {&feed_forward.gate, &feed_forward.up, &feed_forward.gate_up, &feed_forward.down}) {
      add(*linear);
    }
  }
  void add(const Sublayer& sublayer) {
    add(sublayer.pre_norm);
    for (const Branch& branch : sublayer.branches) {
      add(branch.pre_norm);
      std::visit([this](const auto& body) { add(body); }, branch.body);
      add(branch.post_norm);
    }
    add(sublayer.post_norm);
  }

 private:
  std::vector<TensorUse> uses_;
  std::unordered_map<std::string, unsigned> roles_;  // of names in uses_, one bit each
};

}  // namespace

std::vector<TensorUse> tensors_of(const ModelSpec& spec) {
  TensorCollector collector;
  collector.add(spec.embedding.tokens, TensorRole::kTable);
  collector.add(spec.embedding.positions, TensorRole::kTable);
  collector.add(spec.embedding.norm);
  for (const Stack& stack : spec.stacks) {
    for (const Layer& layer : stack.layers) {
      for (const Sublayer& sublayer : layer.sublayers) collector.add(sublayer);
    }
  }
  collector.add(spec.head.norm);
  collector.add(spec.head.linear);
  return collector.take();
}

std::vector<const Attention*> attentions_of(const ModelSpec& spec) {
  std::vector<const Attention*> result;
  for (const Stack& stack : spec.stacks) {
    for (const Layer& layer : stack.layers) {
      for (const Sublayer& sublayer : layer.sublayers) {
        for (const Branch& branch : sublayer.branches) {
          if (const auto* attention = std::get_if<Attention>(&branch.body))
            result.push_back(attention);
        }
      }
    }
  }
  return result;
}

}  // namespace hearth::spec
