// The parts of FamilyReader that read mixtures of experts and next-token-prediction blocks.
#include "compute/backend.h"
#include "model/families/reader.h"
#include "model/families/reader_checks.h"
#include "support/error.h"

namespace hearth::model {

using spec::FeedForward;

spec::MixtureOfExperts FamilyReader::experts(std::int64_t layer,
                                             const ExpertOptions& options) const {
  spec::MixtureOfExperts moe;
  moe.experts = integer_in("expert_count", 1, compute::kMaxExperts);
  moe.used = integer_in("expert_used_count", 1, moe.experts);
  moe.width = checked_size(key("expert_feed_forward_length"), options.width, 1, kMaxSize);
  moe.gated = options.gated;
  moe.gating = options.gating;
  moe.router = linear(layer_name(layer, "ffn_gate_inp"), width_, moe.experts);
  const std::string bias = layer_name(layer, options.selection_bias);
  if (has(bias)) moe.selection_bias = vector(bias, moe.experts);

  spec::Routing& routing = moe.routing;
  routing.gate = options.gate;
  if (options.gate_from_file) {
    const std::int64_t function = integer_in("expert_gating_func", 0, 4, 0);
    if (function > 0) routing.gate = static_cast<spec::RouterGate>(function - 1);
  }
  routing.normalise = options.normalise.value_or(boolean("expert_weights_norm").value_or(false));
  const double scale = number_or("expert_weights_scale", 0);
  routing.scale = scale == 0 ? 1.0F : static_cast<float>(scale);
  routing.groups = static_cast<std::int32_t>(integer_in("expert_group_count", 0, moe.experts, 0));
  if (routing.groups > 1) {
    routing.groups_used =
        static_cast<std::int32_t>(integer_in("expert_group_used_count", 1, routing.groups));
    if (moe.experts % routing.groups != 0) {
      throw_bad_key(key("expert_group_count"), "does not divide the number of experts");
    }
    if (moe.used > moe.experts / routing.groups * routing.groups_used) {
      throw_bad_key(key("expert_used_count"), "is more than the groups used have");
    }
  } else {
    routing.groups = 1;
  }

  const std::int64_t input = options.input > 0 ? options.input : width_;
  if (!options.gated) {
    moe.up = stack(layer_name(layer, "ffn_up_exps"), input, moe.width, moe.experts);
  } else if (has(layer_name(layer, "ffn_gate_up_exps.weight"))) {
    moe.gate_up = stack(layer_name(layer, "ffn_gate_up_exps"), input, 2 * moe.width, moe.experts);
  } else {
    moe.gate = stack(layer_name(layer, "ffn_gate_exps"), input, moe.width, moe.experts);
    moe.up = stack(layer_name(layer, "ffn_up_exps"), input, moe.width, moe.experts);
  }
  moe.down = stack(layer_name(layer, "ffn_down_exps"), moe.width, input, moe.experts);

  if (options.shared_width > 0) {
    FeedForward shared;
    shared.width =
        checked_size(key("expert_shared_feed_forward_length"), options.shared_width, 1, kMaxSize);
    shared.gated = options.gated;
    shared.gating = options.shared_gating.value_or(options.gating);
    if (options.gated) {
      shared.gate = linear(layer_name(layer, "ffn_gate_shexp"), width_, shared.width);
    }
    shared.up = linear(layer_name(layer, "ffn_up_shexp"), width_, shared.width);
    shared.down = linear(layer_name(layer, "ffn_down_shexp"), shared.width, width_);
    moe.shared = std::move(shared);
    if (has(layer_name(layer, "ffn_gate_inp_shexp.weight"))) {
      moe.shared_gate = linear(layer_name(layer, "ffn_gate_inp_shexp"), width_, 1);
    }
  }
  return moe;
}

std::int64_t FamilyReader::expert_width(std::int64_t layer) const {
  const std::int64_t used = integer_in("expert_used_count", 1, kMaxSize);
  return integer_in("expert_feed_forward_length", 0, kMaxSize, feed_forward_width(layer) / used);
}

std::int64_t FamilyReader::shared_expert_width(std::int64_t layer) const {
  const std::string name = layer_name(layer, "ffn_up_shexp.weight");
  if (const gguf::TensorInfo* tensor = file_->find_tensor(name)) {
    return checked_size(name + " rows", tensor->shape[1], 1, kMaxSize);
  }
  if (!has(layer_name(layer, "ffn_gate_inp.weight"))) return 0;  // a dense layer
  const bool announced = integer_or("expert_shared_count", 0) > 0 ||
                         integer_or("expert_shared_feed_forward_length", 0) > 0;
  if (announced) (void)required_tensor(name);
  return 0;
}

ExpertOptions FamilyReader::usual_experts(std::int64_t layer, spec::RouterGate gate) const {
  ExpertOptions options;
  options.width = expert_width(layer);
  options.gate = gate;
  options.gate_from_file = true;
  options.shared_width = shared_expert_width(layer);
  return options;
}

// Files hold a router exactly in the layers that have experts: leading_dense_block_count and
// interleave_moe_layer_step only say the same again.
spec::Body FamilyReader::experts_or_dense(std::int64_t layer, const ExpertOptions& options) const {
  if (has(layer_name(layer, "ffn_gate_inp.weight"))) return experts(layer, options);
  const spec::Gating gating = options.shared_gating.value_or(options.gating);
  FeedForward dense = gated_feed_forward(layer, gating.activation);
  dense.gating = gating;
  return dense;
}

spec::ModelSpec FamilyReader::draft_model(std::int64_t head, spec::NormKind kind,
                                          spec::Layer block) const {
  const std::int64_t layer = layers_ + head;
  const auto own = [&](std::string_view name) { return layer_name(layer, name); };
  spec::Norm head_norm;
  if (has(own("nextn.shared_head_norm.weight"))) {
    head_norm = norm(kind, layer, "nextn.shared_head_norm");
  } else if (has(own("layer_output_norm.weight"))) {  // mimo2, bailingmoe2
    head_norm = norm(kind, layer, "layer_output_norm");
  } else {
    head_norm = norm(kind, "output_norm", width_);
  }
  spec::ModelSpec spec = model(std::move(head_norm));
  spec.draft_heads = 0;
  if (has(own("nextn.embed_tokens.weight"))) {
    spec.embedding.tokens = linear(own("nextn.embed_tokens"), width_, spec.vocabulary).weight;
  }
  if (has(own("nextn.shared_head_head.weight"))) {
    spec.head.linear = linear(own("nextn.shared_head_head"), width_, spec.vocabulary);
  }
  spec::HiddenInput hidden;
  hidden.width = width_;
  hidden.token_norm = norm(kind, layer, "nextn.enorm");
  hidden.hidden_norm = norm(kind, layer, "nextn.hnorm");
  hidden.projection = linear(own("nextn.eh_proj"), 2 * width_, width_);
  spec.embedding.hidden = std::move(hidden);
  spec.stacks[0].layers.push_back(std::move(block));
  return spec;
}

}  // namespace hearth::model
