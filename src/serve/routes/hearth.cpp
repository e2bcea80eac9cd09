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
  RouteGroup routes(router, "Hearth");
  routes.add("GET", "/openapi.json", "This document",
             [&router, &parts](const HttpRequest&, HttpExchange& exchange) {
               exchange.respond_json(200, openapi_document(router, parts.options.version));
             });
  const auto add_open = [&](std::string_view path, std::string_view summary,
                            std::vector<std::string> produces) {
    Route& route = routes.add("GET", path, summary, answer_page);
    route.produces = std::move(produces);
    route.access = Access::kOpen;
  };
  add_open("/", "The page to chat with", {"text/html", "text/plain"});
  for (const PageFile& file : page_files()) {
    if (file.path != "/")
      add_open(file.path, "A file of the page", {std::string(file.content_type)});
  }
}

}  // namespace hearth::serve
