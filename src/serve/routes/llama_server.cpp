// What llama-server has besides: health, metrics, tokens, gaps, slots.
#include "serve/dialects/llama_server.h"

#include <algorithm>

#include "serve/dialects/json_body.h"
#include "serve/embeddings.h"
#include "serve/facts_cache.h"
#include "serve/prompting.h"
#include "serve/request_failure.h"
#include "serve/sampling_changes.h"
#include "serve/service.h"

namespace hearth::serve {
namespace {

void add_watching(RouteGroup& routes, const ServiceParts& parts) {
  const Handler health = [&parts](const HttpRequest&, HttpExchange& exchange) {
    const std::vector<LoadedFacts> models = parts.models.loaded();
    const bool loading =
        !models.empty() && std::all_of(models.begin(), models.end(),
                                       [](const LoadedFacts& each) { return each.loading; });
    if (loading) throw RequestFailure(503, "Loading model", "unavailable_error");
    exchange.respond_json(200, llama_health());
  };
  for (const char* path : {"/health", "/v1/health"})
    routes.add("GET", path, "Whether the server is ready", health).access = Access::kOpen;
  routes
      .add("GET", "/metrics", "Counters and gauges in Prometheus' format",
           [&parts](const HttpRequest&, HttpExchange& exchange) {
             generate::SchedulerStatistics past;
             const std::vector<LoadedFacts> models = parts.models.loaded(&past);
             exchange.respond({.status = 200,
                               .content_type = "text/plain; version=0.0.4; charset=utf-8",
                               .body = parts.metrics.text(models, past, parts.http())});
           })
      .produces = {"text/plain"};
}

/// The loaded model that is meant: by name, or without one the model that requests without a name
/// use, else the first one that generates. Null: none is loaded.
std::shared_ptr<ServedModel> loaded_model(const ServiceParts& parts, std::string_view name) {
  const std::vector<LoadedFacts> loaded = parts.models.loaded();
  if (name.empty() && loaded.empty()) return nullptr;
  const std::filesystem::path path = parts.models.available(name).path;
  std::shared_ptr<ServedModel> first;
  for (const LoadedFacts& each : loaded) {
    if (!each.model || each.model->kind() != ModelKind::kGenerates) continue;
    if (each.path == path) return each.model;
    if (name.empty() && !first) first = each.model;
  }
  return first;
}

ServerFacts facts_of(const ServiceParts& parts, std::string_view name) {
  ServerFacts facts;
  facts.build = "hearth " + parts.options.version;
  const std::shared_ptr<ServedModel> model = loaded_model(parts, name);
  facts.sleeping = model == nullptr;
  if (!model) {
    facts.model = parts.facts.details(parts.models.available(name), /*verbose=*/false);
    return facts;
  }
  std::string loaded_name(name);
  for (const LoadedFacts& each : parts.models.loaded()) {
    if (each.model == model) loaded_name = each.name;
  }
  facts.model = parts.facts.details(parts.models.available(loaded_name), /*verbose=*/false);
  facts.slots = model->scheduler().limits().parallel;
  facts.sampling = changes_of(model->sampling());
  const text::Tokenizer& tokenizer = model->tokenizer();
  const auto text_of = [&](text::TokenId id) {
    return id >= 0 ? tokenizer.piece(id, /*special=*/true) : std::string();
  };
  facts.bos_token = text_of(tokenizer.special().bos);
  facts.eos_token = text_of(tokenizer.special().eos);
  return facts;
}

std::vector<SlotFacts> slots_of(const ServiceParts& parts, std::string_view name) {
  const std::shared_ptr<ServedModel> model = loaded_model(parts, name);
  if (!model) return {};
  std::vector<SlotFacts> slots(static_cast<std::size_t>(model->scheduler().limits().parallel));
  for (SlotFacts& slot : slots) slot.context = model->context();
  for (const generate::RunningRequest& each : model->scheduler().running()) {
    SlotFacts& slot = slots.at(static_cast<std::size_t>(each.slot));
    slot.task = static_cast<std::int64_t>(each.id);
    slot.reads = each.reads;
    slot.prompt_tokens = each.prompt_tokens;
    slot.evaluated = each.evaluated;
    slot.generated = each.generated;
    slot.remaining = each.remaining;
  }
  return slots;
}

void add_facts(RouteGroup& routes, const ServiceParts& parts) {
  routes.add("GET", "/props", "The model and its settings",
             [&parts](const HttpRequest& request, HttpExchange& exchange) {
               exchange.respond_json(200, llama_props(facts_of(parts, request.parameter("model"))));
             });
  routes.add("GET", "/slots", "What is being generated",
             [&parts](const HttpRequest& request, HttpExchange& exchange) {
               const std::vector<SlotFacts> slots = slots_of(parts, request.parameter("model"));
               const bool idle = std::any_of(slots.begin(), slots.end(),
                                             [](const SlotFacts& slot) { return slot.task < 0; });
               if (!idle && !request.parameter("fail_on_no_slot").empty())
                 throw RequestFailure(503, "no slot available", "unavailable_error");
               exchange.respond_json(200, llama_slots(slots));
             });
}

void add_llama_generating(RouteGroup& routes, const ServiceParts& parts) {
  for (const char* path : {"/completion", "/completions"}) {
    routes.add("POST", path, "Go on with a text",
               [&parts](const HttpRequest& request, HttpExchange& exchange) {
                 answer_completion(parts, request, read_llama_completion(request.body), exchange);
               });
  }
  routes.add("POST", "/infill", "Fill a gap in a text",
             [&parts](const HttpRequest& request, HttpExchange& exchange) {
               InfillExchange infill = read_llama_infill(request.body);
               CompletionRequest& completion = infill.completion.request;
               const Gap gap{
                   .prefix = infill.prefix,
                   .suffix = infill.suffix,
                   .beginning = completion.prompts.empty() ? "" : completion.prompts.front(),
                   .files = infill.extra};
               {
                 const ModelManager::Lease lease = parts.models.use(
                     {.name = completion.model, .given_up = patience(request.deadline, exchange)});
                 completion.tokens = {fill_in_tokens(*lease, gap)};
               }
               answer_completion(parts, request, std::move(infill.completion), exchange);
             });
  routes.add("POST", "/apply-template", "The prompt of a conversation",
             [&parts](const HttpRequest& request, HttpExchange& exchange) {
               const ChatTokens prompt = parts.runner.prompt_of(
                   read_llama_template(request.body), patience(request.deadline, exchange));
               exchange.respond_json(200, llama_prompt(prompt.text));
             });
}

void add_tokens(RouteGroup& routes, const ServiceParts& parts) {
  routes.add("POST", "/tokenize", "The tokens of a text",
             [&parts](const HttpRequest& request, HttpExchange& exchange) {
               const TokenizeRequest wanted = read_llama_tokenize(request.body);
               const ModelManager::Lease lease =
                   parts.models.use({.name = wanted.model,
                                     .kind = std::nullopt,
                                     .given_up = patience(request.deadline, exchange)});
               const text::Tokenizer& tokenizer = lease->tokenizer();
               const std::vector<text::TokenId> ids = mixed_tokens(
                   tokenizer, wanted.content,
                   {.add_special = wanted.add_special, .parse_special = wanted.parse_special},
                   "content");
               std::vector<std::string> pieces;
               if (wanted.with_pieces) {
                 for (const text::TokenId id : ids)
                   pieces.push_back(tokenizer.piece(id, /*special=*/true));
               }
               exchange.respond_json(200, llama_tokens(ids, pieces));
             });
  routes.add("POST", "/detokenize", "The text of tokens",
             [&parts](const HttpRequest& request, HttpExchange& exchange) {
               const DetokenizeRequest wanted = read_llama_detokenize(request.body);
               const ModelManager::Lease lease =
                   parts.models.use({.name = wanted.model,
                                     .kind = std::nullopt,
                                     .given_up = patience(request.deadline, exchange)});
               for (const std::int32_t id : wanted.tokens) {
                 if (id >= 0 && static_cast<std::size_t>(id) < lease->tokenizer().size()) continue;
                 throw RequestFailure(400, "a token is outside the vocabulary", "invalid_value",
                                      "tokens");
               }
               exchange.respond_json(200, llama_content(lease->tokenizer().decode(
                                              wanted.tokens, {.special = true, .at_start = true})));
             });
}

void add_vectors(RouteGroup& routes, const ServiceParts& parts) {
  for (const char* path : {"/rerank", "/reranking", "/v1/rerank", "/v1/reranking"}) {
    routes.add("POST", path, "Scores of documents for a query",
               [&parts](const HttpRequest& request, HttpExchange& exchange) {
                 const RerankRequest wanted = read_llama_rerank(request.body);
                 const RerankReply reply =
                     rerank(parts.models, wanted, patience(request.deadline, exchange));
                 exchange.respond_json(
                     200, llama_rerank(wanted, reply.model, reply.scores, reply.usage));
               });
  }
  for (const char* path : {"/embedding", "/embeddings"}) {
    routes.add("POST", path, "Vectors of texts",
               [&parts](const HttpRequest& request, HttpExchange& exchange) {
                 const EmbeddingReply reply =
                     embed(parts.models, read_llama_embedding(request.body),
                           patience(request.deadline, exchange));
                 exchange.respond_json(200, llama_embeddings(reply.vectors));
               });
  }
}

void add_adapters(RouteGroup& routes, const ServiceParts& parts) {
  const Handler list = [&parts](const HttpRequest& request, HttpExchange& exchange) {
    std::vector<AdapterFacts> facts;
    if (const auto model = loaded_model(parts, request.parameter("model"))) {
      for (const ServedAdapter& each : model->adapter_list())
        facts.push_back({each.path.filename().string(), each.scale});
    }
    exchange.respond_json(200, llama_adapters(facts));
  };
  routes.add("GET", "/lora-adapters", "The adapters of the loaded model", list);
  routes.add("POST", "/lora-adapters", "How strongly adapters are applied from now on",
             [&parts, list](const HttpRequest& request, HttpExchange& exchange) {
               const Json body = parse_json(request.body);
               if (!body.is_array()) refuse("the body must be an array of {id, scale}", "");
               std::vector<std::pair<std::size_t, float>> scales;
               for (const Json& each : body) {
                 if (!each.is_object()) refuse("the body must be an array of {id, scale}", "");
                 const std::int64_t id = integer_member(each, "id").value_or(-1);
                 const std::optional<float> scale = float_member(each, "scale");
                 if (id < 0 || !scale) refuse("an adapter needs an id and a scale", "");
                 scales.emplace_back(static_cast<std::size_t>(id), *scale);
               }
               const auto model = loaded_model(parts, request.parameter("model"));
               if (!model) throw RequestFailure(400, "no model is loaded", "unavailable_error");
               model->set_adapter_scales(scales);
               list(request, exchange);
             });
}

}  // namespace

void add_llama_server_routes(Router& router, const ServiceParts& parts) {
  RouteGroup routes(router, "llama-server");
  add_watching(routes, parts);
  add_facts(routes, parts);
  add_llama_generating(routes, parts);
  add_tokens(routes, parts);
  add_vectors(routes, parts);
  add_adapters(routes, parts);
}

}  // namespace hearth::serve
