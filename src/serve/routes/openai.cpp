// OpenAI's routes.
#include "serve/dialects/openai.h"

#include "serve/dialects/anthropic.h"
#include "serve/embeddings.h"
#include "serve/facts_cache.h"
#include "serve/request_failure.h"
#include "serve/service.h"

namespace hearth::serve {
namespace {

const std::vector<std::string> kOpenAiTypes = {"application/json", "text/event-stream"};

void add_models(RouteGroup& routes, const ServiceParts& parts) {
  // Anthropic's clients ask at the same place, and say who they are.
  const Handler list = [&parts](const HttpRequest& request, HttpExchange& exchange) {
    const bool anthropic = !request.header("anthropic-version").empty();
    const std::vector<ModelFacts> all = parts.facts.all();
    exchange.respond_json(200, anthropic ? anthropic_models(all) : openai_models(all));
  };
  routes.add("GET", "/v1/models", "The models that can be used", list);
  routes.add("GET", "/models", "The same", list);
  routes.add("GET", "/v1/models/{model...}", "One model",
             [&parts](const HttpRequest& request, HttpExchange& exchange) {
               const AvailableModel model = parts.models.available(request.capture("model"));
               const ModelFacts facts = parts.facts.facts(model);
               const bool anthropic = !request.header("anthropic-version").empty();
               exchange.respond_json(200, anthropic ? anthropic_model(facts) : openai_model(facts));
             });
}

/// A route that generates, streamed or not.
void add_openai_generating(RouteGroup& routes, const char* pattern, const char* summary,
                           Handler handler, const char* schema) {
  Route& route = routes.add("POST", pattern, summary, std::move(handler));
  route.body_schema = schema;
  route.produces = kOpenAiTypes;
}

/// The same body as that of a route that generates; the answer is how long its prompt is.
void add_counting(RouteGroup& routes, const ServiceParts& parts, const char* pattern,
                  ChatExchange (*read)(std::string_view), const char* schema) {
  routes
      .add("POST", pattern, "How many tokens a conversation has",
           [&parts, read](const HttpRequest& request, HttpExchange& exchange) {
             const ChatExchange chat = read(request.body);
             const ChatTokens prompt =
                 parts.runner.prompt_of(chat.request, patience(request.deadline, exchange));
             exchange.respond_json(200, openai_input_tokens(prompt.count()));
           })
      .body_schema = schema;
}

}  // namespace

void add_openai_routes(Router& router, const ServiceParts& parts) {
  RouteGroup routes(router, "OpenAI");
  const Handler chat = [&parts](const HttpRequest& request, HttpExchange& exchange) {
    answer_chat(parts, request, read_openai_chat(request.body), exchange);
  };
  constexpr const char* kChatSchema = "CreateChatCompletionRequest";
  for (const char* path : {"/v1/chat/completions", "/chat/completions"})
    add_openai_generating(routes, path, "Answer a conversation", chat, kChatSchema);
  add_openai_generating(
      routes, "/v1/completions", "Go on with a text",
      [&parts](const HttpRequest& request, HttpExchange& exchange) {
        answer_completion(parts, request, read_openai_completion(request.body), exchange);
      },
      "CreateCompletionRequest");
  add_openai_generating(
      routes, "/v1/responses", "Answer a conversation",
      [&parts](const HttpRequest& request, HttpExchange& exchange) {
        answer_chat(parts, request, read_openai_responses(request.body), exchange);
      },
      "");
  routes
      .add("POST", "/v1/embeddings", "Vectors of texts",
           [&parts](const HttpRequest& request, HttpExchange& exchange) {
             const EmbeddingRequest wanted = read_openai_embeddings(request.body);
             const EmbeddingReply reply =
                 embed(parts.models, wanted, patience(request.deadline, exchange));
             exchange.respond_json(
                 200, openai_embeddings(wanted, reply.model, reply.vectors, reply.usage));
           })
      .body_schema = "CreateEmbeddingRequest";
  add_counting(routes, parts, "/v1/chat/completions/input_tokens", read_openai_chat, kChatSchema);
  add_counting(routes, parts, "/v1/responses/input_tokens", read_openai_responses,
               "CreateResponseRequest");
  add_models(routes, parts);
}

}  // namespace hearth::serve
