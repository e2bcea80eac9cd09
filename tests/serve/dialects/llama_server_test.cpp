#include "serve/dialects/llama_server.h"

#include <cmath>

#include "serve/dialects/dialect_test.h"

namespace hearth::serve {
namespace {

using namespace testing;

CompletionExchange llama_read(const char* changes = "{}") {
  Json body = Json::parse(R"({"prompt":"p"})");
  body.update(Json::parse(changes));
  return read_llama_completion(body.dump());
}
RequestError llama_refused(const char* changes) {
  return refusal([&] { return llama_read(changes); });
}

TEST(LlamaCompletion, Requests) {
  const CompletionRequest plain = llama_read().request;
  EXPECT_EQ(plain.max_tokens, -1);
  EXPECT_FALSE(plain.stream);
  EXPECT_FALSE(plain.top_logprobs);
  const CompletionRequest r = llama_read(R"({"prompt":[1,2],"n_predict":4,"n_probs":3,
      "return_tokens":true,"n_cmpl":2,"stream":true,"json_schema":{"type":"null"},
      "logit_bias":[[5,false]],"top_k":9,"cache_prompt":true,"id_slot":-1,"samplers":["top_k"]})")
                                  .request;
  EXPECT_EQ(r.max_tokens, 4);
  EXPECT_EQ(r.top_logprobs, 3);
  EXPECT_TRUE(r.return_tokens);
  EXPECT_EQ(r.choices, 2);
  EXPECT_EQ(r.tokens[0], (std::vector<std::int32_t>{1, 2}));
  EXPECT_EQ(r.format.kind, OutputFormat::Kind::kJsonSchema);
  EXPECT_EQ(llama_read(R"({"n_predict":-2})").request.max_tokens, -1);
  EXPECT_EQ(llama_refused(R"({"prompt":{"prompt_string":"x","multimodal_data":[]}})").parameter,
            "prompt");
  EXPECT_EQ(llama_refused(R"({"post_sampling_probs":true})").parameter, "post_sampling_probs");
  EXPECT_EQ(llama_refused(R"({"ignore_eos":true})").parameter, "ignore_eos");
  EXPECT_EQ(llama_refused(R"({"lora":[{"id":0,"scale":1}]})").parameter, "lora");
}

TEST(LlamaCompletion, PromptsMayMixTextsAndIds) {
  using Ids = std::vector<std::int32_t>;
  const auto prompt = [](const char* text) {
    return llama_read((R"({"prompt":)" + std::string(text) + "}").c_str()).request;
  };
  const CompletionRequest one = prompt(R"([12,34,"string",56,"x","y"])");
  ASSERT_EQ(one.prompts.size(), 1U);
  EXPECT_EQ(one.prompts[0], "");
  EXPECT_EQ(one.tokens[0], Ids());
  const std::vector<PromptPart>& parts = one.parts.at(0);
  ASSERT_EQ(parts.size(), 5U);
  EXPECT_EQ(parts[0].ids, (Ids{12, 34}));
  EXPECT_EQ(parts[1].text, "string");
  EXPECT_EQ(parts[2].ids, Ids{56});
  EXPECT_EQ(parts[3].text, "x");
  EXPECT_EQ(parts[4].text, "y");

  const CompletionRequest several = prompt(R"(["a",[1,2],["b",3]])");
  EXPECT_EQ(several.prompts, (std::vector<std::string>{"a", "", ""}));
  EXPECT_EQ(several.tokens, (std::vector<Ids>{{}, {1, 2}, {}}));
  ASSERT_EQ(several.parts.size(), 3U);
  EXPECT_TRUE(several.parts[0].empty());
  EXPECT_TRUE(several.parts[1].empty());
  EXPECT_EQ(several.parts[2].size(), 2U);

  // One prompt is answered with one result, whatever it begins with.
  const auto one_result = llama_read(R"({"prompt":["a",7]})").writer;
  static_cast<void>(one_result->begin(header()));
  EXPECT_TRUE(Json::parse(one_result->end(usage())).is_object());

  EXPECT_EQ(llama_refused(R"({"prompt":["a",-1]})").parameter, "prompt[1]");
  EXPECT_EQ(llama_refused(R"({"prompt":[1,[2]]})").parameter, "prompt[1]");
  EXPECT_EQ(llama_refused(R"({"prompt":["a",["b"]]})").parameter, "prompt[1]");
  EXPECT_EQ(llama_refused(R"({"prompt":["a",[]]})").parameter, "prompt[1]");
  EXPECT_EQ(llama_refused(R"({"prompt":[]})").parameter, "prompt");
}

TEST(LlamaCompletion, BiasOfTexts) {
  using Texts = std::vector<std::pair<std::string, float>>;
  using Ids = std::vector<std::pair<std::int32_t, float>>;
  const SamplingChanges pairs =
      llama_read(R"({"logit_bias":[[5,-1],["5",2],["no",false]]})").request.sampling;
  EXPECT_EQ(pairs.logit_bias, (Ids{{5, -1}}));
  EXPECT_EQ(pairs.text_bias, (Texts{{"5", 2}, {"no", -INFINITY}}));
  const SamplingChanges object =
      llama_read(R"({"logit_bias":{"5":false,"no":0.5}})").request.sampling;
  EXPECT_EQ(object.logit_bias, (Ids{{5, -INFINITY}}));
  EXPECT_EQ(object.text_bias, (Texts{{"no", 0.5F}}));
  EXPECT_EQ(llama_refused(R"({"logit_bias":[["no",true]]})").parameter, "logit_bias[0][1]");
  EXPECT_EQ(llama_refused(R"({"logit_bias":[[[5],1]]})").parameter, "logit_bias[0][0]");
  EXPECT_EQ(llama_refused(R"({"logit_bias":{"99999999999":1}})").parameter, "logit_bias");
}

TEST(LlamaCompletion, StreamEndsWithoutDone) {
  const auto writer = llama_read(R"({"stream":true,"n_probs":1,"temperature":0.5})").writer;
  std::string bytes = writer->begin(header());
  bytes += writer->event(0, text_event("a\n"), {{.token = "a", .logprob = -1, .top = {}}});
  bytes += writer->choice_end(0, {EndReason::kStopText, "END", usage()});
  bytes += writer->end(usage());
  const auto events = read_sse(bytes);
  ASSERT_EQ(events.size(), 2U);
  EXPECT_EQ(events[0].data["content"], "a\n");
  EXPECT_EQ(events[0].data["stop"], false);
  EXPECT_EQ(events[0].data["completion_probabilities"][0]["token"], "a");
  const Json& last = events[1].data;
  EXPECT_EQ(last["content"], "");
  EXPECT_EQ(last["stop"], true);
  EXPECT_EQ(last["stop_type"], "word");
  EXPECT_EQ(last["stopping_word"], "END");
  EXPECT_EQ(last["tokens_predicted"], 12);
  EXPECT_EQ(last["tokens_evaluated"], 9);
  EXPECT_EQ(last["tokens_cached"], 4);
  EXPECT_EQ(last["generation_settings"]["temperature"], 0.5);
  EXPECT_EQ(last["has_new_line"], true);
  EXPECT_EQ(last["prompt"], "p");
  EXPECT_EQ(last["timings"]["predicted_n"], 12);
}

TEST(LlamaCompletion, CollectedIsOneOrAList) {
  Usage used = usage();
  used.reply_ids = {7, 8};
  const auto writer = llama_read(R"({"return_tokens":true})").writer;
  static_cast<void>(writer->begin(header()));
  static_cast<void>(writer->event(0, text_event("a"), {}));
  static_cast<void>(writer->choice_end(0, {EndReason::kLength, ""}));
  const Json one = Json::parse(writer->end(used));
  EXPECT_EQ(one["content"], "a");
  EXPECT_EQ(one["tokens"], Json::parse("[7,8]"));
  EXPECT_EQ(one["stop_type"], "limit");
  EXPECT_EQ(one["truncated"], false);

  const auto list = llama_read(R"({"prompt":["p","q"]})").writer;
  static_cast<void>(list->begin(header(2)));
  Usage second;
  second.completion_tokens = 5;
  static_cast<void>(list->choice_end(1, {EndReason::kStop, "", second}));
  const Json two = Json::parse(list->end(usage()));
  ASSERT_EQ(two.size(), 2U);
  EXPECT_EQ(two[1]["prompt"], "q");
  EXPECT_EQ(two[1]["index"], 1);
  EXPECT_EQ(two[1]["stop_type"], "eos");
  EXPECT_EQ(two[1]["tokens_predicted"], 5);
}

TEST(LlamaInfill, Parts) {
  const InfillExchange infill = read_llama_infill(R"({"input_prefix":"a","input_suffix":"b",
      "input_extra":[{"filename":"f","text":"t"},{"text":"u"}],"prompt":"c","n_predict":3})");
  EXPECT_EQ(infill.prefix, "a");
  EXPECT_EQ(infill.suffix, "b");
  const std::vector<std::pair<std::string, std::string>> extra = {{"f", "t"}, {"", "u"}};
  EXPECT_EQ(infill.extra, extra);
  EXPECT_EQ(infill.completion.request.prompts, std::vector<std::string>{"c"});
  EXPECT_EQ(infill.completion.request.max_tokens, 3);
  ASSERT_NE(infill.completion.writer, nullptr);
}

