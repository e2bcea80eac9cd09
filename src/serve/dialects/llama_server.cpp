// llama-server's routes besides completions.
#include "serve/dialects/llama_server.h"

#include <algorithm>
#include <numeric>

#include "serve/dialects/bodies.h"
#include "serve/dialects/embeddings.h"
#include "serve/dialects/json_body.h"
#include "serve/dialects/openai_writers.h"
#include "serve/dialects/prompts.h"
#include "serve/dialects/reply_parts.h"
#include "support/utf8.h"

namespace hearth::serve {
namespace {

constexpr Field kTokenizeFields[] = {
    {.name = "model"},
    {.name = "content",
     .types = kString | kArray,
     .what = "text, or texts and ids in turn",
     .required = true,
     .items = kString | kInteger},
    {.name = "add_special", .types = kBoolean},
    {.name = "parse_special", .types = kBoolean, .what = "on unless it is false"},
    {.name = "with_pieces", .types = kBoolean},
};
constexpr Field kDetokenizeFields[] = {
    {.name = "model"},
    {.name = "tokens", .types = kArray, .required = true, .items = kInteger},
};
constexpr Field kRerankFields[] = {
    {.name = "model"},
    {.name = "query", .required = true},
    {.name = "documents", .types = kArray, .items = kString | kObject, .most_items = 65536},
    {.name = "texts", .types = kArray, .items = kString, .most_items = 65536},
    {.name = "top_n", .types = kInteger, .least = 0, .most = 2147483647},
    {.name = "truncate", .types = kBoolean, .what = "cut documents that are too long"},
    {.name = "return_documents", .types = kBoolean},
    {.name = "return_text", .types = kBoolean},
};
constexpr Field kLlamaEmbeddingFields[] = {
    {.name = "model"},
    {.name = "content",
     .types = kString | kArray,
     .what = "text, ids, or several of them",
     .items = kString | kInteger | kArray},
    {.name = "input",
     .types = kString | kArray,
     .what = "the same",
     .items = kString | kInteger | kArray},
};

/// A document: text, or an object with it.
std::string document_text(const Json& document, const std::string& path) {
  if (document.is_string()) return document.get<std::string>();
  const Json* text = find_member(document, "text");
  if (text == nullptr || !text->is_string()) {
    refuse(path + ".text must be a string", path + ".text", "invalid_type");
  }
  return text->get<std::string>();
}

Json sampling_settings(const SamplingChanges& sampling) {
  Json settings = Json::object();
  const auto add = [&settings](const char* name, const auto& value) {
    if (value) settings[name] = *value;
  };
  add("temperature", sampling.temperature);
  add("top_k", sampling.top_k);
  add("top_p", sampling.top_p);
  add("min_p", sampling.min_p);
  add("typical_p", sampling.typical);
  add("repeat_penalty", sampling.repeat_penalty);
  add("repeat_last_n", sampling.repeat_last_n);
  add("presence_penalty", sampling.presence_penalty);
  add("frequency_penalty", sampling.frequency_penalty);
  add("mirostat", sampling.mirostat);
  add("mirostat_tau", sampling.mirostat_tau);
  add("mirostat_eta", sampling.mirostat_eta);
  add("dry_multiplier", sampling.dry_multiplier);
  add("dry_base", sampling.dry_base);
  add("dry_allowed_length", sampling.dry_allowed_length);
  add("dry_penalty_last_n", sampling.dry_last_n);
  add("dry_sequence_breakers", sampling.dry_breakers);
  add("xtc_probability", sampling.xtc_probability);
  add("xtc_threshold", sampling.xtc_threshold);
  add("seed", sampling.seed);
  return settings;
}

}  // namespace

const BodyFields kLlamaTokenizeBody = {.name = "LlamaTokenizeRequest", .parts = {kTokenizeFields}};
const BodyFields kLlamaDetokenizeBody = {.name = "LlamaDetokenizeRequest",
                                         .parts = {kDetokenizeFields}};
const BodyFields kLlamaRerankBody = {.name = "LlamaRerankRequest", .parts = {kRerankFields}};
const BodyFields kLlamaEmbeddingBody = {.name = "LlamaEmbeddingRequest",
                                        .parts = {kLlamaEmbeddingFields}};

TokenizeRequest read_llama_tokenize(std::string_view text) {
  const Json body = parse_object(text);
  check_body(body, kLlamaTokenizeBody);
  TokenizeRequest request;
  request.model = text_member(body, "model");
  request.content = read_parts(body["content"], "content");
  request.add_special = bool_member(body, "add_special").value_or(false);
  request.parse_special = bool_member(body, "parse_special").value_or(true);
  request.with_pieces = bool_member(body, "with_pieces").value_or(false);
  return request;
}

std::string llama_tokens(std::span<const std::int32_t> ids, std::span<const std::string> pieces) {
  Json tokens = Json::array();
  for (std::size_t i = 0; i < ids.size(); ++i) {
    if (i >= pieces.size()) {
      tokens.push_back(ids[i]);
      continue;
    }
    const bool whole = find_invalid_utf8(pieces[i]) == std::string_view::npos;
    tokens.push_back({{"id", ids[i]}, {"piece", whole ? Json(pieces[i]) : byte_list(pieces[i])}});
  }
  return to_line({{"tokens", std::move(tokens)}});
}

DetokenizeRequest read_llama_detokenize(std::string_view text) {
  const Json body = parse_object(text);
  check_body(body, kLlamaDetokenizeBody);
  return {.model = text_member(body, "model"), .tokens = read_ids(body["tokens"], "tokens")};
}

std::string llama_content(std::string_view text) { return to_line({{"content", text}}); }

ChatRequest read_llama_template(std::string_view text) {
  OpenAiReplyOptions options;
  return read_openai_chat_request(parse_object(text), options);
}

std::string llama_prompt(std::string_view prompt) { return to_line({{"prompt", prompt}}); }

RerankRequest read_llama_rerank(std::string_view text) {
  const Json body = parse_object(text);
  check_body(body, kLlamaRerankBody);
  RerankRequest request;
  request.model = text_member(body, "model");
  request.query = text_member(body, "query");
  const Json* documents = find_member(body, "documents");
  request.texts_form = documents == nullptr;
  const char* name = request.texts_form ? "texts" : "documents";
  if (request.texts_form) documents = find_member(body, "texts");
  if (documents == nullptr || documents->empty()) {
    refuse("documents is missing or empty", "documents", "missing_required_parameter");
  }
  for (std::size_t i = 0; i < documents->size(); ++i) {
    request.documents.push_back(document_text((*documents)[i], indexed(name, i)));
  }
  const auto top = static_cast<std::size_t>(integer_member(body, "top_n").value_or(INT32_MAX));
  request.top = std::min(top, request.documents.size());
  request.truncate = bool_member(body, "truncate").value_or(false);
  request.return_texts = bool_member(body, "return_documents").value_or(false) ||
                         bool_member(body, "return_text").value_or(false);
  return request;
}

std::string llama_rerank(const RerankRequest& request, std::string_view model,
                         std::span<const float> scores, const Usage& usage) {
  std::vector<std::size_t> order(std::min(scores.size(), request.documents.size()));
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&scores](std::size_t a, std::size_t b) { return scores[a] > scores[b]; });
  order.resize(std::min(order.size(), request.top));
  Json results = Json::array();
  for (const std::size_t i : order) {
    Json entry = {{"index", i}};
    entry[request.texts_form ? "score" : "relevance_score"] = finite_logprob(scores[i]);
    if (request.return_texts) {
      const std::string& text = request.documents[i];
      if (request.texts_form) {
        entry["text"] = text;
      } else {
        entry["document"] = {{"text", text}};
      }
    }
    results.push_back(std::move(entry));
  }
  if (request.texts_form) return to_line(results);
  return to_line(
      {{"model", model},
       {"object", "list"},
       {"usage", {{"prompt_tokens", usage.prompt_tokens}, {"total_tokens", usage.prompt_tokens}}},
       {"results", std::move(results)}});
}

