// PEFT folders: adapter_config.json and adapter_model.safetensors, whose tensors are named after
// the modules of the checkpoint (huggingface.co/docs/peft, "PEFT checkpoint format"). Numbers are
// brought into the order of GGUF files as F32.
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "gguf/safetensors.h"
#include "model/adapter_source.h"
#include "model/convert/config.h"
#include "model/convert/decoder.h"
#include "model/convert/module_names.h"
#include "spec/visit.h"
#include "support/error.h"

namespace hearth::model {
namespace {

using convert::Config;
using convert::ModulePlace;
using gguf::SafeTensor;

constexpr std::int64_t kMaxRank = 1 << 20;

/// The two tensors of one module.
struct Pair {
  const SafeTensor* a = nullptr;
  const SafeTensor* b = nullptr;
  bool embedding = false;
};

/// What the name of a tensor says.
struct TensorName {
  std::string module;
  bool up = false;  // B
  bool embedding = false;
};

/// "base_model.model.MODULE.lora_A.weight"; some files name the adapter before ".weight".
std::optional<TensorName> parse_name(std::string_view name) {
  constexpr std::string_view kPrefix = "base_model.model.";
  if (!name.starts_with(kPrefix)) return {};
  name.remove_prefix(kPrefix.size());
  for (const bool embedding : {false, true}) {
    for (const bool up : {false, true}) {
      const std::string part =
          fmt::format(".lora_{}{}", embedding ? "embedding_" : "", up ? 'B' : 'A');
      const std::size_t at = name.rfind(part);
      if (at == std::string_view::npos) continue;
      const std::string_view rest = name.substr(at + part.size());
      if (rest.empty() || rest == ".weight" || rest == ".default" || rest == ".default.weight")
        return TensorName{std::string(name.substr(0, at)), up, embedding};
    }
  }
  return {};
}

/// Whether a key of alpha_pattern means `module`. Keys are ends of module names; of regular
/// expressions only a leading "^" is known.
bool matches(std::string_view key, std::string_view module) {
  if (key.starts_with('^')) return key.substr(1) == module;
  return module == key || (module.size() > key.size() && module.ends_with(key) &&
                           module[module.size() - key.size() - 1] == '.');
}

class PeftAdapter final : public AdapterSource {
 public:
  PeftAdapter(const std::filesystem::path& folder, const gguf::File& model,
              const spec::ModelSpec& spec)
      : AdapterSource(folder, model, spec), config_(read(folder)) {
    check_config();
    const gguf::SafeTensors tensors = open_tensors(folder);
    tensors_ = &tensors;
    const std::map<std::string, Pair> pairs = collect();
    std::map<std::string, std::map<std::int64_t, std::pair<std::string, Pair>>> stacks;
    for (const auto& [module, pair] : pairs) {
      const ModulePlace place = place_of(module);
      if (place.expert >= 0) {
        stacks[place.tensor].emplace(place.expert, std::pair(module, pair));
      } else if (pair.embedding) {
        add_embedding(module, place, pair);
      } else {
        add_matrix(module, place, pair);
      }
    }
    for (const auto& [tensor, experts] : stacks) add_stack(tensor, experts);
    tensors.check();
    tensors_ = nullptr;
  }

 private:
  static Config read(const std::filesystem::path& folder) {
    const std::filesystem::path path = folder / "adapter_config.json";
    if (!std::filesystem::exists(path)) {
      throw Error(fmt::format("the folder '{}' has no adapter_config.json",
                              printable(folder.string(), 300)),
                  "name a PEFT folder, or a LoRA adapter in GGUF form");
    }
    return convert::read_config(path);
  }
  static gguf::SafeTensors open_tensors(const std::filesystem::path& folder) {
    const std::filesystem::path path = folder / "adapter_model.safetensors";
    if (!std::filesystem::exists(path)) {
      throw Error(fmt::format("the folder '{}' has no adapter_model.safetensors",
                              printable(folder.string(), 300)),
                  "save the adapter as safetensors");
    }
    return gguf::SafeTensors::open(path);
  }

  /// Whether a key asks for something: not absent, null, false or empty.
  [[nodiscard]] bool asks_for(const char* key) const {
    if (!config_.has(key)) return false;
    const convert::Json& value = config_.json().at(key);
    if (value.is_boolean()) return value.get<bool>();
    return !(value.is_array() || value.is_object() || value.is_string()) || !value.empty();
  }

