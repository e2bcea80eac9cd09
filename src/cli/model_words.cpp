#include "cli/model_words.h"

#include <fmt/format.h>

#include <algorithm>

namespace hearth::cli {

namespace {

std::string_view activation_name(spec::Activation activation) {
  switch (activation) {
    case spec::Activation::kSilu:
      return "SiLU";
    case spec::Activation::kGelu:
      return "GELU";
    case spec::Activation::kGeluErf:
      return "GELU (erf)";
    case spec::Activation::kGeluQuick:
      return "GELU (quick)";
    case spec::Activation::kRelu:
      return "ReLU";
    case spec::Activation::kReluSquared:
      return "ReLU squared";
    case spec::Activation::kTanh:
      return "tanh";
    case spec::Activation::kSigmoid:
      return "sigmoid";
    case spec::Activation::kSoftplus:
      return "softplus";
    case spec::Activation::kExp:
      return "exponential";
  }
  return "?";
}

std::string window_words(const spec::Window& window) {
  switch (window.kind) {
    case spec::WindowKind::kFull:
      return "all earlier tokens";
    case spec::WindowKind::kSliding:
      return fmt::format("the last {} tokens", window.size);
    case spec::WindowKind::kChunked:
      return fmt::format("chunks of {} tokens", window.size);
    case spec::WindowKind::kSymmetric:
      return fmt::format("{} tokens around", window.size);
    case spec::WindowKind::kEverything:
      return "all tokens";
  }
  return "?";
}

std::string rope_words(const spec::Rope& rope, std::int64_t size) {
  std::string words = fmt::format("RoPE on {} of {} dimensions, base {:.0f}", rope.angles.rotated,
                                  size, rope.angles.base);
  if (rope.angles.sections[0] + rope.angles.sections[1] > 0) words += ", several axes";
  if (rope.angles.yarn) words += ", YaRN";
  if (rope.angles.frequency_scale != 1)
    words += fmt::format(", scaled by {:g}", 1 / rope.angles.frequency_scale);
  if (!rope.factors.empty()) words += ", frequency factors";
  return words;
}

std::string position_words(const spec::Attention& a) {
  if (a.max_alibi_bias > 0) return "ALiBi";
  if (a.relative_bias) return "relative position bias";
  if (!a.rope) return "without RoPE";
  return rope_words(*a.rope, a.key_size);
}

std::string body_words(const spec::Attention& a) {
  const char* kind = a.kv_heads == a.heads ? "multi-head"
                     : a.kv_heads == 1     ? "multi-query"
                                           : "grouped-query";
  std::string over = window_words(a.window);
  if (a.key_source == spec::KeySource::kEncoder) over = "the encoder's output";
  std::string words = fmt::format(
      "{} attention ({} heads, {} of {}{}) over {}, {}", kind, a.heads,
      a.kv_heads == 1 ? "1 KV head" : fmt::format("{} KV heads", a.kv_heads), a.key_size,
      a.value_size != a.key_size ? fmt::format("/{}", a.value_size) : "", over, position_words(a));
  if (a.key_source == spec::KeySource::kShared)
    words += fmt::format(", with the keys of layer {}", a.shares_with);
  if (a.q_norm) words += ", normalised queries and keys";
  if (!a.sinks.empty()) words += ", sinks";
  if (a.gate) words += ", gated output";
  if (a.selection)
    words += fmt::format(", of the {} best blocks of {}", a.selection->top_k, a.selection->block);
  if (a.softcap > 0) words += fmt::format(", scores capped at {:g}", a.softcap);
  return words;
}

std::string body_words(const spec::LatentAttention& a) {
  std::string words = fmt::format(
      "latent attention ({} heads, keys {} + {}, values {}) over all earlier tokens, caching {} "
      "values per token",
      a.heads, a.nope_size, a.rope_size, a.value_size, a.latent_size + a.rope_size);
  words += a.rope ? ", " + rope_words(*a.rope, a.rope_size) : ", without RoPE";
  if (a.indexer) {
    words += fmt::format(", of which an indexer{} chooses the {} best",
                         a.indexer->shared ? " (of an earlier layer)" : "", a.indexer->top_k);
  }
  return words;
}

std::string body_words(const spec::CompressedAttention& a) {
  std::string words =
      fmt::format("attention ({} heads of {}, one shared key) over the last {} tokens", a.heads,
                  a.size, a.window);
  if (a.compressor) {
    words += fmt::format(" and {} of every {} tokens", "a compressed entry", a.ratio);
    if (a.indexer) words += fmt::format(" (the {} best)", a.indexer->top_k);
  }
  return words + ", sinks, RoPE";
}

std::string body_words(const spec::FeedForward& f) {
  return fmt::format("{}{} feed-forward of width {}", f.gated ? "gated " : "",
                     f.xielu ? "xIELU" : activation_name(f.gating.activation), f.width);
}

std::string body_words(const spec::MixtureOfExperts& m) {
  std::string words = fmt::format("{} of {} experts of width {} ({}{})", m.used, m.experts, m.width,
                                  m.gated ? "gated " : "", activation_name(m.gating.activation));
  if (m.routing.groups > 1) {
    words += fmt::format(" from {} of {} groups", m.routing.groups_used, m.routing.groups);
  }
  if (!m.token_experts.empty()) words += " chosen by the token";
  if (m.shared) words += fmt::format(" and a shared expert of width {}", m.shared->width);
  return words;
}

std::string body_words(const spec::GatedDeltaNet& g) {
  return fmt::format("gated delta net ({} value heads and {} key heads of {}), fixed state",
                     g.value_heads, g.key_heads, g.size);
}

std::string body_words(const spec::KimiDeltaAttention& k) {
  return fmt::format("Kimi delta attention ({} heads of {}), fixed state", k.heads, k.size);
}

std::string body_words(const spec::Mamba1& m) {
  return fmt::format("Mamba ({} channels, state {}), fixed state", m.inner, m.state);
}

std::string body_words(const spec::Mamba2& m) {
  return fmt::format("Mamba-2 ({} heads of {}, state {}), fixed state", m.heads, m.inner / m.heads,
                     m.state);
}

std::string body_words(const spec::ShortConvolution& s) {
  return fmt::format("short convolution over {} tokens", s.taps);
}

std::string body_words(const spec::RwkvTimeMix& r) {
  return fmt::format("RWKV-7 time mixing ({} heads of {}), fixed state", r.heads, r.size);
}

std::string body_words(const spec::RwkvChannelMix& /*r*/) { return "RWKV-7 channel mixing"; }

std::string body_words(const spec::Dense& d) {
  return fmt::format("a {} x {} matrix", d.linear.out, d.linear.in);
}

std::string layer_words(const spec::Layer& layer) {
  std::string words;
  for (const spec::Sublayer& sublayer : layer.sublayers) {
    std::string part;
    for (const spec::Branch& branch : sublayer.branches) {
      if (!part.empty()) part += " beside ";
      part += std::visit([](const auto& body) { return body_words(body); }, branch.body);
    }
    words += (words.empty() ? "" : "; ") + part;
  }
  if (layer.altup) words += "; alternating updates of several streams";
  if (layer.per_layer_input) words += "; per-layer embeddings";
  if (layer.add_input_slice >= 0) words += "; image features added";
  return words;
}

}  // namespace

std::string LayerGroup::indices() const {
  std::string text;
  for (std::size_t i = 0; i < layers.size();) {
    std::size_t end = i;
    while (end + 1 < layers.size() && layers[end + 1] == layers[end] + 1) ++end;
    text += (text.empty() ? "" : ", ") +
            (end > i ? fmt::format("{}-{}", layers[i], layers[end]) : fmt::format("{}", layers[i]));
    i = end + 1;
  }
  return text;
}

std::vector<LayerGroup> group_layers(const spec::Stack& stack) {
  std::vector<LayerGroup> groups;
  for (std::size_t i = 0; i < stack.layers.size(); ++i) {
    const std::string words = layer_words(stack.layers[i]);
    auto found = std::find_if(groups.begin(), groups.end(),
                              [&](const LayerGroup& g) { return g.words == words; });
    if (found == groups.end()) found = groups.insert(groups.end(), LayerGroup{words, {}});
    found->layers.push_back(i);
  }
  return groups;
}

std::string pooling_words(const spec::Pooling& pooling) {
  switch (pooling.kind) {
    case spec::PoolingKind::kNone:
      return "";
    case spec::PoolingKind::kMean:
      return "mean of all tokens";
    case spec::PoolingKind::kFirst:
      return "first token";
    case spec::PoolingKind::kLast:
      return "last token";
    case spec::PoolingKind::kRank:
      return "classification head (reranker)";
  }
  return "";
}

}  // namespace hearth::cli
