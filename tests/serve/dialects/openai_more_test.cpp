// /v1/completions, /v1/embeddings and /v1/models.
#include <cmath>

#include "serve/dialects/dialect_test.h"
#include "serve/dialects/openai.h"
#include "support/base64.h"

namespace hearth::serve {
namespace {

using namespace testing;

CompletionExchange completion_read(const char* changes = "{}") {
  Json body = Json::parse(R"({"model":"m","prompt":"p"})");
  body.update(Json::parse(changes));
  return read_openai_completion(body.dump());
}
RequestError completion_refused(const char* changes) {
  return refusal([&] { return completion_read(changes); });
}

TEST(CompletionRequest, Prompts) {
  EXPECT_EQ(completion_read().request.prompts, std::vector<std::string>{"p"});
  EXPECT_EQ(completion_read().request.max_tokens, 16);
  EXPECT_EQ(completion_read(R"({"max_tokens":3})").request.max_tokens, 3);
  EXPECT_EQ(completion_read(R"({"prompt":["a","b"]})").request.prompts,
            (std::vector<std::string>{"a", "b"}));
  const CompletionRequest ids = completion_read(R"({"prompt":[1,2]})").request;
  ASSERT_EQ(ids.tokens.size(), 1U);
  EXPECT_EQ(ids.tokens[0], (std::vector<std::int32_t>{1, 2}));
  EXPECT_EQ(ids.prompts.size(), 1U);
  const CompletionRequest lists = completion_read(R"({"prompt":[[1],[2,3]],"n":2})").request;
  EXPECT_EQ(lists.tokens.size(), 2U);
  EXPECT_EQ(lists.choices, 2);
  const CompletionRequest mixed = completion_read(R"({"prompt":["a",[2]]})").request;
  EXPECT_EQ(mixed.prompts, (std::vector<std::string>{"a", ""}));
  EXPECT_EQ(mixed.tokens[1], std::vector<std::int32_t>{2});

  EXPECT_EQ(completion_refused(R"({"prompt":[]})").parameter, "prompt");
  EXPECT_EQ(completion_refused(R"({"prompt":[[]]})").parameter, "prompt[0]");
  EXPECT_EQ(completion_refused(R"({"prompt":[1,"a"]})").parameter, "prompt[1]");
  EXPECT_EQ(completion_refused(R"({"prompt":[1,-2]})").parameter, "prompt[1]");
  EXPECT_EQ(completion_refused(R"({"prompt":[1,99999999999]})").parameter, "prompt[1]");
  EXPECT_EQ(completion_refused(R"({"prompt":["a",["b"]]})").parameter, "prompt[1][0]");
  EXPECT_EQ(completion_refused(R"({"prompt":["a","b"],"n":128})").parameter, "prompt");
}

TEST(CompletionRequest, Options) {
  const CompletionRequest r =
      completion_read(R"({"suffix":"s","echo":true,"stream":true,"best_of":1,"temperature":0,
      "grammar":"root ::= \"a\"","stop":["x"]})")
          .request;
  EXPECT_EQ(r.suffix, "s");
  EXPECT_TRUE(r.echo);
  EXPECT_TRUE(r.stream);
  EXPECT_EQ(r.sampling.temperature, 0.0F);
  EXPECT_EQ(r.format.kind, OutputFormat::Kind::kGrammar);
  EXPECT_EQ(completion_read(R"({"logprobs":3})").request.top_logprobs, 3);
  EXPECT_EQ(completion_refused(R"({"logprobs":true})").parameter, "logprobs");
  EXPECT_EQ(completion_refused(R"({"echo":true,"logprobs":1})").parameter, "logprobs");
  EXPECT_EQ(completion_refused(R"({"best_of":2})").parameter, "best_of");
}

const std::vector<TokenLogprob> kTokenList = {
    {.token = "Ä", .logprob = -0.5F, .top = {{"Ä", -0.5F}, {"b", -1}}},
    {.token = "b", .logprob = -1, .top = {}}};

TEST(CompletionReply, Stream) {
  const auto writer =
      completion_read(
          R"({"stream":true,"n":2,"logprobs":2,"stream_options":{"include_usage":true}})")
          .writer;
  std::string bytes = writer->begin(header(2));
  bytes += writer->event(1, text_event("Äb"), kTokenList);
  bytes += writer->event(1, text_event("b"), {kTokenList[1]});
  bytes += writer->event(0, reasoning_event("never"), {});
  bytes += writer->choice_end(1, {EndReason::kLength, ""});
  bytes += writer->choice_end(0, {});
  bytes += writer->end(usage());
  const auto events = read_sse(bytes);
  ASSERT_EQ(events.size(), 6U);
  EXPECT_EQ(events[0].data["object"], "text_completion");
  EXPECT_EQ(events[0].data["id"], "cmpl-AbCdEfGhIjKlMnOpQrStUvWx");
  EXPECT_EQ(events[0].data["choices"][0], Json::parse(R"({"text":"Äb","index":1,"logprobs":{
      "tokens":["Ä","b"],"token_logprobs":[-0.5,-1.0],
      "top_logprobs":[{"Ä":-0.5,"b":-1.0},{}],"text_offset":[0,1]},"finish_reason":null})"));
  EXPECT_EQ(events[1].data["choices"][0]["logprobs"]["text_offset"], Json::parse("[2]"));
  EXPECT_EQ(events[2].data["choices"][0]["finish_reason"], "length");
  EXPECT_EQ(events[3].data["choices"][0]["index"], 0);
  EXPECT_EQ(events[4].data["choices"], Json::array());
  EXPECT_EQ(events[4].data["usage"]["total_tokens"], 21);
  EXPECT_EQ(events[5].data, "[DONE]");
}

