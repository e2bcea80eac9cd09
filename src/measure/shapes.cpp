#include "measure/shapes.h"

#include <array>
#include <cstddef>
#include <utility>
#include <vector>

#include "gguf/file.h"
#include "measure/random_blocks.h"
#include "support/error.h"

namespace hearth::measure {

using tensor::DType;

namespace {

/// The type for rows of `columns` values: `wanted`, or what quantizers fall back to where rows are
/// no whole number of blocks (quant-blocks.md section 5, "type mixes").
DType fitting(DType wanted, std::int64_t columns) {
  const auto fits = [columns](DType dtype) {
    return columns % tensor::info(dtype).block_elements == 0;
  };
  if (fits(wanted)) return wanted;
  DType fallback = DType::kIQ4_NL;
  if (wanted == DType::kQ4_K) fallback = DType::kQ5_0;
  if (wanted == DType::kQ5_K) fallback = DType::kQ5_1;
  if (wanted == DType::kQ6_K) fallback = DType::kQ8_0;
  if (wanted == DType::kTQ1_0 || wanted == DType::kTQ2_0) fallback = DType::kQ4_0;
  return fits(fallback) ? fallback : DType::kF16;
}

/// A shape being made.
class Builder {
 public:
  Builder(std::string name, std::optional<DType> dtype) : dtype_(dtype) {
    shape_.name = std::move(name);
    shape_.writer.set("general.alignment", static_cast<std::uint32_t>(kShapeAlignment));
  }

  /// Begins a model of a family: its keys are those of `architecture`.
  void family(const std::string& architecture) {
    prefix_ = architecture + ".";
    shape_.writer.set("general.architecture", architecture);
    shape_.writer.set("general.name", shape_.name);
    // Random models have nothing to say.
    shape_.writer.set("tokenizer.ggml.model", "no_vocab");
  }
  void key(const std::string& name, std::int64_t value) {
    shape_.writer.set(prefix_ + name, static_cast<std::uint32_t>(value));
  }
  void key(const std::string& name, double value) {
    shape_.writer.set(prefix_ + name, static_cast<float>(value));
  }
  void key(const std::string& name, const std::string& value) {
    shape_.writer.set(prefix_ + name, value);
  }
  void keys(const std::string& name, const std::vector<std::int64_t>& values) {
    std::vector<std::uint32_t> numbers(values.begin(), values.end());
    shape_.writer.set_array(prefix_ + name, numbers);
  }
  gguf::Writer& writer() { return shape_.writer; }

  /// A weight of GGUF order `sizes`; `usual` is its type when nobody chose one.
  void matrix(const std::string& name, std::vector<std::int64_t> sizes,
              DType usual = DType::kQ4_K) {
    const DType dtype = fitting(dtype_.value_or(usual), sizes[0]);
    add(name, dtype, std::move(sizes));
  }
  void floats(const std::string& name, std::vector<std::int64_t> sizes) {
    add(name, DType::kF32, std::move(sizes));
  }
  void add(const std::string& name, DType dtype, std::vector<std::int64_t> sizes) {
    constexpr std::int64_t kMost = std::int64_t{1} << 48;  // far beyond any memory
    std::int64_t elements = 1;
    for (const std::int64_t size : sizes) {
      if (elements > kMost / size) refuse_size(name);
      elements *= size;
    }
    const std::uint64_t bytes = tensor::row_bytes(dtype, static_cast<std::size_t>(elements));
    if (shape_.data_bytes > static_cast<std::uint64_t>(kMost)) refuse_size(name);
    shape_.data_bytes += (bytes + kShapeAlignment - 1) / kShapeAlignment * kShapeAlignment;
    shape_.writer.add_tensor(
        name, dtype, std::move(sizes),
        [](std::uint64_t, std::span<std::byte>) { throw Error("a shape has no data"); });
  }
  [[nodiscard]] std::optional<DType> dtype() const { return dtype_; }
  [[nodiscard]] Shape finish() { return std::move(shape_); }

