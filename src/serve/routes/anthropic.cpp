// Anthropic's routes. /v1/models is shared with OpenAI (routes/openai.cpp).
#include "serve/dialects/anthropic.h"

#include "serve/service.h"

namespace hearth::serve {

void add_anthropic_routes(Router& router, const ServiceParts& parts) {
  router.add({.method = "POST",
              .pattern = "/v1/messages",
              .handler =
                  [&parts](const HttpRequest& request, HttpExchange& exchange) {
                    answer_chat(parts, request, read_anthropic_messages(request.body), exchange);
                  },
              .summary = "Answer a conversation",
              .tag = "Anthropic",
              .produces = {"application/json", "text/event-stream"}});
  router.add({.method = "POST",
              .pattern = "/v1/messages/count_tokens",
              .handler =
                  [&parts](const HttpRequest& request, HttpExchange& exchange) {
                    const ChatRequest chat = read_anthropic_count(request.body);
                    exchange.respond_json(200, anthropic_count(parts.runner.count_tokens(chat)));
                  },
              .summary = "How many tokens a conversation has",
              .tag = "Anthropic"});
}

}  // namespace hearth::serve
