#include <algorithm>
#include <array>

#include "serve/dialects/exchange.h"
#include "serve/dialects/json_body.h"

namespace hearth::serve {
namespace {

/// What a status is called. 0: all others that are the client's fault; 500: the server's.
struct ErrorTypes {
  int status;
  std::string_view openai, anthropic;
};

constexpr ErrorTypes kTypes[] = {
    {401, "authentication_error", "authentication_error"},
    {403, "permission_error", "permission_error"},
    {404, "not_found_error", "not_found_error"},
    {413, "invalid_request_error", "request_too_large"},
    {429, "rate_limit_error", "rate_limit_error"},
    {503, "server_error", "overloaded_error"},
    {504, "server_error", "timeout_error"},
    {529, "server_error", "overloaded_error"},
};

ErrorTypes types_of(int status) {
  for (const ErrorTypes& each : kTypes) {
    if (each.status == status) return each;
  }
  if (status >= 500) return {500, "server_error", "api_error"};
  return {0, "invalid_request_error", "invalid_request_error"};
}

std::string_view llama_type(const RequestError& error) {
  if (error.code == kContextLengthExceeded) return "exceed_context_size_error";
  if (error.status == 501) return "not_supported_error";
  if (error.status == 503) return "unavailable_error";
  return types_of(error.status).openai;
}

/// The numbers of a prompt that does not fit.
void add_overflow(Json& body, const ErrorDetails& details) {
  if (details.context == 0) return;
  body["n_prompt_tokens"] = details.prompt_tokens;
  body["n_ctx"] = details.context;
}

Json or_null(const std::string& text) { return text.empty() ? Json() : Json(text); }

}  // namespace

Dialect dialect_of(std::string_view path, bool anthropic_version) {
  path = path.substr(0, path.find('?'));
  const auto below = [path](std::string_view prefix) {
    return path == prefix || (path.starts_with(prefix) && path[prefix.size()] == '/');
  };
  if (below("/api")) return Dialect::kOllama;
  if (below("/v1/messages")) return Dialect::kAnthropic;
  if (below("/v1/models") && anthropic_version) return Dialect::kAnthropic;
  constexpr std::array<std::string_view, 17> kLlamaServer = {
      "/completion", "/completions", "/props",      "/slots",     "/tokenize",      "/detokenize",
      "/infill",     "/rerank",      "/reranking",  "/v1/rerank", "/v1/reranking",  "/health",
      "/v1/health",  "/embedding",   "/embeddings", "/metrics",   "/apply-template"};
  if (std::any_of(kLlamaServer.begin(), kLlamaServer.end(), below) || below("/lora-adapters")) {
    return Dialect::kLlamaServer;
  }
  return Dialect::kOpenAi;
}

int error_status(Dialect dialect, int status) {
  return dialect == Dialect::kAnthropic && status == 503 ? 529 : status;
}

std::string error_body(Dialect dialect, const RequestError& error, const ErrorDetails& details) {
  switch (dialect) {
    case Dialect::kOllama:
      return to_line({{"error", error.message}});
    case Dialect::kAnthropic: {
      Json body = {
          {"type", "error"},
          {"error", {{"type", types_of(error.status).anthropic}, {"message", error.message}}}};
      if (!details.request_id.empty()) body["request_id"] = details.request_id;
      return to_line(body);
    }
    case Dialect::kLlamaServer: {
      Json body = {{"code", error.status}, {"message", error.message}, {"type", llama_type(error)}};
      if (!error.parameter.empty()) body["param"] = error.parameter;
      add_overflow(body, details);
      return to_line({{"error", std::move(body)}});
    }
    case Dialect::kOpenAi:
      break;
  }
  Json body = {{"message", error.message},
               {"type", types_of(error.status).openai},
               {"param", or_null(error.parameter)},
               {"code", or_null(error.code)}};
  add_overflow(body, details);
  return to_line({{"error", std::move(body)}});
}

}  // namespace hearth::serve
