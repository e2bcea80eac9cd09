// Every field of every body, by the tables: what has another type or is out of range is refused by
// the reader of that route, which names the parameter; null is as good as absent.
#include "serve/dialects/fields.h"

#include <functional>
#include <map>
#include <set>

#include "serve/dialects/anthropic.h"
#include "serve/dialects/dialect_test.h"
#include "serve/dialects/json_body.h"
#include "serve/dialects/llama_server.h"
#include "serve/dialects/ollama.h"
#include "serve/dialects/openai.h"

namespace hearth::serve {
namespace {

using namespace testing;
using Reader = std::function<void(const std::string&)>;

template <class Result>
Reader reader(Result (*read)(std::string_view)) {
  return [read](const std::string& body) { static_cast<void>(read(body)); };
}

const std::map<std::string_view, Reader>& readers() {
  static const std::map<std::string_view, Reader> kReaders = {
      {"/v1/chat/completions", reader(read_openai_chat)},
      {"/v1/chat/completions/input_tokens", reader(read_llama_template)},
      {"/v1/completions", reader(read_openai_completion)},
      {"/v1/embeddings", reader(read_openai_embeddings)},
      {"/v1/responses", reader(read_openai_responses)},
      {"/v1/responses/input_tokens", reader(read_openai_responses)},
      {"/v1/messages", reader(read_anthropic_messages)},
      {"/v1/messages/count_tokens", reader(read_anthropic_count)},
      {"/api/chat", reader(read_ollama_chat)},
      {"/api/generate", reader(read_ollama_generate)},
      {"/api/embed", reader(read_ollama_embed)},
      {"/api/embeddings", reader(read_ollama_embeddings)},
      {"/api/show", reader(read_ollama_show)},
      {"/api/create", reader(read_ollama_create)},
      {"/api/copy", reader(read_ollama_copy)},
      {"/api/delete", reader(read_ollama_delete)},
      {"/api/pull", reader(read_ollama_pull)},
      {"/completion", reader(read_llama_completion)},
      {"/completions", reader(read_llama_completion)},
      {"/infill", reader(read_llama_infill)},
      {"/tokenize", reader(read_llama_tokenize)},
      {"/detokenize", reader(read_llama_detokenize)},
      {"/apply-template", reader(read_llama_template)},
      {"/rerank", reader(read_llama_rerank)},
      {"/reranking", reader(read_llama_rerank)},
      {"/v1/rerank", reader(read_llama_rerank)},
      {"/v1/reranking", reader(read_llama_rerank)},
      {"/embedding", reader(read_llama_embedding)},
      {"/embeddings", reader(read_llama_embedding)},
  };
  return kReaders;
}

/// Values of every type that `types` does not allow.
std::vector<Json> wrong_values(Types types) {
  std::vector<Json> values;
  if ((types & kBoolean) == 0) values.emplace_back(true);
  if ((types & (kInteger | kNumber)) == 0) values.emplace_back(7);
  if ((types & kNumber) == 0) values.emplace_back(0.5);
  if ((types & kString) == 0) values.emplace_back("text");
  if ((types & kArray) == 0) values.push_back(Json::array());
  if ((types & kObject) == 0) values.push_back(Json::object());
  return values;
}

void expect_refused(const BodyRoute& route, const Json& body, const std::string& path) {
  SCOPED_TRACE(std::string(route.path) + " " + body.dump());
  const RequestError error = refusal([&] {
    readers().at(route.path)(body.dump());
    return 0;
  });
  EXPECT_EQ(error.status, 400);
  EXPECT_EQ(error.parameter, path);
  EXPECT_FALSE(error.message.empty());
}

/// Puts every wrong value in the place of `field`; `put` makes the whole body of it.
void try_field(const BodyRoute& route, const Field& field, const std::string& path,
               const std::function<Json(const Json&)>& put) {
  for (const Json& wrong : wrong_values(field.types)) expect_refused(route, put(wrong), path);
  if (std::isfinite(field.least)) expect_refused(route, put(field.least - 1), path);
  if (std::isfinite(field.most)) expect_refused(route, put(field.most + 1), path);
  if (!field.words.empty()) expect_refused(route, put("no such word"), path);
  if (field.required) expect_refused(route, put(nullptr), path);
  for (const Field& member : field.members) {
    Json object = Json::object();
    for (const Field& other : field.members) {
      if (other.required)
        object[std::string(other.name)] = other.words.empty() ? "x" : other.words[0];
    }
    try_field(route, member, path + "." + std::string(member.name), [&](const Json& value) {
      object[std::string(member.name)] = value;
      return put(object);
    });
  }
  if ((field.types & kArray) == 0 || field.items == kAnything) return;
  for (const Json& wrong : wrong_values(field.items)) {
    expect_refused(route, put(Json::array({wrong})), path + "[0]");
  }
  for (const Field& member : field.item_members) {
    try_field(route, member, path + "[0]." + std::string(member.name), [&](const Json& value) {
      Json item = Json::object();
      for (const Field& other : field.item_members) {
        if (other.required) item[std::string(other.name)] = "x";
      }
      item[std::string(member.name)] = value;
      return put(Json::array({item}));
    });
  }
}

TEST(Fields, WrongTypesAndRangesAreRefusedEverywhere) {
  for (const BodyRoute& route : body_routes()) {
    const Json example = Json::parse(route.example);
    for (const std::span<const Field> part : route.body->parts) {
      for (const Field& field : part) {
        try_field(route, field, std::string(field.name), [&](const Json& value) {
          Json body = example;
          body[std::string(field.name)] = value;
          return body;
        });
      }
    }
  }
}

TEST(Fields, ExamplesAreRightAndNullIsAbsent) {
  std::set<std::string_view> paths;
  for (const BodyRoute& route : body_routes()) {
    SCOPED_TRACE(route.path);
    EXPECT_TRUE(paths.insert(route.path).second);
    Json body = Json::parse(route.example);
    for (const std::span<const Field> part : route.body->parts) {
      for (const Field& field : part) {
        const std::string name(field.name);
        if (!body.contains(name)) body[name] = nullptr;
      }
    }
    for (const std::string& text : {std::string(route.example), body.dump()}) {
      EXPECT_NO_THROW({
        try {
          readers().at(route.path)(text);
        } catch (const RequestError& error) {
          throw std::runtime_error(error.message);
        }
      });
    }
    EXPECT_EQ(refusal([&] {
                readers().at(route.path)("[]");
                return 0;
              }).status,
              400);
  }
  EXPECT_EQ(paths.size(), readers().size());
}

TEST(Fields, NamesAreUniqueInABody) {
  for (const BodyRoute& route : body_routes()) {
    std::set<std::string_view> names;
    for (const std::span<const Field> part : route.body->parts) {
      for (const Field& field : part) {
        EXPECT_TRUE(names.insert(field.name).second) << route.path << " " << field.name;
      }
    }
  }
}

TEST(Fields, SchemaSaysWhatTheTableSays) {
  static constexpr std::string_view kWords[] = {"a", "b"};
  static constexpr Field kInner[] = {{.name = "x", .types = kBoolean, .required = true}};
  static constexpr Field kFields[] = {
      {.name = "n", .types = kInteger, .what = "count", .required = true, .least = 1, .most = 9},
      {.name = "w", .words = kWords},
      {.name = "o", .types = kObject, .members = kInner},
      {.name = "l", .types = kArray | kString, .items = kString, .most_items = 4},
  };
  static const BodyFields kBody = {.name = "B", .parts = {kFields}};
  EXPECT_EQ(json_schema(kBody), Json::parse(R"({"type":"object","properties":{
      "n":{"type":["integer"],"description":"count","minimum":1,"maximum":9},
      "w":{"type":["string","null"],"anyOf":[{"enum":["a","b"]},{"type":["null"]}]},
      "o":{"type":["object","null"],"properties":{"x":{"type":["boolean"]}},"required":["x"]},
      "l":{"type":["string","array","null"],"maxItems":4,"items":{"type":["string"]}}},
      "required":["n"]})"));
}

TEST(Fields, MessagesAreSentences) {
  const RequestError type = refusal([] {
    return read_openai_chat(R"({"messages":[{"role":"user","content":"x"}],"temperature":"hot"})");
  });
  EXPECT_EQ(type.message, "temperature must be a number, not a string");
  EXPECT_EQ(type.code, "invalid_type");
  const auto seed = [](const std::string& value) {
    return refusal([&value] {
             return read_openai_completion(R"({"prompt":"x","seed":)" + value + "}");
           })
        .message;
  };
  EXPECT_EQ(seed("9223372036854775808"), "seed must be an integer, not a number too large for one");
  EXPECT_EQ(seed("1e30"), "seed must be an integer, not a number too large for one");
  EXPECT_EQ(seed("0.5"), "seed must be an integer, not a number with a fraction");
  EXPECT_EQ(refusal([] { return read_openai_completion(R"({"prompt":"x","model":3.5})"); }).message,
            "model must be a string, not a number");
  const RequestError range = refusal([] {
    return read_openai_chat(R"({"messages":[{"role":"user","content":"x"}],"top_p":1.5})");
  });
  EXPECT_EQ(range.message, "top_p must be from 0 to 1, not 1.5");
  const RequestError missing = refusal([] { return read_openai_chat("{}"); });
  EXPECT_EQ(missing.message, "messages is missing");
  EXPECT_EQ(missing.code, "missing_required_parameter");
}

}  // namespace
}  // namespace hearth::serve
