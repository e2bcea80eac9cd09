// OpenAI's routes.
#include "serve/dialects/openai.h"

#include "serve/dialects/anthropic.h"
#include "serve/embeddings.h"
#include "serve/facts_cache.h"
#include "serve/request_failure.h"
#include "serve/service.h"

namespace hearth::serve {
namespace {

const std::vector<std::string> kStreamed = {"application/json", "text/event-stream"};

Route route(const char* method, const char* pattern, const char* summary, Handler handler,
            const char* schema = "") {
  return {.method = method,
          .pattern = pattern,
          .handler = std::move(handler),
          .summary = summary,
          .tag = "OpenAI",
          .body_schema = schema};
}

void add_models(Router& router, const ServiceParts& parts) {
  // Anthropic's clients ask at the same place, and say who they are.
  const Handler list = [&parts](const HttpRequest& request, HttpExchange& exchange) {
    const bool anthropic = !request.header("anthropic-version").empty();
    const std::vector<ModelFacts> all = parts.facts.all();
    exchange.respond_json(200, anthropic ? anthropic_models(all) : openai_models(all));
  };
  router.add(route("GET", "/v1/models", "The models that can be used", list));
  router.add(route("GET", "/models", "The same", list));
  router.add(route("GET", "/v1/models/{model...}", "One model",
                   [&parts](const HttpRequest& request, HttpExchange& exchange) {
                     const AvailableModel model = parts.models.available(request.capture("model"));
                     const ModelFacts facts = parts.facts.facts(model);
                     const bool anthropic = !request.header("anthropic-version").empty();
                     exchange.respond_json(
                         200, anthropic ? anthropic_model(facts) : openai_model(facts));
                   }));
}

}  // namespace

void add_openai_routes(Router& router, const ServiceParts& parts) {
  const Handler chat = [&parts](const HttpRequest& request, HttpExchange& exchange) {
    answer_chat(parts, request, read_openai_chat(request.body), exchange);
  };
  const Handler completion = [&parts](const HttpRequest& request, HttpExchange& exchange) {
    answer_completion(parts, request, read_openai_completion(request.body), exchange);
  };
  const Handler embeddings = [&parts](const HttpRequest& request, HttpExchange& exchange) {
    const EmbeddingRequest wanted = read_openai_embeddings(request.body);
    const EmbeddingReply reply = embed(parts.models, wanted, [&] { return exchange.gone(); });
    exchange.respond_json(200, openai_embeddings(wanted, reply.model, reply.vectors, reply.usage));
  };
  for (const char* prefix : {"/v1", ""}) {
    const std::string base = prefix;
    Route chat_route = route("POST", (base + "/chat/completions").c_str(), "Answer a conversation",
                             chat, "CreateChatCompletionRequest");
    chat_route.produces = kStreamed;
    router.add(std::move(chat_route));
  }
  Route completions =
      route("POST", "/v1/completions", "Go on with a text", completion, "CreateCompletionRequest");
  completions.produces = kStreamed;
  router.add(std::move(completions));
  router.add(
      route("POST", "/v1/embeddings", "Vectors of texts", embeddings, "CreateEmbeddingRequest"));
  router.add(route(
      "POST", "/v1/chat/completions/input_tokens", "How many tokens a conversation has",
      [&parts](const HttpRequest& request, HttpExchange& exchange) {
        const ChatExchange chat_exchange = read_openai_chat(request.body);
        exchange.respond_json(
            200, openai_input_tokens(parts.runner.count_tokens(chat_exchange.request)));
      },
      "CreateChatCompletionRequest"));
  const Handler responses = [&parts](const HttpRequest& request, HttpExchange& exchange) {
    answer_chat(parts, request, read_openai_responses(request.body), exchange);
  };
  Route responses_route = route("POST", "/v1/responses", "Answer a conversation", responses);
  responses_route.produces = kStreamed;
  router.add(std::move(responses_route));
  router.add(route(
      "POST", "/v1/responses/input_tokens", "How many tokens a conversation has",
      [&parts](const HttpRequest& request, HttpExchange& exchange) {
        const ChatExchange chat_exchange = read_openai_responses(request.body);
        exchange.respond_json(
            200, openai_input_tokens(parts.runner.count_tokens(chat_exchange.request)));
      },
      "CreateResponseRequest"));
  add_models(router, parts);
}

}  // namespace hearth::serve
