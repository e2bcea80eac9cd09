// Encoders without reference data: small random models against the equations of the reference
// (embedding.md), written down here as plainly as possible and in double precision.
#include <cmath>
#include <map>
#include <random>

#include "compute/cpu/cpu_backend.h"
#include "gguf/writer.h"
#include "golden_case.h"
#include "temporary_folder.h"

namespace hearth::testing {
namespace {

using Row = std::vector<double>;
using Rows = std::vector<Row>;

constexpr std::int64_t kEncoderWidth = 32, kEncoderHeads = 4, kEncoderHead = 8, kEncoderHidden = 24,
                       kEncoderVocab = 40, kLayers = 2;
constexpr float kEpsilon = 1e-5F;

/// A model file and the numbers in it.
struct EncoderFile {
  std::string architecture;
  std::int64_t kv_heads = kEncoderHeads;
  std::map<std::string, std::vector<float>> values;
  std::map<std::string, std::vector<std::int64_t>> shapes;
  std::mt19937 random{7};

  void add(const std::string& name, std::vector<std::int64_t> shape) {
    std::size_t count = 1;
    for (const std::int64_t size : shape) count *= static_cast<std::size_t>(size);
    std::vector<float>& numbers = values[name];
    const bool is_norm = name.find("norm") != std::string::npos && name.ends_with("weight");
    for (std::size_t i = 0; i < count; ++i) {
      const float number =
          static_cast<float>(random() % 2001) / 1000.0F - 1.0F;  // the same everywhere
      numbers.push_back(is_norm ? 1 + 0.3F * number : 0.4F * number);
    }
    shapes[name] = std::move(shape);
  }
  void add_both(const std::string& name, std::int64_t in, std::int64_t out) {
    add(name + ".weight", {in, out});
    add(name + ".bias", {out});
  }
  void add_norm(const std::string& name, std::int64_t size = kEncoderWidth) {
    add(name + ".weight", {size});
    add(name + ".bias", {size});
  }

  void write(const std::filesystem::path& path) const {
    gguf::Writer writer;
    writer.set("general.architecture", std::string_view(architecture));
    const auto set = [&](const std::string& key, auto value) {
      writer.set(architecture + "." + key, value);
    };
    set("embedding_length", static_cast<std::uint32_t>(kEncoderWidth));
    set("block_count", static_cast<std::uint32_t>(kLayers));
    set("context_length", 64U);
    set("attention.head_count", static_cast<std::uint32_t>(kEncoderHeads));
    set("attention.head_count_kv", static_cast<std::uint32_t>(kv_heads));
    set("feed_forward_length", static_cast<std::uint32_t>(kEncoderHidden));
    set("attention.layer_norm_epsilon", kEpsilon);
    set("attention.layer_norm_rms_epsilon", kEpsilon);
    set("rope.freq_base", 500.0F);
    for (const auto& [name, numbers] : values) {
      writer.add_floats(name, shapes.at(name), numbers);
    }
    writer.write(path);
  }
};

std::string in_layer(std::int64_t layer, const std::string& name) {
  return "blk." + std::to_string(layer) + "." + name;
}

// ---- The equations ------------------------------------------------------------------------------

class Equations {
 public:
  explicit Equations(const EncoderFile& model) : model_(model) {}

  [[nodiscard]] Rows linear(const std::string& name, const Rows& x) const {
    const std::vector<float>& weight = model_.values.at(name + ".weight");
    const std::vector<std::int64_t>& shape = model_.shapes.at(name + ".weight");
    const auto in = static_cast<std::size_t>(shape[0]);
    const auto out = static_cast<std::size_t>(shape[1]);
    const auto bias = model_.values.find(name + ".bias");
    Rows result;
    for (const Row& row : x) {
      Row y(out);
      for (std::size_t o = 0; o < out; ++o) {
        y[o] = bias == model_.values.end() ? 0 : bias->second[o];
        for (std::size_t i = 0; i < in; ++i) y[o] += weight[o * in + i] * row[i];
      }
      result.push_back(std::move(y));
    }
    return result;
  }