  void check_config() {
    if (config_.string("peft_type", "") != "LORA") config_.fail("peft_type", "is not LORA");
    for (const char* key : {"use_dora", "modules_to_save", "layer_replication", "lora_bias",
                            "trainable_token_indices", "target_parameters", "use_qalora",
                            "alora_invocation_tokens", "megatron_config"}) {
      if (asks_for(key))
        config_.fail(key, "asks for something that is not supported: merge the adapter instead");
    }
    if (config_.string("bias", "none") != "none")
      config_.fail("bias", "is not 'none': changed biases are not supported");
    rank_ = config_.integer("r");
    alpha_ = config_.number("lora_alpha");
    root_ = config_.boolean("use_rslora", false);
    if (rank_ < 1 || rank_ > kMaxRank) config_.fail("r", "is out of range");
    read_pattern("rank_pattern", ranks_);
    read_pattern("alpha_pattern", alphas_);
    if (!convert::knows_modules(spec().architecture)) {
      fail(fmt::format("is a PEFT folder, which models of architecture '{}' cannot use",
                       spec().architecture),
           "convert the adapter to GGUF");
    }
  }

  using Pattern = std::vector<std::pair<std::string, double>>;
  void read_pattern(const char* key, Pattern& pattern) const {
    const Config object = config_.object(key);
    for (const auto& item : object.json().items()) {
      if (item.key().find_first_of("*+?()[]{}|\\$") != std::string::npos)
        config_.fail(key, "has regular expressions, which are not supported");
      pattern.emplace_back(item.key(), object.number(item.key()));
    }
  }
  static double value_of(const Pattern& pattern, std::string_view module, double otherwise) {
    for (const auto& [key, value] : pattern) {
      if (matches(key, module)) return value;
    }
    return otherwise;
  }

  [[nodiscard]] std::map<std::string, Pair> collect() const {
    std::map<std::string, Pair> pairs;
    for (const SafeTensor& tensor : tensors_->tensors()) {
      const std::optional<TensorName> name = parse_name(tensor.name);
      if (!name) {
        if (is_unchanged_table(tensor)) continue;
        fail(fmt::format("has a tensor '{}', which is not supported", printable(tensor.name)),
             "merge the adapter into the model instead");
      }
      if (tensor.shape.size() != 2) {
        fail(fmt::format("has a tensor '{}' that is no matrix", printable(tensor.name)),
             "merge the adapter into the model instead");
      }
      Pair& pair = pairs[name->module];
      pair.embedding = name->embedding;
      (name->up ? pair.b : pair.a) = &tensor;
    }
    for (const auto& [module, pair] : pairs) {
      if (pair.a == nullptr || pair.b == nullptr)
        fail(fmt::format("has only one of the two matrices of '{}'", printable(module)),
             "fetch it again");
      check_rank(module, pair);
    }
    return pairs;
  }

  /// PEFT saves the embedding table of the model beside its change.
  [[nodiscard]] bool is_unchanged_table(const SafeTensor& tensor) const {
    return tensor.name.ends_with("embed_tokens.base_layer.weight") &&
           tensor.shape == std::vector<std::int64_t>{spec().vocabulary, spec().width};
  }

  void check_rank(const std::string& module, const Pair& pair) const {
    const double rank = value_of(ranks_, module, static_cast<double>(rank_));
    for (const std::int64_t size : {pair.a->shape[0], pair.b->shape[1]}) {
      if (static_cast<double>(size) != rank) {
        fail(fmt::format("has a matrix of rank {} for '{}', but its configuration says {}", size,
                         printable(module), rank),
             "fetch both from the same place");
      }
    }
  }

  [[nodiscard]] ModulePlace place_of(const std::string& module) const {
    std::optional<ModulePlace> place = convert::find_module(spec().architecture, module);
    if (!place) {
      fail(fmt::format("changes the module '{}', which models of architecture '{}' do not have, or "
                       "not in a form that can be changed",
                       printable(module), spec().architecture),
           "merge it into the model instead");
    }
    return *place;
  }

  [[nodiscard]] double alpha_of(const std::string& module) const {
    const double alpha = value_of(alphas_, module, alpha_);
    if (alpha == 0) config_.fail("lora_alpha", "is 0: the adapter would change nothing");
    return alpha;
  }

  /// The values of a tensor as they are, into `out`.
  void copy(const SafeTensor& tensor, std::span<float> out) const {
    tensors_->read(tensor, 0, out);
  }
  [[nodiscard]] Factor loaded(const SafeTensor& tensor) {
    const std::span<float> values = make_floats(static_cast<std::size_t>(tensor.elements()));
    copy(tensor, values);
    return {tensor::DType::kF32, tensor.shape[0], tensor.shape[1], 1, std::as_bytes(values)};
  }

