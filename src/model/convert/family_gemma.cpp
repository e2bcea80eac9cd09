// gemma, gemma2, gemma3: norm weights are stored less one (reference: gemma.md).
#include <fmt/format.h>

#include "model/convert/decoder.h"
#include "model/convert/families.h"
#include "support/error.h"

namespace hearth::model::convert {
namespace {

constexpr DecoderStyle kStyle = {.shifted_norms = true};
constexpr std::string_view kActivation = "gelu_pytorch_tanh";

/// Readers scale queries by 1/sqrt(head size), and by 1/sqrt(width / heads) in the 27B models,
/// which they recognise by their number of layers.
void require_query_scale(const Decoder& decoder, std::int64_t layers_of_27b) {
  const std::int64_t expected =
      decoder.layers == layers_of_27b ? decoder.width / decoder.heads : decoder.head_size;
  const double given =
      decoder.config().number("query_pre_attn_scalar", static_cast<double>(expected));
  if (given == static_cast<double>(expected)) return;
  decoder.config().fail(
      "query_pre_attn_scalar",
      fmt::format("is {}, but GGUF files of such models mean {}", given, expected));
}

void write_softcap(const Decoder& decoder, const char* from, const char* to) {
  if (decoder.config().has(from))
    decoder.conversion().set_number(to, decoder.config().number(from));
}

void add_sandwich_layers(const Decoder& decoder) {
  for (std::int64_t layer = 0; layer < decoder.layers; ++layer) {
    decoder.add_norm(layer, "attn_norm", "input_layernorm");
    decoder.add_attention(layer);
    decoder.add_norm(layer, "post_attention_norm", "post_attention_layernorm");
    decoder.add_norm(layer, "ffn_norm", "pre_feedforward_layernorm");
    decoder.add_feed_forward(layer, decoder.feed_forward);
    decoder.add_norm(layer, "post_ffw_norm", "post_feedforward_layernorm");
  }
}

}  // namespace

void convert_gemma(Conversion& conversion) {
  conversion.set_architecture("gemma");
  Decoder decoder(conversion, {.head_size = 256, .context = 8192, .epsilon = 1e-6}, kStyle);
  decoder.write_head_sizes();
  decoder.write_rope(decoder.head_size);
  // Gemma 1 configurations say "gelu" and mean the tanh form.
  if (decoder.config().string("hidden_act", std::string("gelu")) != "gelu")
    decoder.require_activation(kActivation);
  decoder.add_embeddings();
  for (std::int64_t layer = 0; layer < decoder.layers; ++layer) {
    decoder.add_norm(layer, "attn_norm", "input_layernorm");
    decoder.add_attention(layer);
    decoder.add_norm(layer, "ffn_norm", "post_attention_layernorm");
    decoder.add_feed_forward(layer, decoder.feed_forward);
  }
}

void convert_gemma2(Conversion& conversion) {
  conversion.set_architecture("gemma2");
  Decoder decoder(conversion,
                  {.heads = 8, .kv_heads = 4, .head_size = 256, .context = 8192, .epsilon = 1e-6},
                  kStyle);
  decoder.write_head_sizes();
  decoder.write_rope(decoder.head_size);
  decoder.write_window(2);
  decoder.require_activation(kActivation);
  require_query_scale(decoder, 46);
  write_softcap(decoder, "attn_logit_softcapping", "attn_logit_softcapping");
  write_softcap(decoder, "final_logit_softcapping", "final_logit_softcapping");
  decoder.add_embeddings();
  add_sandwich_layers(decoder);
}

void convert_gemma3(Conversion& conversion) {
  conversion.set_architecture("gemma3");
  Decoder decoder(conversion,
                  {.heads = 8,
                   .kv_heads = 4,
                   .head_size = 256,
                   .context = 131072,
                   .rope_base = 1e6,
                   .epsilon = 1e-6},
                  kStyle);
  decoder.write_head_sizes();
  decoder.write_rope(decoder.head_size);
  const Config windowed = decoder.config().object("rope_parameters").object("sliding_attention");
  conversion.set_number(
      "rope.freq_base_swa",
      windowed.number("rope_theta", decoder.config().number("rope_local_base_freq", 10000)));
  decoder.write_window(6);
  decoder.require_activation(kActivation);
  require_query_scale(decoder, 62);
  if (decoder.config().has("attn_logit_softcapping"))
    decoder.config().fail("attn_logit_softcapping", "is set, which gemma3 files cannot express");
  write_softcap(decoder, "final_logit_softcapping", "final_logit_softcapping");
  decoder.add_embeddings();
  add_sandwich_layers(decoder);
  for (std::int64_t layer = 0; layer < decoder.layers; ++layer)
    decoder.add_qk_norms(layer, "self_attn.q_norm", "self_attn.k_norm");
}

}  // namespace hearth::model::convert