TEST(LlamaTokens, BothWays) {
  const TokenizeRequest plain = read_llama_tokenize(R"({"content":"x"})");
  EXPECT_FALSE(plain.add_special);
  EXPECT_TRUE(plain.parse_special);
  EXPECT_FALSE(plain.with_pieces);
  const std::vector<std::int32_t> ids = {1, 2};
  EXPECT_EQ(llama_tokens(ids, {}), R"({"tokens":[1,2]})");
  const std::vector<std::string> pieces = {"a", "\xC3"};
  EXPECT_EQ(llama_tokens(ids, pieces),
            R"({"tokens":[{"id":1,"piece":"a"},{"id":2,"piece":[195]}]})");
  EXPECT_EQ(read_llama_detokenize(R"({"tokens":[1,2]})").tokens, ids);
  EXPECT_EQ(refusal([] { return read_llama_detokenize(R"({"tokens":[-1]})"); }).parameter,
            "tokens[0]");
  EXPECT_EQ(llama_content("a\xff"), "{\"content\":\"a\xEF\xBF\xBD\"}");
  EXPECT_EQ(llama_prompt("p"), R"({"prompt":"p"})");
  EXPECT_EQ(read_llama_template(R"({"messages":[{"role":"user","content":"x"}]})").messages.size(),
            1U);
}

