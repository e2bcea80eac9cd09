#include "plan/catalog_workload.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <string_view>
#include <utility>

#include "spec/setup.h"
#include "state/memory.h"
#include "state/snapshots.h"
#include "tensor/dtype.h"

namespace hearth::plan {
namespace {

double real(std::int64_t value) { return static_cast<double>(value); }

/// Weights of the embedding table, of the output matrix (0: tied), and of tables that layers look
/// rows up in.
struct Tables {
  double embedding = 0, output = 0, per_layer = 0;
};

Tables tables_of(const CatalogModel& model) {
  const CatalogShape& shape = model.shape;
  Tables tables;
  tables.embedding = real(shape.vocabulary) * real(shape.width);
  const bool embeds = model.role == "embedding" || model.role == "rerank";
  tables.output = shape.tied || embeds ? 0 : tables.embedding;
  tables.per_layer = real(shape.vocabulary) * real(shape.layers * shape.per_layer_embedding);
  // More tables than parameters: the numbers do not belong together.
  const double room = 0.9 * model.parameters;
  if (tables.embedding + tables.output + tables.per_layer > room) return {};
  return tables;
}

double expert_weights(const CatalogShape& shape) {
  if (shape.experts == 0) return 0;
  const std::int64_t layers = shape.moe_layers > 0
                                  ? shape.moe_layers
                                  : std::max<std::int64_t>(0, shape.layers - shape.dense_layers);
  return real(layers) * real(shape.experts) * real(shape.expert_matrices) * real(shape.width) *
         real(shape.expert_width);
}

/// Weights by how they are used. Routed experts hold at most what parameters leave.
struct Parts {
  double body = 0;     // matrices of the layers without experts
  double experts = 0;  // all routed experts
  double share = 0;    // of the experts that one token uses
  Tables tables;
};

Parts parts_of(const CatalogModel& model) {
  Parts parts;
  parts.tables = tables_of(model);
  const double layers = std::max(0.0, model.parameters - parts.tables.embedding -
                                          parts.tables.output - parts.tables.per_layer);
  const CatalogShape& shape = model.shape;
  parts.experts = expert_weights(shape);
  if (parts.experts > 0 && parts.experts <= layers) {
    parts.share = real(shape.experts_used) / real(shape.experts);
  } else if (model.active_parameters > 0 && model.active_parameters < model.parameters) {
    // No usable shape: the published count of active parameters, of which a quarter is taken to be
    // outside the experts.
    const double outside = 0.25 * model.active_parameters;
    parts.experts = std::max(0.0, layers - outside);
    parts.share = parts.experts > 0 ? (model.active_parameters - outside) / parts.experts : 0;
    parts.share = std::clamp(parts.share, 0.0, 1.0);
  } else {
    parts.experts = 0;
  }
  parts.body = layers - parts.experts;
  return parts;
}

/// Layers that keep keys and values: without window, and with one.
struct KvLayers {
  double full = 0, windowed = 0;
};

KvLayers kv_layers_of(const CatalogShape& shape) {
  const double own = real(std::max<std::int64_t>(0, shape.layers - shape.shared_kv_layers));
  if (shape.kv_layers > 0) return {real(shape.kv_layers), 0};
  if (shape.window == 0 || shape.full_every == 0) {
    return shape.window > 0 && shape.full_every == 0 && shape.kv_bytes_per_token > 0
               ? KvLayers{0, own}
               : KvLayers{own, 0};
  }
  const double full = std::floor(own / real(shape.full_every));
  return {full, own - full};
}

void add_attention(const CatalogModel& model, Workload& workload) {
  const CatalogShape& shape = model.shape;
  const KvLayers layers = kv_layers_of(shape);
  const double head = real(shape.head_size), kv = real(shape.kv_heads);
  const double global_head = shape.global_head_size > 0 ? real(shape.global_head_size) : head;
  const double global_kv = shape.global_kv_heads > 0 ? real(shape.global_kv_heads) : kv;
  constexpr double kBytes = 2;  // F16
  if (shape.latent_size > 0) {
    workload.kv_bytes_per_token = layers.full * real(shape.latent_size) * kBytes;
    workload.attention_multiply_adds =
        layers.full * real(shape.heads) * 2 * real(shape.latent_size);
    return;
  }
  const double heads = real(shape.heads);
  workload.window = shape.window;
  workload.window_bytes_per_token = layers.windowed * kv * head * 2 * kBytes;
  workload.window_multiply_adds = layers.windowed * heads * 2 * head;
  workload.kv_bytes_per_token = layers.full * global_kv * global_head * 2 * kBytes;
  workload.attention_multiply_adds = layers.full * heads * 2 * global_head;
  if (shape.kv_bytes_per_token > 0) workload.kv_bytes_per_token = shape.kv_bytes_per_token;
}

/// Layers that keep a state instead of keys and values (Workload::recurrent_layers).
double recurrent_layers(const CatalogModel& model) {
  const CatalogShape& shape = model.shape;
  if (shape.kv_layers == 0 || model.architecture.starts_with("lfm2")) return 0;
  // Blocks of Nemotron-H are half a layer: a mixer or a feed-forward.
  if (model.architecture.starts_with("nemotron_h")) return 0.5 * real(shape.layers);
  return real(shape.layers - shape.kv_layers);
}

/// Bytes of all weights when matrices of layers have `body_bits`.
double file_bytes(const CatalogModel& model, const QuantInfo& quant) {
  const Parts parts = parts_of(model);
  // The table that is multiplied with (the embedding itself when it is tied) has its own type.
  const double output = parts.tables.output > 0 ? parts.tables.output : parts.tables.embedding;
  const double rest = parts.body + parts.experts + parts.tables.per_layer +
                      (parts.tables.output > 0 ? parts.tables.embedding : 0);
  return (rest * quant.body_bits + output * quant.output_bits) / 8;
}

/// The block format that most of a quantization's matrices have: "Q4_K" of "UD-Q4_K_M", "IQ2_S" of
/// "IQ2_M"; empty when the name tells nothing.
std::string body_format(std::string_view quant) {
  constexpr std::pair<std::string_view, std::string_view> kMixes[] = {
      {"IQ3_M", "IQ3_S"}, {"IQ2_M", "IQ2_S"}, {"IQ1_S", "IQ1_S"}, {"IQ1_M", "IQ1_M"}};
  if (quant.starts_with("UD-")) quant.remove_prefix(3);
  for (const auto& [mix, format] : kMixes) {
    if (quant == mix) return std::string(format);
  }
  while (!quant.empty()) {
    if (tensor::dtype_from_name(std::string(quant))) return std::string(quant);
    const std::size_t cut = quant.rfind('_');
    quant = cut == std::string_view::npos ? std::string_view() : quant.substr(0, cut);
  }
  return {};
}

/// The format with about so many bits per weight that output matrices have.
std::string output_format(double bits, const std::string& body) {
  if (bits >= 15) return body == "BF16" ? "BF16" : "F16";
  if (bits >= 8) return "Q8_0";
  if (bits >= 6) return "Q6_K";
  return bits >= 5 ? "Q5_K" : body;
}

/// What the engine does besides reading weights, as plan/processor_estimate.h wants it. Counting is
/// exact and this is not: operations per layer are those of a plain transformer, and recurrent
/// layers cost what their state does, three times over for a token.
void add_engine_work(const CatalogModel& model, const Parts& parts, const std::string& body,
                     const std::string& output, double output_bytes, Workload& workload) {
  if (body.empty() || workload.active_bytes <= 0) return;
  constexpr double kOperations = 12, kProducts = 4;  // of a layer, for one token
  const CatalogShape& shape = model.shape;
  const KvLayers caching = kv_layers_of(shape);
  const double layers = real(shape.layers), width = real(shape.width);
  const double attending = caching.full + caching.windowed;
  const double heads = real(shape.heads) * real(shape.head_size);
  const double kv = 2 * real(shape.kv_heads) * real(shape.head_size);
  const double hidden =
      parts.experts > 0 ? real(shape.experts_used * shape.expert_width + shape.shared_expert_width)
                        : real(shape.feed_forward);
  const double chosen = parts.experts * parts.share;
  workload.vocabulary = output_bytes > 0 ? real(shape.vocabulary) : 0;
  workload.bytes_by_format[body] += workload.active_bytes - output_bytes;
  workload.multiply_adds_by_format[body] += workload.multiply_adds;
  if (output_bytes > 0) {
    workload.bytes_by_format[output] += output_bytes;
    workload.last_bytes_by_format[output] += output_bytes;
  }
  if (chosen > 0) {
    workload.expert_multiply_adds_by_format[body] = chosen;
    workload.expert_share = parts.share;
  }
  workload.operations = layers * kOperations;
  workload.products = layers * kProducts;
  workload.attentions = attending;
  workload.row_values = layers * (4 * width + hidden) + attending * (heads + kv);
  workload.stored_values = attending * kv;
  workload.attention_values = attending * heads;
  workload.scan_multiply_adds = 3 * workload.state_bytes / sizeof(float);
  workload.kv_read_bytes = workload.kv_bytes_per_token;
  workload.window_read_bytes = workload.window_bytes_per_token;
  workload.state_memory_bytes =
      static_cast<double>(state::kSlotsPerSequence + state::kChatSnapshots) * workload.state_bytes;
  workload.buffer_bytes = spec::kPassRows * sizeof(float) * (4 * width + 2 * hidden + heads + kv) +
                          sizeof(float) * workload.vocabulary;
}

Quantization listed(const CatalogFile& file, const CatalogModel& model, const Uses& uses) {
  Quantization quant{file.quant, static_cast<double>(file.bytes), file.exact, true, 0, 0};
  quant.bits = model.parameters > 0 ? 8 * quant.bytes / model.parameters : 0;
  if (const QuantInfo* info = uses.quant(file.quant)) quant.loss = uses.loss_percent(*info, model);
  return quant;
}

}  // namespace

bool has_kv_numbers(const CatalogModel& model) noexcept {
  const CatalogShape& shape = model.shape;
  return shape.layers > 0 && (shape.kv_bytes_per_token > 0 || shape.latent_size > 0 ||
                              (shape.kv_heads > 0 && shape.head_size > 0));
}

double active_parameters(const CatalogModel& model) noexcept {
  const Parts parts = parts_of(model);
  const double output = parts.tables.output > 0 ? parts.tables.output : parts.tables.embedding;
  const bool embeds = model.role == "embedding" || model.role == "rerank";
  return parts.body + parts.experts * parts.share + (embeds ? 0 : output);
}

std::vector<Quantization> quantizations(const CatalogModel& model, const Uses& uses) {
  std::vector<Quantization> result;
  for (const CatalogFile& file : model.files) {
    if (!model.published_quant.empty() && file.quant != model.published_quant) continue;
    result.push_back(listed(file, model, uses));
  }
  const auto known = [&](const QuantInfo& info) {
    return std::any_of(result.begin(), result.end(), [&](const Quantization& quant) {
      const QuantInfo* same = uses.quant(quant.name);
      return same != nullptr && same->name == info.name;
    });
  };
  for (const QuantInfo& info : uses.quants) {
    const bool offered =
        model.published_quant.empty() ? info.offered : info.name == model.published_quant;
    if (!offered || model.parameters <= 0 || known(info)) continue;
    const double bytes = file_bytes(model, info);
    result.push_back({info.name, bytes, false, false, 8 * bytes / model.parameters,
                      uses.loss_percent(info, model)});
  }
  std::stable_sort(result.begin(), result.end(),
                   [](const Quantization& a, const Quantization& b) { return a.bytes > b.bytes; });
  return result;
}

Workload catalog_workload(const CatalogModel& model, const Quantization& quant, const Uses& uses) {
  Workload workload;
  workload.model = model.name;
  workload.quant = quant.name;
  workload.source = "computed";
  workload.parameters = model.parameters;
  workload.active_parameters = active_parameters(model);
  workload.layers = static_cast<int>(model.shape.layers);
  workload.trained_context = model.context;
  workload.weight_bytes = quant.bytes;

  const Parts parts = parts_of(model);
  workload.mixture = parts.experts > 0;
  const QuantInfo* info = uses.quant(quant.name);
  const double body_bits = info != nullptr ? info->body_bits : std::max(quant.bits, 1.0);
  const double output_bits = info != nullptr ? info->output_bits : body_bits;
  const Tables& tables = parts.tables;
  const bool embeds = model.role == "embedding" || model.role == "rerank";
  const double output = tables.output > 0 ? tables.output : tables.embedding;
  const double looked_up = (tables.output > 0 ? tables.embedding : 0) + tables.per_layer;
  // The bits above, scaled so that all weights together are the bytes of the file.
  const double nominal =
      (parts.body + parts.experts + looked_up) * body_bits + output * output_bits;
  const double scale = nominal > 0 ? quant.bytes / nominal : 0;
  workload.expert_bytes = parts.experts * body_bits * scale;
  workload.active_expert_bytes = workload.expert_bytes * parts.share;
  workload.active_bytes = (parts.body * body_bits + (embeds ? 0 : output * output_bits)) * scale +
                          workload.active_expert_bytes;
  if (model.parameters <= 0) workload.active_bytes = quant.bytes;
  // Of a prompt only the last token needs the output matrix.
  workload.multiply_adds = parts.body + parts.experts * parts.share;
  add_attention(model, workload);
  workload.state_bytes = model.shape.state_bytes;
  workload.recurrent_layers = recurrent_layers(model);
  // Gemma norms before and after every sublayer, and then some.
  if (model.architecture.starts_with("gemma"))
    workload.steps = 1.5 * workload.layers + workload.recurrent_layers;
  const std::string body = body_format(quant.name);
  add_engine_work(model, parts, body, output_format(output_bits, body),
                  embeds ? 0 : output * output_bits * scale, workload);
  return workload;
}

}  // namespace hearth::plan
