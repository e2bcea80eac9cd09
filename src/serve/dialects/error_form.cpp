#include <algorithm>
#include <array>

#include "serve/dialects/exchange.h"
#include "serve/dialects/json_body.h"

namespace hearth::serve {
namespace {

std::string_view openai_type(int status) {
  switch (status) {
    case 401:
      return "authentication_error";
    case 403:
      return "permission_error";
    case 404:
      return "not_found_error";
    case 429:
      return "rate_limit_error";
    default:
      return status >= 500 ? "server_error" : "invalid_request_error";
  }
}

std::string_view anthropic_type(int status) {
  switch (status) {
    case 401:
      return "authentication_error";
    case 403:
      return "permission_error";
    case 404:
      return "not_found_error";
    case 413:
      return "request_too_large";
    case 429:
      return "rate_limit_error";
    case 503:
    case 529:
      return "overloaded_error";
    default:
      return status >= 500 ? "api_error" : "invalid_request_error";
  }
}

std::string_view llama_type(const RequestError& error) {
  if (error.code == kContextLengthExceeded) return "exceed_context_size_error";
  if (error.status == 501) return "not_supported_error";
  if (error.status == 503) return "unavailable_error";
  return openai_type(error.status);
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
      Json body = {{"type", "error"},
                   {"error", {{"type", anthropic_type(error.status)}, {"message", error.message}}}};
      if (!details.request_id.empty()) body["request_id"] = details.request_id;
      return to_line(body);
    }
    case Dialect::kLlamaServer: {
      Json body = {{"code", error.status}, {"message", error.message}, {"type", llama_type(error)}};
      if (!error.parameter.empty()) body["param"] = error.parameter;
      if (details.context != 0) {
        body["n_prompt_tokens"] = details.prompt_tokens;
        body["n_ctx"] = details.context;
      }
      return to_line({{"error", std::move(body)}});
    }
    case Dialect::kOpenAi:
      break;
  }
  Json body = {{"message", error.message},
               {"type", openai_type(error.status)},
               {"param", or_null(error.parameter)},
               {"code", or_null(error.code)}};
  if (details.context != 0) {
    body["n_prompt_tokens"] = details.prompt_tokens;
    body["n_ctx"] = details.context;
  }
  return to_line({{"error", std::move(body)}});
}

}  // namespace hearth::serve