EmbeddingRequest read_llama_embedding(std::string_view text) {
  const Json body = parse_object(text);
  check_body(body, kLlamaEmbeddingBody);
  EmbeddingRequest request;
  request.model = text_member(body, "model");
  const char* name = find_member(body, "content") != nullptr ? "content" : "input";
  const Json* input = find_member(body, name);
  if (input == nullptr) refuse("content is missing", "content", "missing_required_parameter");
  read_prompts(*input, name, request.inputs, request.tokens);
  check_inputs(request, name);
  return request;
}

std::string llama_embeddings(std::span<const std::vector<float>> vectors) {
  std::string reply = "[";
  for (std::size_t i = 0; i < vectors.size(); ++i) {
    if (i != 0) reply += ',';
    reply += R"({"index":)" + std::to_string(i) + R"(,"embedding":[)";
    append_floats(reply, vectors[i]);
    reply += "]}";
  }
  return reply + ']';
}

std::string llama_health() { return R"({"status":"ok"})"; }

std::string llama_props(const ServerFacts& facts) {
  const ModelFacts& model = facts.model.facts;
  Json settings = {{"id", 0},
                   {"id_task", -1},
                   {"n_ctx", model.serve_context},
                   {"speculative", false},
                   {"is_processing", false},
                   {"params", sampling_settings(facts.sampling)}};
  const auto has = [&model](std::string_view what) {
    return std::find(model.capabilities.begin(), model.capabilities.end(), what) !=
           model.capabilities.end();
  };
  return to_line({{"default_generation_settings", std::move(settings)},
                  {"total_slots", facts.slots},
                  {"model_path", facts.model.source},
                  {"model_alias", model.name},
                  {"chat_template", facts.model.chat_template},
                  {"chat_template_caps", {{"supports_tools", has("tools")}}},
                  {"modalities", {{"vision", has("vision")}, {"audio", has("audio")}}},
                  {"bos_token", facts.bos_token},
                  {"eos_token", facts.eos_token},
                  {"build_info", facts.build},
                  {"is_sleeping", facts.sleeping}});
}

std::string llama_slots(std::span<const SlotFacts> slots) {
  Json list = Json::array();
  for (const SlotFacts& slot : slots) {
    const bool busy = slot.task >= 0;
    list.push_back({{"id", list.size()},
                    {"id_task", slot.task},
                    {"n_ctx", slot.context},
                    {"speculative", slot.speculative},
                    {"is_processing", busy},
                    {"state", !busy        ? "idle"
                              : slot.reads ? "reading"
                                           : "generating"},
                    {"n_prompt_tokens", slot.prompt_tokens},
                    {"n_prompt_tokens_processed", std::min(slot.evaluated, slot.prompt_tokens)},
                    {"n_past", slot.evaluated},
                    {"params", Json::object()},
                    {"next_token",
                     {{"has_next_token", busy},
                      {"has_new_line", false},
                      {"n_remain", slot.remaining},
                      {"n_decoded", slot.generated}}}});
  }
  return to_line(list);
}

std::string llama_adapters(std::span<const AdapterFacts> adapters) {
  Json list = Json::array();
  for (const AdapterFacts& adapter : adapters) {
    list.push_back({{"id", list.size()}, {"path", adapter.path}, {"scale", adapter.scale}});
  }
  return to_line(list);
}

}  // namespace hearth::serve