TEST(CompletionReply, Collected) {
  const auto writer = completion_read(R"({"n":2,"logprobs":0})").writer;
  EXPECT_EQ(writer->begin(header(2)), "");
  EXPECT_EQ(writer->event(0, text_event("Äb"), kTokenList), "");
  EXPECT_EQ(writer->event(1, text_event("x"), {}), "");
  EXPECT_EQ(writer->choice_end(0, {EndReason::kStopText, "."}), "");
  EXPECT_EQ(writer->choice_end(1, {EndReason::kLength, ""}), "");
  const Json reply = Json::parse(writer->end(usage()));
  EXPECT_EQ(reply["choices"][0]["text"], "Äb");
  EXPECT_EQ(reply["choices"][0]["finish_reason"], "stop");
  EXPECT_EQ(reply["choices"][0]["logprobs"]["tokens"], Json::parse(R"(["Ä","b"])"));
  EXPECT_EQ(reply["choices"][1]["finish_reason"], "length");
  EXPECT_EQ(reply["usage"]["prompt_tokens"], 9);
  const Json plain = Json::parse(write_reply(*completion_read().writer, {text_event("a")}));
  EXPECT_TRUE(plain["choices"][0]["logprobs"].is_null());
}

TEST(CompletionReply, Failures) {
  EXPECT_EQ(read_sse(completion_read(R"({"stream":true})").writer->fail(500, "x"))[0]
                .data["error"]["message"],
            "x");
  EXPECT_EQ(Json::parse(completion_read().writer->fail(500, "x"))["error"]["type"], "server_error");
}

TEST(Embeddings, Requests) {
  const EmbeddingRequest one = read_openai_embeddings(R"({"model":"m","input":"a"})");
  EXPECT_EQ(one.inputs, std::vector<std::string>{"a"});
  EXPECT_FALSE(one.base64);
  EXPECT_FALSE(one.dimensions);
  const EmbeddingRequest ids = read_openai_embeddings(
      R"({"model":"m","input":[[1,2],[3]],"encoding_format":"base64","dimensions":8})");
  EXPECT_EQ(ids.tokens[1], std::vector<std::int32_t>{3});
  EXPECT_TRUE(ids.base64);
  EXPECT_EQ(ids.dimensions, 8);
  const auto wrong = [](const char* body) {
    return refusal([&] { return read_openai_embeddings(body); }).parameter;
  };
  EXPECT_EQ(wrong(R"({"model":"m"})"), "input");
  EXPECT_EQ(wrong(R"({"model":"m","input":""})"), "input");
  EXPECT_EQ(wrong(R"({"model":"m","input":[]})"), "input");
  EXPECT_EQ(wrong(R"({"model":"m","input":["a",""]})"), "input[1]");
  EXPECT_EQ(wrong(R"({"model":"m","input":"a","encoding_format":"hex"})"), "encoding_format");
  EXPECT_EQ(wrong(R"({"model":"m","input":"a","dimensions":0})"), "dimensions");
  std::string many = R"({"input":["a")";
  for (int i = 0; i < 2048; ++i) many += ",\"a\"";
  EXPECT_EQ(wrong((many + "]}").c_str()), "input");
}

TEST(Embeddings, Replies) {
  const std::vector<std::vector<float>> vectors = {{0.1F, -2}, {1e-20F, 0}};
  EmbeddingRequest request;
  const Json floats = Json::parse(openai_embeddings(request, "m\"", vectors, usage()));
  EXPECT_EQ(floats["object"], "list");
  EXPECT_EQ(floats["model"], "m\"");
  EXPECT_EQ(floats["data"][0]["embedding"].dump(), "[0.1,-2]");
  EXPECT_EQ(floats["data"][1]["index"], 1);
  EXPECT_EQ(floats["usage"], Json::parse(R"({"prompt_tokens":9,"total_tokens":9})"));
  request.base64 = true;
  const Json coded = Json::parse(openai_embeddings(request, "m", vectors, usage()));
  // IEEE 754: 0.1F is 0x3DCCCCCD, -2 is 0xC0000000, lowest byte first.
  EXPECT_EQ(decode_base64(coded["data"][0]["embedding"].get<std::string>()),
            std::string("\xCD\xCC\xCC\x3D\x00\x00\x00\xC0", 8));
}

TEST(Embeddings, BrokenValuesStayJson) {
  const std::vector<std::vector<float>> vectors = {{NAN, INFINITY}};
  EXPECT_EQ(Json::parse(openai_embeddings({}, "m", vectors, usage()))["data"][0]["embedding"],
            Json::parse("[0,0]"));
}

TEST(Embeddings, ShortenNormalizesAgain) {
  EXPECT_EQ(shorten({3, 4, 12}, 2), (std::vector<float>{0.6F, 0.8F}));
  EXPECT_EQ(shorten({0, 0, 1}, 2), (std::vector<float>{0, 0}));
  EXPECT_EQ(refusal([] { return shorten({1, 2}, 3); }).parameter, "dimensions");
}

TEST(OpenAiModels, Lists) {
  ModelFacts model;
  model.name = "org/m:tag";
  model.modified = 5;
  model.context = 4096;
  const std::vector<ModelFacts> models = {model};
  EXPECT_EQ(Json::parse(openai_models(models)), Json::parse(R"({"object":"list","data":[
      {"id":"org/m:tag","object":"model","created":5,"owned_by":"hearth",
       "meta":{"n_ctx_train":4096}}]})"));
  EXPECT_EQ(Json::parse(openai_model(model))["id"], "org/m:tag");
  EXPECT_EQ(openai_models({}), R"({"object":"list","data":[]})");
  EXPECT_EQ(Json::parse(openai_input_tokens(7))["input_tokens"], 7);
}

}  // namespace
}  // namespace hearth::serve
