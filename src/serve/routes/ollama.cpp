// Ollama's routes.
#include "serve/dialects/ollama.h"

#include <ctime>

#include "serve/embeddings.h"
#include "serve/facts_cache.h"
#include "serve/library.h"
#include "serve/request_failure.h"
#include "serve/service.h"

namespace hearth::serve {
namespace {

/// No model is larger.
constexpr std::size_t kBlobLimit = std::size_t{4} << 40;
const std::vector<std::string> kOllamaTypes = {"application/x-ndjson", "application/json"};

/// Loads or unloads a model without generating.
void answer_load(const ServiceParts& parts, const HttpRequest& request, const LoadExchange& load,
                 HttpExchange& exchange) {
  const std::string name = parts.models.available(load.model).name;
  if (load.unload) {
    parts.models.unload(load.model);
  } else {
    ModelManager::Lease lease =
        parts.models.use({.name = load.model,
                          .kind = std::nullopt,
                          .context = load.context,
                          .given_up = patience(request.deadline, exchange)});
    if (load.keep_alive_seconds) lease.keep_alive(*load.keep_alive_seconds);
  }
  exchange.respond_json(
      200, ollama_loaded(load, load.model.empty() ? name : load.model, std::time(nullptr)));
}

void answer(const ServiceParts& parts, const HttpRequest& request, OllamaExchange wanted,
            HttpExchange& exchange) {
  if (auto* chat = std::get_if<ChatExchange>(&wanted))
    return answer_chat(parts, request, std::move(*chat), exchange);
  if (auto* completion = std::get_if<CompletionExchange>(&wanted))
    return answer_completion(parts, request, std::move(*completion), exchange);
  answer_load(parts, request, std::get<LoadExchange>(wanted), exchange);
}

void add_ollama_generating(RouteGroup& routes, const ServiceParts& parts) {
  routes
      .add("POST", "/api/chat", "Answer a conversation",
           [&parts](const HttpRequest& request, HttpExchange& exchange) {
             answer(parts, request, read_ollama_chat(request.body), exchange);
           })
      .produces = kOllamaTypes;
  routes
      .add("POST", "/api/generate", "Go on with a text",
           [&parts](const HttpRequest& request, HttpExchange& exchange) {
             answer(parts, request, read_ollama_generate(request.body), exchange);
           })
      .produces = kOllamaTypes;
  routes.add("POST", "/api/embed", "Vectors of texts",
             [&parts](const HttpRequest& request, HttpExchange& exchange) {
               const EmbeddingReply reply = embed(parts.models, read_ollama_embed(request.body),
                                                  patience(request.deadline, exchange));
               exchange.respond_json(200, ollama_embed(reply.model, reply.vectors, reply.usage));
             });
  routes.add("POST", "/api/embeddings", "The vector of a text",
             [&parts](const HttpRequest& request, HttpExchange& exchange) {
               const EmbeddingReply reply =
                   embed(parts.models, read_ollama_embeddings(request.body),
                         patience(request.deadline, exchange));
               exchange.respond_json(
                   200, ollama_embeddings(reply.vectors.empty() ? std::vector<float>()
                                                                : reply.vectors.front()));
             });
}

void add_listing(RouteGroup& routes, const ServiceParts& parts) {
  routes.add("GET", "/api/tags", "The models that can be used",
             [&parts](const HttpRequest&, HttpExchange& exchange) {
               exchange.respond_json(200, ollama_tags(parts.facts.all()));
             });
  routes.add("GET", "/api/ps", "The models in memory",
             [&parts](const HttpRequest&, HttpExchange& exchange) {
               exchange.respond_json(200, ollama_ps(parts.facts.loaded()));
             });
  routes.add("GET", "/api/version", "The server's version",
             [&parts](const HttpRequest&, HttpExchange& exchange) {
               exchange.respond_json(200, ollama_version(parts.options.version));
             });
  routes.add("POST", "/api/show", "All about a model",
             [&parts](const HttpRequest& request, HttpExchange& exchange) {
               const OllamaShow show = read_ollama_show(request.body);
               const AvailableModel model = parts.models.available(show.model);
               exchange.respond_json(
                   200, ollama_show(parts.facts.details(model, show.verbose), show.verbose));
             });
}

/// Lines of status while `work` goes on; collected, the last one.
void answer_status(HttpExchange& exchange, bool stream,
                   const std::function<void(const Library::Status&)>& work) {
  const Library::Status status = [&](std::string_view what, std::string_view digest,
                                     std::uint64_t total, std::uint64_t completed) {
    if (!stream) return !exchange.gone();
    const std::string line =
        digest.empty() ? ollama_status(what) : ollama_progress(what, digest, total, completed);
    if (!exchange.begun()) {
      exchange.begin({.status = 200, .content_type = "application/x-ndjson", .body = line});
      return !exchange.gone();
    }
    return exchange.write(line);
  };
  try {
    work(status);
  } catch (const RequestFailure& failure) {
    if (!exchange.begun()) throw;
    exchange.write(ollama_error_line(failure.what()));
  } catch (const Error& error) {
    if (!exchange.begun()) throw;
    exchange.write(ollama_error_line(error.what()));
  }
  if (exchange.begun()) return exchange.end();
  exchange.respond_json(200, ollama_status("success"));
}

void add_changing(RouteGroup& routes, const ServiceParts& parts) {
  routes
      .add("POST", "/api/pull", "Fetch a model",
           [&parts](const HttpRequest& request, HttpExchange& exchange) {
             const OllamaPull wanted = read_ollama_pull(request.body);
             answer_status(exchange, wanted.stream, [&](const Library::Status& status) {
               parts.library.pull(wanted.model, status);
             });
           })
      .produces = kOllamaTypes;
  routes
      .add("POST", "/api/create", "Make a model of files or of another one",
           [&parts](const HttpRequest& request, HttpExchange& exchange) {
             const OllamaCreate wanted = read_ollama_create(request.body);
             answer_status(exchange, wanted.stream, [&](const Library::Status& status) {
               parts.library.create(wanted, status);
             });
           })
      .produces = kOllamaTypes;
  routes.add("POST", "/api/copy", "Give a model another name",
             [&parts](const HttpRequest& request, HttpExchange& exchange) {
               const OllamaCopy wanted = read_ollama_copy(request.body);
               parts.library.copy(wanted.source, wanted.destination);
               exchange.respond({.status = 200, .content_type = {}, .body = {}});
             });
  routes.add("DELETE", "/api/delete", "Remove a model",
             [&parts](const HttpRequest& request, HttpExchange& exchange) {
               parts.library.remove(read_ollama_delete(request.body));
               exchange.respond({.status = 200, .content_type = {}, .body = {}});
             });
  routes.add("POST", "/api/push", "Not possible here", [](const HttpRequest&, HttpExchange&) {
    throw RequestFailure(501, "Hearth does not publish models", "not_implemented");
  });
}

std::string digest_of(const HttpRequest& request) {
  if (auto sha256 = sha256_of_digest(request.capture("digest"))) return *std::move(sha256);
  throw RequestFailure(400, "the digest is not sha256: and 64 hexadecimal digits", "invalid_value");
}

void add_blobs(RouteGroup& routes, const ServiceParts& parts) {
  routes.add("HEAD", "/api/blobs/{digest}", "Whether a blob is there",
             [&parts](const HttpRequest& request, HttpExchange& exchange) {
               const bool there = parts.library.has_blob(digest_of(request));
               exchange.respond({.status = there ? 200 : 404, .content_type = {}, .body = {}});
             });
  Route& upload = routes.add(
      "POST", "/api/blobs/{digest}", "Store a blob",
      [&parts](const HttpRequest& request, HttpExchange& exchange) {
        const std::string sha256 = digest_of(request);
        if (parts.library.has_blob(sha256)) {
          return exchange.respond({.status = 200, .content_type = {}, .body = {}, .close = true});
        }
        Library::Upload blob = parts.library.upload(sha256);
        std::string piece;
        while (exchange.read_body(piece, std::size_t{1} << 20)) blob.write(piece);
        blob.finish();
        exchange.respond({.status = 201, .content_type = {}, .body = {}});
      });
  upload.streams_body = true;
  upload.body_limit = kBlobLimit;
}

}  // namespace

void add_ollama_routes(Router& router, const ServiceParts& parts) {
  RouteGroup routes(router, "Ollama");
  add_ollama_generating(routes, parts);
  add_listing(routes, parts);
  add_changing(routes, parts);
  add_blobs(routes, parts);
}

}  // namespace hearth::serve