 private:
  [[noreturn]] void refuse_size(const std::string& tensor) const {
    throw Error("the tensors of '" + printable(shape_.name) + "' up to '" + printable(tensor) +
                    "' are too large for any memory",
                "use a smaller model", ExitCode::kDoesNotFit);
  }

  Shape shape_;
  std::optional<DType> dtype_;
  std::string prefix_;
};

std::string in_layer(std::int64_t layer, const char* name) {
  return "blk." + std::to_string(layer) + "." + name;
}

/// The numbers of a decoder; families differ in the rest.
struct Decoder {
  const char* architecture;
  std::int64_t width, layers, heads, kv_heads, head, hidden, vocabulary;
  bool tied;
  std::int64_t context;
  double rope_base;
  std::int64_t experts = 0, used = 0, expert_width = 0;
};

void begin(Builder& b, const Decoder& d, DType usual = DType::kQ4_K) {
  b.family(d.architecture);
  b.key("block_count", d.layers);
  b.key("context_length", d.context);
  b.key("embedding_length", d.width);
  b.key("feed_forward_length", d.hidden);
  b.key("vocab_size", d.vocabulary);
  b.key("attention.head_count", d.heads);
  b.key("attention.key_length", d.head);
  b.key("attention.value_length", d.head);
  b.key("attention.layer_norm_rms_epsilon", 1e-6);
  b.key("rope.freq_base", d.rope_base);
  if (d.experts > 0) {
    b.key("expert_count", d.experts);
    b.key("expert_used_count", d.used);
    b.key("expert_feed_forward_length", d.expert_width);
  }
  b.matrix("token_embd.weight", {d.width, d.vocabulary}, usual);
  if (!d.tied) b.matrix("output.weight", {d.width, d.vocabulary}, usual);
}

void attention(Builder& b, const Decoder& d, std::int64_t layer, DType usual = DType::kQ4_K) {
  b.floats(in_layer(layer, "attn_norm.weight"), {d.width});
  b.matrix(in_layer(layer, "attn_q.weight"), {d.width, d.heads * d.head}, usual);
  b.matrix(in_layer(layer, "attn_k.weight"), {d.width, d.kv_heads * d.head}, usual);
  b.matrix(in_layer(layer, "attn_v.weight"), {d.width, d.kv_heads * d.head}, usual);
  b.matrix(in_layer(layer, "attn_output.weight"), {d.heads * d.head, d.width}, usual);
}

void qk_norms(Builder& b, std::int64_t layer, std::int64_t q, std::int64_t k) {
  b.floats(in_layer(layer, "attn_q_norm.weight"), {q});
  b.floats(in_layer(layer, "attn_k_norm.weight"), {k});
}

void feed_forward(Builder& b, const Decoder& d, std::int64_t layer) {
  b.matrix(in_layer(layer, "ffn_gate.weight"), {d.width, d.hidden});
  b.matrix(in_layer(layer, "ffn_up.weight"), {d.width, d.hidden});
  b.matrix(in_layer(layer, "ffn_down.weight"), {d.hidden, d.width});
}

void experts(Builder& b, const Decoder& d, std::int64_t layer, DType usual = DType::kQ4_K) {
  b.floats(in_layer(layer, "ffn_gate_inp.weight"), {d.width, d.experts});
  for (const char* name : {"ffn_gate_exps.weight", "ffn_up_exps.weight"}) {
    b.matrix(in_layer(layer, name), {d.width, d.expert_width, d.experts}, usual);
  }
  b.matrix(in_layer(layer, "ffn_down_exps.weight"), {d.expert_width, d.width, d.experts}, usual);
}

/// llama, qwen3, qwen3moe, olmoe: layers that differ in the norms of q and k, and experts.
void plain(Builder& b, const Decoder& d) {
  begin(b, d);
  b.key("attention.head_count_kv", d.kv_heads);
  b.floats("output_norm.weight", {d.width});
  const std::string_view family = d.architecture;
  for (std::int64_t layer = 0; layer < d.layers; ++layer) {
    attention(b, d, layer);
    if (family.starts_with("qwen3")) qk_norms(b, layer, d.head, d.head);
    if (family == "olmoe") qk_norms(b, layer, d.heads * d.head, d.kv_heads * d.head);
    b.floats(in_layer(layer, "ffn_norm.weight"), {d.width});
    if (d.experts > 0) {
      experts(b, d, layer);
    } else {
      feed_forward(b, d, layer);
    }
  }
}

void gemma3(Builder& b, const Decoder& d) {
  begin(b, d);
  b.key("attention.head_count_kv", d.kv_heads);
  b.key("attention.sliding_window", std::int64_t{1024});
  b.key("rope.scaling.type", std::string("linear"));
  b.key("rope.scaling.factor", 8.0);
  b.floats("output_norm.weight", {d.width});
  for (std::int64_t layer = 0; layer < d.layers; ++layer) {
    attention(b, d, layer);
    qk_norms(b, layer, d.head, d.head);
    for (const char* name :
         {"post_attention_norm.weight", "ffn_norm.weight", "post_ffw_norm.weight"}) {
      b.floats(in_layer(layer, name), {d.width});
    }
    feed_forward(b, d, layer);
  }
}

void qwen35(Builder& b, const Decoder& d) {
  constexpr std::int64_t kState = 128, kKeyHeads = 16, kValueHeads = 32, kTaps = 4, kInterval = 4;
  constexpr std::int64_t kKeys = kKeyHeads * kState, kValues = kValueHeads * kState;
  begin(b, d);
  b.key("attention.head_count_kv", d.kv_heads);
  b.key("rope.dimension_count", std::int64_t{64});
  b.keys("rope.dimension_sections", {11, 11, 10, 0});
  b.key("ssm.conv_kernel", kTaps);
  b.key("ssm.state_size", kState);
  b.key("ssm.group_count", kKeyHeads);
  b.key("ssm.time_step_rank", kValueHeads);
  b.key("ssm.inner_size", kValues);
  b.key("full_attention_interval", kInterval);
  b.floats("output_norm.weight", {d.width});
  for (std::int64_t layer = 0; layer < d.layers; ++layer) {
    if ((layer + 1) % kInterval == 0) {
      b.floats(in_layer(layer, "attn_norm.weight"), {d.width});
      b.matrix(in_layer(layer, "attn_q.weight"), {d.width, 2 * d.heads * d.head});
      b.matrix(in_layer(layer, "attn_k.weight"), {d.width, d.kv_heads * d.head});
      b.matrix(in_layer(layer, "attn_v.weight"), {d.width, d.kv_heads * d.head});
      b.matrix(in_layer(layer, "attn_output.weight"), {d.heads * d.head, d.width});
      qk_norms(b, layer, d.head, d.head);
    } else {
      b.floats(in_layer(layer, "attn_norm.weight"), {d.width});
      b.matrix(in_layer(layer, "attn_qkv.weight"), {d.width, 2 * kKeys + kValues});
      b.matrix(in_layer(layer, "attn_gate.weight"), {d.width, kValues});
      b.matrix(in_layer(layer, "ssm_beta.weight"), {d.width, kValueHeads});
      b.matrix(in_layer(layer, "ssm_alpha.weight"), {d.width, kValueHeads});
      b.floats(in_layer(layer, "ssm_conv1d.weight"), {kTaps, 2 * kKeys + kValues});
      b.floats(in_layer(layer, "ssm_dt.bias"), {kValueHeads});
      b.floats(in_layer(layer, "ssm_a"), {kValueHeads});
      b.floats(in_layer(layer, "ssm_norm.weight"), {kState});
      b.matrix(in_layer(layer, "ssm_out.weight"), {kValues, d.width});
    }
    b.floats(in_layer(layer, "post_attention_norm.weight"), {d.width});
    feed_forward(b, d, layer);
  }
}

void lfm2(Builder& b, const Decoder& d) {
  constexpr std::int64_t kTaps = 3;
  constexpr std::array<std::int64_t, 6> kAttending = {2, 5, 8, 10, 12, 14};
  begin(b, d);
  std::vector<std::int64_t> kv_heads(static_cast<std::size_t>(d.layers));
  for (const std::int64_t layer : kAttending)
    kv_heads[static_cast<std::size_t>(layer)] = d.kv_heads;
  b.keys("attention.head_count_kv", kv_heads);
  b.key("shortconv.l_cache", kTaps);
  b.floats("token_embd_norm.weight", {d.width});
  for (std::int64_t layer = 0; layer < d.layers; ++layer) {
    if (kv_heads[static_cast<std::size_t>(layer)] > 0) {
      attention(b, d, layer);
      qk_norms(b, layer, d.head, d.head);
    } else {
      b.floats(in_layer(layer, "attn_norm.weight"), {d.width});
      b.matrix(in_layer(layer, "shortconv.in_proj.weight"), {d.width, 3 * d.width});
      b.floats(in_layer(layer, "shortconv.conv.weight"), {kTaps, d.width});
      b.matrix(in_layer(layer, "shortconv.out_proj.weight"), {d.width, d.width});
    }
    b.floats(in_layer(layer, "ffn_norm.weight"), {d.width});
    feed_forward(b, d, layer);
  }
}

void gpt_oss(Builder& b, const Decoder& d) {
  begin(b, d, DType::kQ8_0);
  b.key("attention.head_count_kv", d.kv_heads);
  b.key("attention.sliding_window", std::int64_t{128});
  b.key("rope.scaling.type", std::string("yarn"));
  b.key("rope.scaling.factor", 32.0);
  b.key("rope.scaling.original_context_length", std::int64_t{4096});
  b.floats("output_norm.weight", {d.width});
  for (std::int64_t layer = 0; layer < d.layers; ++layer) {
    attention(b, d, layer, DType::kQ8_0);
    b.floats(in_layer(layer, "attn_q.bias"), {d.heads * d.head});
    b.floats(in_layer(layer, "attn_k.bias"), {d.kv_heads * d.head});
    b.floats(in_layer(layer, "attn_v.bias"), {d.kv_heads * d.head});
    b.floats(in_layer(layer, "attn_output.bias"), {d.width});
    b.floats(in_layer(layer, "attn_sinks.weight"), {d.heads});
    b.floats(in_layer(layer, "post_attention_norm.weight"), {d.width});
    experts(b, d, layer, DType::kMXFP4);
    b.floats(in_layer(layer, "ffn_gate_inp.bias"), {d.experts});
    b.floats(in_layer(layer, "ffn_gate_exps.bias"), {d.expert_width, d.experts});
    b.floats(in_layer(layer, "ffn_up_exps.bias"), {d.expert_width, d.experts});
    b.floats(in_layer(layer, "ffn_down_exps.bias"), {d.width, d.experts});
  }
}

struct KnownShape {
  std::string_view name;
  void (*build)(Builder&, const Decoder&);
  Decoder decoder;
};

// From the models' published config.json files.
constexpr KnownShape kShapes[] = {
    {"llama3.2-1b", plain, {"llama", 2048, 16, 32, 8, 64, 8192, 128256, true, 131072, 500000}},
    {"llama3-8b", plain, {"llama", 4096, 32, 32, 8, 128, 14336, 128256, false, 131072, 500000}},
    {"qwen3-0.6b", plain, {"qwen3", 1024, 28, 16, 8, 128, 3072, 151936, true, 40960, 1e6}},
    {"qwen3-4b", plain, {"qwen3", 2560, 36, 32, 8, 128, 9728, 151936, true, 262144, 5e6}},
    {"qwen3-30b-a3b",
     plain,
     {"qwen3moe", 2048, 48, 32, 4, 128, 6144, 151936, false, 262144, 1e7, 128, 8, 768}},
    {"qwen3.5-9b", qwen35, {"qwen35", 4096, 32, 16, 4, 256, 12288, 248320, false, 262144, 1e7}},
    {"olmoe-7b-a1.3b",
     plain,
     {"olmoe", 2048, 16, 16, 16, 128, 1024, 50304, false, 4096, 10000, 64, 8, 1024}},
    {"gemma3-4b", gemma3, {"gemma3", 2560, 34, 8, 4, 256, 10240, 262144, true, 131072, 1e6}},
    {"lfm2-350m", lfm2, {"lfm2", 1024, 16, 16, 8, 64, 4608, 65536, true, 128000, 1e6}},
    {"lfm2-1.2b", lfm2, {"lfm2", 2048, 16, 32, 8, 64, 8192, 65536, true, 128000, 1e6}},
    {"gpt-oss-20b",
     gpt_oss,
     {"gpt-oss", 2880, 24, 64, 8, 64, 2880, 201088, false, 131072, 150000, 32, 4, 2880}},
};
constexpr std::size_t kShapeCount = std::size(kShapes);

constexpr std::array<std::string_view, kShapeCount> kNames = [] {
  std::array<std::string_view, kShapeCount> names;
  for (std::size_t i = 0; i < kShapeCount; ++i) names[i] = kShapes[i].name;
  return names;
}();

void check_type(std::optional<DType> dtype) {
  if (!dtype || has_random_blocks(*dtype)) return;
  throw Error("weights are not stored as " + std::string(tensor::name(*dtype)),
              "choose another --type, such as Q4_K", ExitCode::kUsage);
}

/// Whether quantizers leave a tensor as it is: vectors, routers, and what is no matrix product.
bool stays_float(const gguf::TensorInfo& tensor) {
  if (tensor.dimensions < 2 || tensor.dtype == DType::kI32) return true;
  for (const char* part : {"norm", "ffn_gate_inp", "conv", "bias", "rope", "ssm_a", "ssm_d"}) {
    if (tensor.name.find(part) != std::string::npos) return true;
  }
  return !tensor.name.ends_with(".weight");
}

}  // namespace

std::span<const std::string_view> shape_names() noexcept { return kNames; }

Shape known_shape(std::string_view name, std::optional<DType> dtype) {
  check_type(dtype);
  std::string known;
  for (const KnownShape& shape : kShapes) {
    if (shape.name == name) {
      Builder builder(std::string(name), dtype);
      shape.build(builder, shape.decoder);
      return builder.finish();
    }
    known.append(known.empty() ? "" : ", ").append(shape.name);
  }
  throw Error("unknown shape '" + printable(name) + "'",
              "known are " + known + ", and shape:FILE.gguf", ExitCode::kUsage);
}

Shape file_shape(const std::filesystem::path& path, std::optional<DType> dtype) {
  return header_shape(gguf::File::open_header(path), path.stem().string(), dtype);
}

bool names_file_shape(std::string_view name) noexcept {
  return name.ends_with(".gguf") || name.find('/') != std::string_view::npos;
}

Shape named_shape(const std::string& name, std::optional<DType> dtype) {
  return names_file_shape(name) ? file_shape(name, dtype) : known_shape(name, dtype);
}

Shape header_shape(const gguf::File& file, const std::string& name, std::optional<DType> dtype) {
  check_type(dtype);
  Builder builder(name, dtype);
  builder.writer().copy(file.metadata());
  builder.writer().set("general.alignment", static_cast<std::uint32_t>(kShapeAlignment));
  for (const gguf::TensorInfo& tensor : file.tensors()) {
    std::vector<std::int64_t> sizes(tensor.shape, tensor.shape + tensor.dimensions);
    if (!dtype || stays_float(tensor)) {
      builder.add(tensor.name, tensor.dtype, std::move(sizes));
    } else {
      builder.matrix(tensor.name, std::move(sizes));
    }
  }
  return builder.finish();
}

}  // namespace hearth::measure
