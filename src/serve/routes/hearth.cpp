// The page's files.
#include "serve/service.h"

namespace hearth::serve {

void add_hearth_routes(Router& router, const ServiceParts&) {
  router.add({.method = "GET",
              .pattern = "/",
              .handler =
                  [](const HttpRequest&, HttpExchange& exchange) {
                    exchange.respond({.status = 200,
                                      .content_type = "text/plain; charset=utf-8",
                                      .body = "Ollama is running"});
                  },
              .summary = "The page to chat with",
              .tag = "Hearth",
              .produces = {"text/html", "text/plain"},
              .access = Access::kOpen});
}

}  // namespace hearth::serve
