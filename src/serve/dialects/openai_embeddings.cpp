// /v1/embeddings.
#include <bit>
#include <charconv>
#include <cmath>

#include "serve/dialects/bodies.h"
#include "serve/dialects/embeddings.h"
#include "serve/dialects/json_body.h"
#include "serve/dialects/openai.h"
#include "serve/dialects/openai_writers.h"
#include "serve/dialects/prompts.h"
#include "support/base64.h"

namespace hearth::serve {
namespace {

constexpr std::string_view kEncodings[] = {"float", "base64"};
constexpr Field kEmbeddingFields[] = {
    {.name = "model"},
    {.name = "input",
     .types = kString | kArray,
     .what = "text, ids, or several of them",
     .required = true,
     .items = kString | kInteger | kArray},
    {.name = "encoding_format", .words = kEncodings},
    {.name = "dimensions", .types = kInteger, .least = 1, .most = 1 << 20},
    {.name = "truncate", .types = kBoolean, .what = "cut inputs that are too long"},
    {.name = "keep_alive", .types = kNumber | kString},
};

/// Little-endian float32 values, as bytes.
std::string float_bytes(std::span<const float> values) {
  std::string bytes;
  bytes.reserve(values.size() * sizeof(float));
  for (const float value : values) {
    const std::uint32_t bits = std::bit_cast<std::uint32_t>(value);
    for (int shift = 0; shift < 32; shift += 8) bytes += static_cast<char>(bits >> shift & 0xFFU);
  }
  return bytes;
}

}  // namespace

const BodyFields kOpenAiEmbeddingsBody = {.name = "CreateEmbeddingRequest",
                                          .parts = {kEmbeddingFields}};

void append_floats(std::string& text, std::span<const float> values) {
  text += '[';
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (i != 0) text += ',';
    // JSON has no infinities; an embedding with one is broken, but the reply stays readable.
    const float value = std::isfinite(values[i]) ? values[i] : 0.0F;
    char digits[32];
    const auto [end, error] = std::to_chars(std::begin(digits), std::end(digits), value);
    text.append(digits, end);
  }
  text += ']';
}

std::vector<float> shorten(std::vector<float> vector, std::int64_t dimensions) {
  if (dimensions < 1 || static_cast<std::uint64_t>(dimensions) > vector.size()) {
    refuse("dimensions must be from 1 to " + std::to_string(vector.size()) + " for this model",
           "dimensions");
  }
  vector.resize(static_cast<std::size_t>(dimensions));
  double square = 0;
  for (const float value : vector) square += static_cast<double>(value) * value;
  const double length = std::sqrt(square);
  if (!(length > 0)) return vector;
  for (float& value : vector) value = static_cast<float>(value / length);
  return vector;
}

void check_inputs(const EmbeddingRequest& request, std::string_view path) {
  for (std::size_t i = 0; i < request.inputs.size(); ++i) {
    if (!request.inputs[i].empty() || !request.tokens[i].empty()) continue;
    const std::string here = request.inputs.size() == 1 ? std::string(path) : indexed(path, i);
    refuse(here + " is empty", here, "invalid_value");
  }
}

EmbeddingRequest read_openai_embeddings(std::string_view text) {
  const Json body = parse_object(text);
  check_body(body, kOpenAiEmbeddingsBody);
  EmbeddingRequest request;
  request.model = text_member(body, "model");
  read_prompts(body["input"], "input", request.inputs, request.tokens);
  check_inputs(request, "input");
  request.dimensions = integer_member(body, "dimensions");
  request.base64 = text_member(body, "encoding_format") == "base64";
  request.truncate = bool_member(body, "truncate").value_or(false);
  request.keep_alive_seconds = read_keep_alive(body);
  return request;
}

std::string openai_embeddings(const EmbeddingRequest& request, std::string_view model,
                              std::span<const std::vector<float>> vectors, const Usage& usage) {
  // Written by hand: floats as short as they can be, which doubles of a JSON library are not.
  std::string reply = R"({"object":"list","data":[)";
  for (std::size_t i = 0; i < vectors.size(); ++i) {
    if (i != 0) reply += ',';
    reply += R"({"object":"embedding","index":)" + std::to_string(i) + R"(,"embedding":)";
    if (request.base64) {
      reply += '"' + encode_base64(float_bytes(vectors[i])) + '"';
    } else {
      append_floats(reply, vectors[i]);
    }
    reply += '}';
  }
  reply += R"(],"model":)" + to_line(Json(model)) + R"(,"usage":)";
  reply += to_line({{"prompt_tokens", usage.prompt_tokens}, {"total_tokens", usage.prompt_tokens}});
  return reply + '}';
}

}  // namespace hearth::serve