  /// Heads of the projection to queries or keys called `name`.
  [[nodiscard]] std::int64_t heads_of(const std::string& name) const {
    std::int64_t heads = 0;
    spec::for_each_body(spec(), [&](const spec::Stack&, std::size_t, const spec::Body& body) {
      const auto* attention = std::get_if<spec::Attention>(&body);
      if (attention == nullptr) return;
      if (attention->q.weight == name) heads = attention->heads;
      if (attention->k.weight == name) heads = attention->kv_heads;
    });
    return heads;
  }

  void add_matrix(const std::string& module, const ModulePlace& place, const Pair& pair) {
    const std::int64_t heads = place.rope_order ? heads_of(place.tensor) : 0;
    const std::int64_t rows = pair.b->shape[0];
    // Rows that are no whole heads do not fit the model anyhow, which add() says.
    const bool turned = heads > 0 && rows % (2 * heads) == 0;
    const Factor b = turned ? in_rope_order(*pair.b, rows / heads) : loaded(*pair.b);
    add(place.tensor, loaded(*pair.a), b, alpha_of(module), root_);
  }

  [[nodiscard]] Factor in_rope_order(const SafeTensor& tensor, std::int64_t head_size) {
    const std::int64_t rows = tensor.shape[0], columns = tensor.shape[1];
    const std::span<float> values = make_floats(static_cast<std::size_t>(rows * columns));
    for (std::int64_t row = 0; row < rows; ++row) {
      tensors_->read(tensor, convert::rope_source_row(row, head_size) * columns,
                     values.subspan(static_cast<std::size_t>(row * columns),
                                    static_cast<std::size_t>(columns)));
    }
    return {tensor::DType::kF32, rows, columns, 1, std::as_bytes(values)};
  }

  /// A is [rank, vocabulary] in PEFT, and a table of tokens here.
  void add_embedding(const std::string& module, const ModulePlace& place, const Pair& pair) {
    const auto rank = static_cast<std::size_t>(pair.a->shape[0]);
    const auto tokens = static_cast<std::size_t>(pair.a->shape[1]);
    const std::span<float> table = make_floats(rank * tokens);
    std::vector<float> row(tokens);
    for (std::size_t r = 0; r < rank; ++r) {
      tensors_->read(*pair.a, static_cast<std::int64_t>(r * tokens), row);
      for (std::size_t t = 0; t < tokens; ++t) table[t * rank + r] = row[t];
    }
    const Factor a{tensor::DType::kF32, pair.a->shape[1], pair.a->shape[0], 1,
                   std::as_bytes(table)};
    add(place.tensor, a, loaded(*pair.b), alpha_of(module), root_);
  }

  /// The experts of one stack; those without a change get zeros.
  void add_stack(const std::string& tensor,
                 const std::map<std::int64_t, std::pair<std::string, Pair>>& experts) {
    const gguf::TensorInfo* base = model().find_tensor(tensor);
    const std::int64_t count = base == nullptr ? 0 : base->shape[2];
    const auto& [first_module, first] = experts.begin()->second;
    if (experts.rbegin()->first >= count) {
      fail(fmt::format("changes '{}', which this model does not have",
                       printable(experts.rbegin()->second.first)),
           "use an adapter that was made for this model");
    }
    const auto stack = [&](const SafeTensor* Pair::*side) {
      const SafeTensor& like = *(first.*side);
      const auto size = static_cast<std::size_t>(like.elements());
      const std::span<float> all = make_floats(size * static_cast<std::size_t>(count));
      std::fill(all.begin(), all.end(), 0.0F);
      for (const auto& [expert, entry] : experts) {
        if ((entry.second.*side)->shape != like.shape ||
            alpha_of(entry.first) != alpha_of(first_module)) {
          fail(fmt::format("changes experts of '{}' by different ranks or alphas",
                           printable(tensor)),
               "merge it into the model instead");
        }
        copy(*(entry.second.*side), all.subspan(static_cast<std::size_t>(expert) * size, size));
      }
      return Factor{tensor::DType::kF32, like.shape[0], like.shape[1], count, std::as_bytes(all)};
    };
    add(tensor, stack(&Pair::a), stack(&Pair::b), alpha_of(first_module), root_);
  }

  Config config_;
  std::int64_t rank_ = 0;
  double alpha_ = 0;
  bool root_ = false;
  Pattern ranks_, alphas_;
  const gguf::SafeTensors* tensors_ = nullptr;  // while reading
};

}  // namespace

std::unique_ptr<AdapterSource> open_peft_adapter(const std::filesystem::path& folder,
                                                 const gguf::File& model,
                                                 const spec::ModelSpec& spec) {
  return std::make_unique<PeftAdapter>(folder, model, spec);
}

}  // namespace hearth::model
