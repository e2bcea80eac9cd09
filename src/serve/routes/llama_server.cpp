// What llama-server has besides: health, metrics, tokens, slots.
#include "serve/service.h"

#include <algorithm>

#include "serve/request_failure.h"

namespace hearth::serve {

void add_llama_server_routes(Router& router, const ServiceParts& parts) {
  const Handler health = [&parts](const HttpRequest&, HttpExchange& exchange) {
    const std::vector<LoadedFacts> models = parts.models.loaded();
    const bool loading = !models.empty() && std::all_of(models.begin(), models.end(),
                                                        [](const auto& m) { return m.loading; });
    if (loading) throw RequestFailure(503, "Loading model", "unavailable_error");
    exchange.respond_json(200, R"({"status":"ok"})");
  };
  for (const char* path : {"/health", "/v1/health"}) {
    router.add({.method = "GET",
                .pattern = path,
                .handler = health,
                .summary = "Whether the server is ready",
                .tag = "llama-server",
                .access = Access::kOpen});
  }
  router.add({.method = "GET",
              .pattern = "/metrics",
              .handler =
                  [&parts](const HttpRequest&, HttpExchange& exchange) {
                    exchange.respond(
                        {.status = 200,
                         .content_type = "text/plain; version=0.0.4; charset=utf-8",
                         .body = parts.metrics.text(parts.models.loaded(), parts.http())});
                  },
              .summary = "Counters and gauges in Prometheus' format",
              .tag = "llama-server",
              .produces = {"text/plain"}});
}

}  // namespace hearth::serve
