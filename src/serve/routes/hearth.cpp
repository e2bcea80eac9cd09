// The page's files, and the OpenAPI document.
#include "serve/page.h"

#include "serve/openapi.h"
#include "serve/service.h"

namespace hearth::serve {
namespace {

void answer_page(const HttpRequest& request, HttpExchange& exchange) {
  const std::string path = request.path();
  // What clients of Ollama ask first, and people with curl; browsers say that they want HTML.
  if (path == "/" && request.header("accept").find("text/html") == std::string_view::npos) {
    return exchange.respond(
        {.status = 200, .content_type = "text/plain; charset=utf-8", .body = "Ollama is running"});
  }
  const PageAnswer answer =
      page_answer(path, request.header("accept-encoding"), request.header("if-none-match"));
  exchange.respond({.status = answer.status,
                    .content_type = std::string(answer.content_type),
                    .body = std::string(answer.body),
                    .headers = answer.headers});
}

}  // namespace

void add_hearth_routes(Router& router, const ServiceParts& parts) {
  router.add({.method = "GET",
              .pattern = "/openapi.json",
              .handler =
                  [&router, &parts](const HttpRequest&, HttpExchange& exchange) {
                    exchange.respond_json(200, openapi_document(router, parts.options.version));
                  },
              .summary = "This document",
              .tag = "Hearth"});
  router.add({.method = "GET",
              .pattern = "/",
              .handler = answer_page,
              .summary = "The page to chat with",
              .tag = "Hearth",
              .produces = {"text/html", "text/plain"},
              .access = Access::kOpen});
  for (const PageFile& file : page_files()) {
    if (file.path == "/") continue;
    router.add({.method = "GET",
                .pattern = std::string(file.path),
                .handler = answer_page,
                .summary = "A file of the page",
                .tag = "Hearth",
                .produces = {std::string(file.content_type)},
                .access = Access::kOpen});
  }
}

}  // namespace hearth::serve
