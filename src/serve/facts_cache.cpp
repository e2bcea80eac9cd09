#include "serve/facts_cache.h"

#include <fmt/format.h>

#include <ctime>

#include "gguf/file.h"
#include "hub/sha256.h"
#include "measure/model_identity.h"
#include "model/families/registry.h"
#include "serve/dialects/json_body.h"
#include "serve/dialects/ollama.h"
#include "support/error.h"
#include "support/utf8.h"
#include "text/chat_format.h"
#include "text/chat_template.h"

namespace hearth::serve {
namespace {

/// Longer arrays of the metadata (vocabularies) are only told when all of them are asked for.
constexpr std::size_t kLongArray = 64;

Json to_json(const gguf::Value& value, bool verbose) {
  if (const auto* text = std::get_if<std::string_view>(&value.data)) return to_valid_utf8(*text);
  const auto* array = std::get_if<gguf::Array>(&value.data);
  if (array == nullptr) {
    Json json;
    std::visit(
        [&](const auto& number) {
          if constexpr (std::is_arithmetic_v<std::decay_t<decltype(number)>>) json = number;
        },
        value.data);
    return json;
  }
  if (array->size > kLongArray && !verbose) return nullptr;
  Json json = Json::array();
  std::visit(
      [&](const auto& elements) {
        for (const auto& element : elements) {
          if constexpr (std::is_same_v<std::decay_t<decltype(element)>, std::string_view>) {
            json.push_back(to_valid_utf8(element));
          } else {
            json.push_back(element);
          }
        }
      },
      array->elements);
  return json;
}

bool fills_in(const gguf::Metadata& metadata) {
  return metadata.contains("tokenizer.ggml.fim_pre_token_id") ||
         metadata.contains("tokenizer.ggml.prefix_token_id");
}

std::vector<std::string> capabilities_of(const gguf::Metadata& metadata,
                                         const spec::ModelSpec& spec) {
  switch (kind_of(metadata, spec)) {
    case ModelKind::kEmbeds:
      return {"embedding"};
    case ModelKind::kReranks:
      return {"rerank"};
    case ModelKind::kGenerates:
      break;
  }
  std::vector<std::string> all = {"completion"};
  if (const auto source = text::find_chat_template(metadata, /*with_tools=*/true)) {
    const text::ChatFormat format = text::detect_chat_format(*source);
    all.emplace_back("chat");
    all.emplace_back("tools");
    if (text::can_think(format)) all.emplace_back("thinking");
  }
  if (fills_in(metadata)) all.emplace_back("insert");
  return all;
}

ModelFacts read_facts(const AvailableModel& model) {
  ModelFacts facts;
  facts.name = model.name;
  facts.modified = model.modified;
  facts.size = model.bytes;
  // Ollama's clients take a digest for granted. Where nobody has hashed the bytes, which takes
  // seconds per gigabyte, it is that of what the file is known by.
  facts.sha256 = !model.digest.empty()
                     ? model.digest
                     : hub::sha256_of(fmt::format("{}\n{}\n{}", model.path.string(), model.bytes,
                                                  model.modified));
  facts.quantization = model.quant;
  try {
    const gguf::File file = gguf::File::open(model.path);
    const spec::ModelSpec spec = model::describe_model(file, {});
    facts.family = spec.architecture;
    facts.context = spec.context_length;
    facts.embedding = spec.width;
    facts.vocabulary = spec.vocabulary;
    for (const gguf::TensorInfo& tensor : file.tensors())
      facts.parameters += static_cast<std::uint64_t>(tensor.elements());
    if (facts.quantization.empty()) facts.quantization = measure::main_type(file);
    facts.capabilities = capabilities_of(file.metadata(), spec);
  } catch (const Error&) {
    // It is listed with what is known; using it says what is wrong.
  }
  return facts;
}

void add_extras(const ModelExtras& extras, ModelDetails& details) {
  const ModelDefaults defaults = read_extras(extras);
  details.license = to_valid_utf8(extras.license);
  details.chat_template = to_valid_utf8(extras.chat_template);
  details.system = defaults.system;
  if (!defaults.messages.empty()) details.messages = parse_json(extras.messages);
  for (const std::filesystem::path& adapter : extras.adapters)
    details.adapters.push_back(adapter.string());
  details.parameters = ollama_parameter_lines(extras.parameters);
}

std::string text_of(const gguf::Metadata& metadata, std::string_view key) {
  return to_valid_utf8(metadata.get_string(key).value_or(std::string_view()));
}

}  // namespace

ModelFacts FactsCache::facts(const AvailableModel& model) {
  const std::lock_guard lock(mutex_);
  const auto found = known_.find(model.path);
  ModelFacts facts;
  if (found != known_.end() && found->second.modified == model.modified &&
      found->second.bytes == model.bytes) {
    facts = found->second.facts;
  } else {
    facts = read_facts(model);
    known_[model.path] = {model.modified, model.bytes, facts};
  }
  facts.name = model.name;
  for (const LoadedFacts& each : models_.loaded()) {
    if (each.path == model.path && each.model) facts.serve_context = each.model->context();
  }
  return facts;
}

std::vector<ModelFacts> FactsCache::all() {
  std::vector<ModelFacts> all;
  for (const AvailableModel& model : models_.directory().list()) all.push_back(facts(model));
  return all;
}

std::vector<LoadedModelFacts> FactsCache::loaded() {
  std::vector<LoadedModelFacts> all;
  for (const LoadedFacts& each : models_.loaded()) {
    const std::optional<AvailableModel> model = models_.directory().find(each.name);
    if (!each.model || !model) continue;
    LoadedModelFacts facts{.model = this->facts(*model),
                           .memory = each.model->model().memory().total(),
                           .device_memory = 0,
                           .expires = std::nullopt};
    if (each.expires_in) {
      facts.expires = static_cast<std::int64_t>(std::time(nullptr)) +
                      static_cast<std::int64_t>(*each.expires_in);
    }
    all.push_back(std::move(facts));
  }
  return all;
}

ModelDetails FactsCache::details(const AvailableModel& model, bool verbose) {
  ModelDetails details;
  details.facts = facts(model);
  details.source = model.path.string();
  const gguf::File file = gguf::File::open(model.path);
  const gguf::Metadata& metadata = file.metadata();
  add_extras(model.extras, details);
  if (details.license.empty()) details.license = text_of(metadata, "general.license");
  if (details.chat_template.empty()) {
    details.chat_template =
        to_valid_utf8(text::find_chat_template(metadata, /*with_tools=*/false).value_or(""));
  }
  for (const gguf::KeyValue& entry : metadata.entries())
    details.metadata[to_valid_utf8(entry.key)] = to_json(entry.value, verbose);
  if (!verbose) return details;
  details.tensors = Json::array();
  for (const gguf::TensorInfo& tensor : file.tensors()) {
    Json shape = Json::array();
    for (std::uint32_t i = 0; i < tensor.dimensions; ++i) shape.push_back(tensor.shape[i]);
    details.tensors.push_back({{"name", to_valid_utf8(tensor.name)},
                               {"type", std::string(tensor::name(tensor.dtype))},
                               {"shape", std::move(shape)}});
  }
  return details;
}

}  // namespace hearth::serve