  [[nodiscard]] Rows norm(const std::string& name, Rows x, bool rms) const {
    const std::vector<float>& weight = model_.values.at(name + ".weight");
    const auto bias = model_.values.find(name + ".bias");
    for (Row& row : x) {
      double mean = 0;
      double square = 0;
      for (const double v : row) mean += v / static_cast<double>(row.size());
      if (rms) mean = 0;
      for (const double v : row) {
        square += (v - mean) * (v - mean) / static_cast<double>(row.size());
      }
      for (std::size_t i = 0; i < row.size(); ++i) {
        row[i] = (row[i] - mean) / std::sqrt(square + static_cast<double>(kEpsilon)) * weight[i];
        if (bias != model_.values.end()) row[i] += bias->second[i];
      }
    }
    return x;
  }

  [[nodiscard]] Rows embed(std::span<const std::int32_t> tokens) const {
    Rows rows;
    const auto types = model_.values.find("token_types.weight");
    for (const std::int32_t token : tokens) {
      Row row(kEncoderWidth);
      for (std::size_t i = 0; i < row.size(); ++i) {
        row[i] = model_.values.at("token_embd.weight")[static_cast<std::size_t>(token) *
                                                           static_cast<std::size_t>(kEncoderWidth) +
                                                       i];
        if (types != model_.values.end()) row[i] += types->second[i];
      }
      rows.push_back(std::move(row));
    }
    return rows;
  }

  [[nodiscard]] bool has(const std::string& name) const {
    return model_.values.contains(name + ".weight");
  }
  [[nodiscard]] const EncoderFile& model() const { return model_; }

