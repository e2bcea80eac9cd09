// /v1/models in OpenAI's form, with llama-server's "meta".
#include "serve/dialects/json_body.h"
#include "serve/dialects/openai.h"

namespace hearth::serve {
namespace {

Json openai_model_object(const ModelFacts& model) {
  Json meta = Json::object();
  const auto add = [&meta](const char* name, auto value) {
    if (value != 0) meta[name] = value;
  };
  add("n_vocab", model.vocabulary);
  add("n_ctx", model.serve_context);
  add("n_ctx_train", model.context);
  add("n_embd", model.embedding);
  add("n_params", model.parameters);
  add("size", model.size);
  return {{"id", model.name},
          {"object", "model"},
          {"created", model.modified},
          {"owned_by", "hearth"},
          {"meta", std::move(meta)}};
}

}  // namespace

std::string openai_models(std::span<const ModelFacts> models) {
  Json data = Json::array();
  for (const ModelFacts& model : models) data.push_back(openai_model_object(model));
  return to_line({{"object", "list"}, {"data", std::move(data)}});
}

std::string openai_model(const ModelFacts& model) { return to_line(openai_model_object(model)); }

std::string openai_input_tokens(std::int64_t tokens) {
  return to_line({{"object", "response.input_tokens"}, {"input_tokens", tokens}});
}

}  // namespace hearth::serve
