// The server's application: checks who asks, finds the route, answers errors in the dialect of the
// path, counts and logs.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "serve/dialects/exchange.h"
#include "serve/http/server.h"
#include "serve/metrics.h"
#include "serve/models.h"
#include "serve/router.h"
#include "serve/runner.h"
#include "serve/security.h"

namespace hearth::serve {

class PageApi;
class FactsCache;
class Library;

struct ServiceOptions {
  SecurityOptions security;
  RunnerOptions runner;
  std::string version;
  /// Takes one line per request, and what goes wrong. Any thread.
  std::function<void(std::string_view)> log = [](std::string_view) {};
  bool log_prompts = false;  ///< bodies of requests, too
  /// How long a request may take, from its head to the end of the answer. Nothing: as long as it
  /// takes. The header X-Request-Timeout (in seconds) may ask for less.
  std::optional<std::chrono::duration<double>> deadline = {};
};

/// What routes work with. All of it outlives them.
struct ServiceParts {
  const ServiceOptions& options;
  ModelManager& models;
  Runner& runner;
  Metrics& metrics;
  FactsCache& facts;
  Library& library;
  std::function<HttpCounters()> http;
};

class Service final : public HttpApplication {
 public:
  /// `models` and `library` must outlive the service.
  Service(ModelManager& models, Library& library, ServiceOptions options);
  ~Service() override;

  /// More routes, before the server starts.
  [[nodiscard]] Router& router() noexcept { return router_; }
  [[nodiscard]] const ServiceParts& parts() const noexcept { return *parts_; }
  /// Where the numbers of connections come from.
  void watch(const HttpServer& server);
  /// The page's requests go to it. Before the server starts; it must outlive the service.
  void add_page(PageApi& api);

  [[nodiscard]] Admission admit(HttpRequest& request) override;
  void handle(const HttpRequest& request, HttpExchange& exchange) override;
  [[nodiscard]] HttpResponse problem(const HttpRequest& request, const HttpProblem& what) override;

 private:
  [[nodiscard]] bool set_deadline(HttpRequest& request) const;
  [[nodiscard]] HttpResponse error_response(const HttpRequest& request, const RequestError& error,
                                            const ErrorDetails& details = {}) const;
  /// Of what no handler sees.
  [[nodiscard]] HttpResponse refusal(const HttpRequest& request, const RequestError& error) const;
  void log(const HttpRequest& request, int status, double seconds) const;

  ServiceOptions options_;
  Security security_;
  Router router_;
  Metrics metrics_;
  Runner runner_;
  std::unique_ptr<FactsCache> facts_;
  std::unique_ptr<ServiceParts> parts_;
};

// Each adds the routes of one API. serve/routes/*.cpp
void add_openai_routes(Router& router, const ServiceParts& parts);
void add_ollama_routes(Router& router, const ServiceParts& parts);
void add_anthropic_routes(Router& router, const ServiceParts& parts);
void add_llama_server_routes(Router& router, const ServiceParts& parts);
void add_hearth_routes(Router& router, const ServiceParts& parts);

/// The caller of a request.
[[nodiscard]] Caller caller_of(const HttpRequest& request);
/// Generates and counts.
void answer_chat(const ServiceParts& parts, const HttpRequest& request, ChatExchange chat,
                 HttpExchange& exchange);
void answer_completion(const ServiceParts& parts, const HttpRequest& request,
                       CompletionExchange completion, HttpExchange& exchange);

}  // namespace hearth::serve
