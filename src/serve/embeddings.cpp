#include "serve/embeddings.h"

#include <fmt/format.h>

#include <chrono>

#include "serve/request_failure.h"
#include "support/elapsed.h"
#include "support/error.h"

namespace hearth::serve {
namespace {

using generate::TokenList;
using Clock = std::chrono::steady_clock;

void check_length(const TokenList& tokens, std::int64_t limit, const std::string& name,
                  const char* parameter) {
  if (static_cast<std::int64_t>(tokens.size()) <= limit) return;
  RequestFailure failure(400,
                         fmt::format("{} has {} tokens, which is more than the {} that the model "
                                     "takes",
                                     name, tokens.size(), limit),
                         "context_length_exceeded", parameter);
  failure.prompt_tokens = static_cast<std::int64_t>(tokens.size());
  failure.context = limit;
  throw failure;
}

TokenList tokens_of(const ServedModel& model, const EmbeddingRequest& request, std::size_t index) {
  const std::int64_t limit = model.context();
  TokenList tokens;
  if (index < request.tokens.size() && !request.tokens[index].empty()) {
    for (const text::TokenId token : request.tokens[index]) {
      if (token >= 0 && token < model.vocabulary()) continue;
      throw RequestFailure(
          400, fmt::format("token {} is outside the vocabulary of {}", token, model.vocabulary()),
          "invalid_value", "input");
    }
    tokens = request.tokens[index];
    if (request.truncate && static_cast<std::int64_t>(tokens.size()) > limit)
      tokens.resize(static_cast<std::size_t>(limit));
  } else {
    const std::string& text = request.inputs.at(index);
    tokens =
        request.truncate ? model.text_encoder().text(text, limit) : model.text_encoder().text(text);
  }
  check_length(tokens, limit, fmt::format("input {}", index), "input");
  return tokens;
}

RequestFailure failure_of(const Error& error) {
  // What is wrong with the texts is the client's affair, the rest is the server's.
  const bool of_texts =
      error.exit_code() == ExitCode::kUsage || error.exit_code() == ExitCode::kDoesNotFit;
  return of_texts ? RequestFailure(400, error.what(), "invalid_value", "input")
                  : RequestFailure(500, error.what());
}

/// Vectors of the texts.
std::vector<std::vector<float>> vectors_of(ServedModel& model, const std::vector<TokenList>& texts,
                                           const std::function<bool()>& given_up) {
  std::vector<std::vector<float>> vectors(texts.size());
  const auto dimensions = static_cast<std::size_t>(model.dimensions());
  try {
    model.embed(
        texts,
        [&](std::size_t text, std::span<const float> vector) {
          // Models that do not pool give a vector per token: the last one stands for the text.
          vectors[text].assign(
              vector.end() - static_cast<std::ptrdiff_t>(std::min(vector.size(), dimensions)),
              vector.end());
        },
        [&] {
          if (given_up && given_up()) throw RequestFailure(499, "the client went away");
        });
  } catch (const generate::QueueFull& full) {
    throw queue_full(full);
  } catch (const Error& error) {
    throw failure_of(error);
  }
  return vectors;
}

std::int64_t total_tokens(const std::vector<TokenList>& texts) {
  std::int64_t total = 0;
  for (const TokenList& text : texts) total += static_cast<std::int64_t>(text.size());
  return total;
}

}  // namespace

EmbeddingReply embed(ModelManager& models, const EmbeddingRequest& request,
                     const std::function<bool()>& given_up) {
  const auto start = Clock::now();
  ModelManager::Lease lease = models.use({.name = request.model,
                                          .kind = ModelKind::kEmbeds,
                                          .context = std::nullopt,
                                          .given_up = given_up});
  if (request.keep_alive_seconds) lease.keep_alive(*request.keep_alive_seconds);
  const std::size_t count = std::max(request.inputs.size(), request.tokens.size());
  std::vector<TokenList> texts;
  for (std::size_t i = 0; i < count; ++i) texts.push_back(tokens_of(*lease, request, i));
  EmbeddingReply reply;
  reply.model = request.model.empty() ? lease.name() : request.model;
  reply.vectors = vectors_of(*lease, texts, given_up);
  if (request.dimensions) {
    for (std::vector<float>& vector : reply.vectors)
      vector = shorten(std::move(vector), *request.dimensions);
  }
  reply.usage.prompt_tokens = total_tokens(texts);
  reply.usage.load_seconds = lease.load_seconds();
  reply.usage.total_seconds = seconds_since(start);
  reply.usage.prompt_seconds = reply.usage.total_seconds - reply.usage.load_seconds;
  return reply;
}

RerankReply rerank(ModelManager& models, const RerankRequest& request,
                   const std::function<bool()>& given_up) {
  const ModelManager::Lease lease = models.use({.name = request.model,
                                                .kind = ModelKind::kReranks,
                                                .context = std::nullopt,
                                                .given_up = given_up});
  const generate::TextEncoder& encoder = lease->text_encoder();
  const std::int64_t limit = lease->context();
  std::vector<TokenList> pairs;
  for (const std::string& document : request.documents) {
    pairs.push_back(request.truncate ? encoder.pair(request.query, document, limit)
                                     : encoder.pair(request.query, document));
    check_length(pairs.back(), limit, fmt::format("document {} with its query", pairs.size() - 1),
                 "documents");
  }
  RerankReply reply;
  reply.model = request.model.empty() ? lease.name() : request.model;
  for (const std::vector<float>& scores : vectors_of(*lease, pairs, given_up))
    reply.scores.push_back(scores.empty() ? 0 : scores.front());
  reply.usage.prompt_tokens = total_tokens(pairs);
  return reply;
}

}  // namespace hearth::serve