 private:
  const EncoderFile& model_;
};

double gelu(double z) {
  return 0.5 * z * (1 + std::tanh(0.7978845608028654 * (z + 0.044715 * z * z * z)));
}
double silu(double z) { return z / (1 + std::exp(-z)); }

Rows sum(Rows a, const Rows& b) {
  for (std::size_t t = 0; t < a.size(); ++t) {
    for (std::size_t i = 0; i < a[t].size(); ++i) a[t][i] += b[t][i];
  }
  return a;
}

Rows columns(const Rows& x, std::size_t begin, std::size_t count) {
  Rows result;
  for (const Row& row : x) {
    const auto first = row.begin() + static_cast<std::ptrdiff_t>(begin);
    result.emplace_back(first, first + static_cast<std::ptrdiff_t>(count));
  }
  return result;
}

Rows gated(const Rows& gate, const Rows& up, double (*activation)(double)) {
  Rows result = up;
  for (std::size_t t = 0; t < up.size(); ++t) {
    for (std::size_t i = 0; i < up[t].size(); ++i) result[t][i] *= activation(gate[t][i]);
  }
  return result;
}

/// Rotates every head by its row's position.
void rotate(Rows& x, bool halves) {
  for (std::size_t t = 0; t < x.size(); ++t) {
    for (std::size_t head = 0; head < x[t].size(); head += kEncoderHead) {
      for (std::size_t i = 0; i < kEncoderHead / 2; ++i) {
        const double angle =
            static_cast<double>(t) * std::pow(500.0, -2.0 * static_cast<double>(i) / kEncoderHead);
        double& a = x[t][head + (halves ? i : 2 * i)];
        double& b = x[t][head + (halves ? i + kEncoderHead / 2 : 2 * i + 1)];
        const double rotated = a * std::cos(angle) - b * std::sin(angle);
        b = a * std::sin(angle) + b * std::cos(angle);
        a = rotated;
      }
    }
  }
}

/// Everything attends to everything; with ALiBi of `max_bias` when > 0.
Rows attend(const Rows& q, const Rows& k, const Rows& v, double max_bias) {
  const std::size_t kv_heads = k[0].size() / kEncoderHead;
  Rows out(q.size(), Row(kEncoderHeads * kEncoderHead));
  for (std::size_t h = 0; h < kEncoderHeads; ++h) {
    const std::size_t from = h / (kEncoderHeads / kv_heads) * kEncoderHead;
    const double slope = std::exp2(-max_bias / kEncoderHeads * static_cast<double>(h + 1));
    for (std::size_t t = 0; t < q.size(); ++t) {
      Row weights;
      double total = 0;
      for (std::size_t c = 0; c < k.size(); ++c) {
        double score = 0;
        for (std::size_t i = 0; i < kEncoderHead; ++i)
          score += q[t][h * kEncoderHead + i] * k[c][from + i];
        score /= std::sqrt(static_cast<double>(kEncoderHead));
        if (max_bias > 0) {
          score -= slope * std::abs(static_cast<double>(t) - static_cast<double>(c));
        }
        weights.push_back(std::exp(score));
        total += weights.back();
      }
      for (std::size_t c = 0; c < k.size(); ++c) {
        for (std::size_t i = 0; i < kEncoderHead; ++i) {
          out[t][h * kEncoderHead + i] += weights[c] / total * v[c][from + i];
        }
      }
    }
  }
  return out;
}

Rows jina_bert(const Equations& e, std::span<const std::int32_t> tokens) {
  const bool v2 = e.model().architecture == "jina-bert-v2";
  Rows h = e.norm("token_embd_norm", e.embed(tokens), false);
  for (std::int64_t l = 0; l < kLayers; ++l) {
    const auto name = [&](const std::string& tensor) { return in_layer(l, tensor); };
    Rows q = e.linear(name("attn_q"), h);
    Rows k = e.linear(name("attn_k"), h);
    if (e.has(name("attn_q_norm"))) q = e.norm(name("attn_q_norm"), q, false);
    if (e.has(name("attn_k_norm"))) k = e.norm(name("attn_k_norm"), k, false);
    if (!v2) rotate(q, true);
    if (!v2) rotate(k, true);
    Rows a =
        e.linear(name("attn_output"), attend(q, k, e.linear(name("attn_v"), h), v2 ? 8.0 : 0.0));
    a = e.norm(name("attn_output_norm"), sum(a, h), false);
    if (e.has(name("attn_norm_2"))) a = e.norm(name("attn_norm_2"), sum(a, h), false);
    Rows hidden = e.linear(name("ffn_up"), a);
    if (v2) {
      const Rows gate = e.has(name("ffn_gate")) ? e.linear(name("ffn_gate"), a)
                                                : columns(hidden, 0, kEncoderHidden);
      if (!e.has(name("ffn_gate"))) hidden = columns(hidden, kEncoderHidden, kEncoderHidden);
      hidden = gated(gate, hidden, gelu);
    } else {
      for (Row& row : hidden) std::transform(row.begin(), row.end(), row.begin(), gelu);
    }
    h = e.norm(name("layer_output_norm"), sum(e.linear(name("ffn_down"), hidden), a), false);
  }
  return h;
}

/// neo-bert, eurobert, llama-embed.
Rows bidirectional_llama(const Equations& e, std::span<const std::int32_t> tokens) {
  const bool neo = e.model().architecture == "neo-bert";
  const bool halves = e.model().architecture == "eurobert";
  Rows h = e.embed(tokens);
  for (std::int64_t l = 0; l < kLayers; ++l) {
    const auto name = [&](const std::string& tensor) { return in_layer(l, tensor); };
    Rows x = e.norm(name("attn_norm"), h, true);
    const auto width = static_cast<std::size_t>(kEncoderWidth);
    const Rows qkv = neo ? e.linear(name("attn_qkv"), x) : Rows{};
    Rows q = neo ? columns(qkv, 0, width) : e.linear(name("attn_q"), x);
    Rows k = neo ? columns(qkv, width, width) : e.linear(name("attn_k"), x);
    const Rows v = neo ? columns(qkv, 2 * width, width) : e.linear(name("attn_v"), x);
    rotate(q, halves);
    rotate(k, halves);
    h = sum(h, e.linear(name("attn_output"), attend(q, k, v, 0)));
    x = e.norm(name("ffn_norm"), h, true);
    const Rows up = e.linear(name("ffn_up"), x);
    const Rows hidden = neo ? gated(columns(up, 0, kEncoderHidden),
                                    columns(up, kEncoderHidden, kEncoderHidden), silu)
                            : gated(e.linear(name("ffn_gate"), x), up, silu);
    h = sum(h, e.linear(name("ffn_down"), hidden));
  }
  return e.norm(neo ? "enc.output_norm" : "output_norm", h, true);
}

// ---- The models ---------------------------------------------------------------------------------

EncoderFile jina(const std::string& architecture, bool every_extra) {
  const bool v2 = architecture == "jina-bert-v2";
  EncoderFile model;
  model.architecture = architecture;
  model.add("token_embd.weight", {kEncoderWidth, kEncoderVocab});
  model.add("token_types.weight", {kEncoderWidth, 2});
  model.add_norm("token_embd_norm");
  for (std::int64_t l = 0; l < kLayers; ++l) {
    for (const char* name : {"attn_q", "attn_k", "attn_v", "attn_output"}) {
      model.add_both(in_layer(l, name), kEncoderWidth, kEncoderWidth);
    }
    model.add_norm(in_layer(l, "attn_output_norm"));
    model.add_norm(in_layer(l, "layer_output_norm"));
    model.add_both(in_layer(l, "ffn_down"), kEncoderHidden, kEncoderWidth);
    model.add_both(in_layer(l, "ffn_up"), kEncoderWidth,
                   v2 && !every_extra ? 2 * kEncoderHidden : kEncoderHidden);
    if (!v2 || !every_extra) continue;
    model.add(in_layer(l, "ffn_gate.weight"), {kEncoderWidth, kEncoderHidden});
    for (const char* name : {"attn_q_norm", "attn_k_norm", "attn_norm_2"}) {
      model.add_norm(in_layer(l, name));
    }
  }
  return model;
}

EncoderFile llama_like_encoder(const std::string& architecture) {
  const bool neo = architecture == "neo-bert";
  EncoderFile model;
  model.architecture = architecture;
  model.kv_heads = neo ? kEncoderHeads : 2;
  model.add("token_embd.weight", {kEncoderWidth, kEncoderVocab});
  model.add(neo ? "enc.output_norm.weight" : "output_norm.weight", {kEncoderWidth});
  for (std::int64_t l = 0; l < kLayers; ++l) {
    const auto add = [&](const std::string& name, std::vector<std::int64_t> shape) {
      model.add(in_layer(l, name + ".weight"), std::move(shape));
    };
    add("attn_norm", {kEncoderWidth});
    add("ffn_norm", {kEncoderWidth});
    add("attn_output", {kEncoderWidth, kEncoderWidth});
    add("ffn_down", {kEncoderHidden, kEncoderWidth});
    if (neo) {
      add("attn_qkv", {kEncoderWidth, 3 * kEncoderWidth});
      add("ffn_up", {kEncoderWidth, 2 * kEncoderHidden});
      continue;
    }
    add("attn_q", {kEncoderWidth, kEncoderWidth});
    add("attn_k", {kEncoderWidth, 2 * kEncoderHead});
    add("attn_v", {kEncoderWidth, 2 * kEncoderHead});
    add("ffn_gate", {kEncoderWidth, kEncoderHidden});
    add("ffn_up", {kEncoderWidth, kEncoderHidden});
  }
  return model;
}

const std::vector<std::int32_t> kFirstText = {3, 17, 5, 29, 11, 39, 0, 8, 3};
const std::vector<std::int32_t> kSecondText = {21, 2, 2, 14};

using Describe = Rows (*)(const Equations&, std::span<const std::int32_t>);

/// Both texts in one pass give what the equations give for each alone.
void check(const EncoderFile& model, Describe equations) {
  SCOPED_TRACE(model.architecture);
  const TemporaryFolder folder;
  model.write(folder / "model.gguf");
  ModelOnBackend runner(
      folder / "model.gguf",
      compute::make_cpu_backend({.threads = 2, .exact = true, .instruction_set = ""}),
      tensor::DType::kF32, 64);
  EXPECT_FALSE(runner.spec().causal);
  EXPECT_TRUE(runner.spec().kv_memories.empty()) << "encoders remember nothing";
  EXPECT_EQ(runner.spec().pooling.kind, spec::PoolingKind::kMean) << "where the file says nothing";

  std::vector<std::unique_ptr<state::SequenceState>> sequences;
  std::vector<model::BatchRow> rows;
  std::vector<float> expected;
  for (const auto& text : {kFirstText, kSecondText}) {
    sequences.push_back(runner.new_sequence());
    for (const std::int32_t token : text) {
      rows.push_back({.sequence = sequences.back().get(), .token = token, .wants_hidden = true});
    }
    for (const Row& row : equations(Equations(model), text)) {
      expected.insert(expected.end(), row.begin(), row.end());
    }
  }
  runner.run_rows(rows);
  EXPECT_LE(nmse(runner.runner().hidden(), expected), 1e-10);
}

TEST(EncoderFamilies, JinaBertFollowsItsEquations) {
  check(jina("jina-bert-v2", false), jina_bert);
  check(jina("jina-bert-v2", true), jina_bert);
  check(jina("jina-bert-v3", false), jina_bert);
}

TEST(EncoderFamilies, BidirectionalLlamasFollowTheirEquations) {
  for (const char* architecture : {"neo-bert", "eurobert", "llama-embed"}) {
    check(llama_like_encoder(architecture), bidirectional_llama);
  }
}

}  // namespace
}  // namespace hearth::testing