TEST(LlamaRerank, SortsAndCuts) {
  const RerankRequest request = read_llama_rerank(
      R"({"query":"q","documents":["a",{"text":"b"},"c"],"top_n":2,"return_documents":true})");
  EXPECT_EQ(request.documents, (std::vector<std::string>{"a", "b", "c"}));
  const std::vector<float> scores = {0.5F, 2, 0.5F};
  EXPECT_EQ(Json::parse(llama_rerank(request, "m", scores, usage())), Json::parse(R"({"model":"m",
      "object":"list","usage":{"prompt_tokens":9,"total_tokens":9},"results":[
      {"index":1,"relevance_score":2.0,"document":{"text":"b"}},
      {"index":0,"relevance_score":0.5,"document":{"text":"a"}}]})"));
  const RerankRequest texts =
      read_llama_rerank(R"({"query":"q","texts":["a","b"],"return_text":true,"top_n":9})");
  EXPECT_EQ(Json::parse(llama_rerank(texts, "m", scores, usage())), Json::parse(R"([
      {"index":1,"score":2.0,"text":"b"},{"index":0,"score":0.5,"text":"a"}])"));
  EXPECT_EQ(refusal([] { return read_llama_rerank(R"({"query":"q"})"); }).parameter, "documents");
  EXPECT_EQ(
      refusal([] { return read_llama_rerank(R"({"query":"q","documents":[{}]})"); }).parameter,
      "documents[0].text");
}

TEST(LlamaEmbedding, NativeForm) {
  EXPECT_EQ(read_llama_embedding(R"({"content":["a","b"]})").inputs.size(), 2U);
  EXPECT_EQ(read_llama_embedding(R"({"input":[1,2]})").tokens[0].size(), 2U);
  EXPECT_EQ(refusal([] { return read_llama_embedding("{}"); }).parameter, "content");
  const std::vector<std::vector<float>> vectors = {{0.5F}, {1}};
  EXPECT_EQ(llama_embeddings(vectors),
            R"([{"index":0,"embedding":[[0.5]]},{"index":1,"embedding":[[1]]}])");
}

TEST(LlamaServer, PropsSlotsAdapters) {
  ServerFacts facts;
  facts.model.facts.name = "m";
  facts.model.facts.serve_context = 4096;
  facts.model.facts.capabilities = {"completion", "tools"};
  facts.model.source = "/m.gguf";
  facts.slots = 3;
  facts.sampling.temperature = 0.5F;
  const Json props = Json::parse(llama_props(facts));
  EXPECT_EQ(props["total_slots"], 3);
  EXPECT_EQ(props["model_path"], "/m.gguf");
  EXPECT_EQ(props["default_generation_settings"]["n_ctx"], 4096);
  EXPECT_EQ(props["default_generation_settings"]["params"]["temperature"], 0.5);
  EXPECT_EQ(props["chat_template_caps"]["supports_tools"], true);
  EXPECT_EQ(props["modalities"]["vision"], false);
  const std::vector<SlotFacts> slots = {{.context = 8, .task = 4, .generated = 2, .remaining = 6},
                                        {.context = 8}};
  const Json list = Json::parse(llama_slots(slots));
  EXPECT_EQ(list[0]["is_processing"], true);
  EXPECT_EQ(list[0]["next_token"]["n_remain"], 6);
  EXPECT_EQ(list[1]["id"], 1);
  EXPECT_EQ(list[1]["is_processing"], false);
  const std::vector<AdapterFacts> adapters = {{"a.gguf", 0.5F}};
  EXPECT_EQ(llama_adapters(adapters), R"([{"id":0,"path":"a.gguf","scale":0.5}])");
  EXPECT_EQ(llama_health(), R"({"status":"ok"})");
}

}  // namespace
}  // namespace hearth::serve
