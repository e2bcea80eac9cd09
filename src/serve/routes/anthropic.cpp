// Anthropic's routes. /v1/models is shared with OpenAI (routes/openai.cpp).
#include "serve/dialects/anthropic.h"

#include "serve/service.h"

namespace hearth::serve {

void add_anthropic_routes(Router& router, const ServiceParts& parts) {
  RouteGroup routes(router, "Anthropic");
  routes
      .add("POST", "/v1/messages", "Answer a conversation",
           [&parts](const HttpRequest& request, HttpExchange& exchange) {
             answer_chat(parts, request, read_anthropic_messages(request.body), exchange);
           })
      .produces = {"application/json", "text/event-stream"};
  routes.add("POST", "/v1/messages/count_tokens", "How many tokens a conversation has",
             [&parts](const HttpRequest& request, HttpExchange& exchange) {
               const ChatRequest chat = read_anthropic_count(request.body);
               const ChatTokens prompt =
                   parts.runner.prompt_of(chat, patience(request.deadline, exchange));
               exchange.respond_json(200, anthropic_count(prompt.count()));
             });
}

}  // namespace hearth::serve
