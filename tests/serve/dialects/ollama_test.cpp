#include "serve/dialects/ollama.h"

#include "serve/dialects/dialect_test.h"

namespace hearth::serve {
namespace {

using namespace testing;

Json chat_body(const char* changes = "{}") {
  Json body = Json::parse(R"({"model":"m","messages":[{"role":"user","content":"hi"}]})");
  body.update(Json::parse(changes));
  return body;
}
ChatExchange chat(const char* changes = "{}") {
  return std::get<ChatExchange>(read_ollama_chat(chat_body(changes).dump()));
}
RequestError chat_refused(const char* changes) {
  return refusal([&] { return read_ollama_chat(chat_body(changes).dump()); });
}
OllamaExchange generate(const char* body) { return read_ollama_generate(body); }
RequestError generate_refused(const char* body) {
  return refusal([&] { return read_ollama_generate(body); });
}

TEST(OllamaChatRequest, DefaultsStream) {
  const ChatRequest r = chat().request;
  EXPECT_EQ(r.model, "m");
  EXPECT_TRUE(r.stream);
  EXPECT_EQ(r.max_tokens, -1);
  EXPECT_FALSE(r.thinking);
  EXPECT_FALSE(r.keep_alive_seconds);
  EXPECT_FALSE(r.context);
  EXPECT_FALSE(chat(R"({"stream":false})").request.stream);
}

TEST(OllamaChatRequest, Options) {
  const ChatRequest r = chat(R"({"options":{"num_ctx":4096,"num_predict":7,"seed":3,"top_k":5,
      "temperature":0.5,"top_p":0.25,"min_p":0.125,"typical_p":0.5,"repeat_last_n":-1,
      "repeat_penalty":1.5,"presence_penalty":1,"frequency_penalty":2,"stop":["x"],"num_gpu":99,
      "num_keep":4,"num_batch":512,"num_thread":0,"use_mmap":true,"nonsense":[1]},
      "keep_alive":"1h30m","logprobs":true,"top_logprobs":3,"truncate":false,"shift":true})")
                            .request;
  EXPECT_EQ(r.context, 4096);
  EXPECT_EQ(r.max_tokens, 7);
  EXPECT_EQ(r.sampling.seed, 3U);
  EXPECT_EQ(r.sampling.top_k, 5);
  EXPECT_EQ(r.sampling.temperature, 0.5F);
  EXPECT_EQ(r.sampling.top_p, 0.25F);
  EXPECT_EQ(r.sampling.min_p, 0.125F);
  EXPECT_EQ(r.sampling.typical, 0.5F);
  EXPECT_EQ(r.sampling.repeat_last_n, -1);
  EXPECT_EQ(r.sampling.repeat_penalty, 1.5F);
  EXPECT_EQ(r.sampling.presence_penalty, 1.0F);
  EXPECT_EQ(r.sampling.frequency_penalty, 2.0F);
  EXPECT_EQ(r.stops, std::vector<std::string>{"x"});
  EXPECT_EQ(r.keep_alive_seconds, 5400.0);
  EXPECT_EQ(r.top_logprobs, 3);
  EXPECT_EQ(chat(R"({"options":{"num_predict":-2}})").request.max_tokens, -1);
  EXPECT_EQ(chat(R"({"keep_alive":-1})").request.keep_alive_seconds, -1.0);
  EXPECT_EQ(chat_refused(R"({"options":{"top_k":"5"}})").parameter, "options.top_k");
  EXPECT_EQ(chat_refused(R"({"options":{"stop":[1]}})").parameter, "options.stop[0]");
  EXPECT_EQ(chat_refused(R"({"options":[]})").parameter, "options");
  EXPECT_EQ(chat_refused(R"({"keep_alive":"x"})").parameter, "keep_alive");
  EXPECT_EQ(chat_refused(R"({"model":null})").parameter, "model");
}

TEST(OllamaChatRequest, ThinkAndFormat) {
  EXPECT_EQ(chat(R"({"think":true})").request.thinking, true);
  EXPECT_EQ(chat(R"({"think":false})").request.thinking, false);
  const ChatRequest high = chat(R"({"think":"high"})").request;
  EXPECT_EQ(high.thinking, true);
  EXPECT_EQ(high.template_variables["reasoning_effort"], "high");
  EXPECT_EQ(chat_refused(R"({"think":"deep"})").parameter, "think");
  EXPECT_EQ(chat_refused(R"({"think":1})").parameter, "think");
  EXPECT_EQ(chat(R"({"format":"json"})").request.format.kind, OutputFormat::Kind::kJsonObject);
  EXPECT_EQ(chat(R"({"format":""})").request.format.kind, OutputFormat::Kind::kText);
  const ChatRequest schema = chat(R"({"format":{"type":"object"}})").request;
  EXPECT_EQ(schema.format.kind, OutputFormat::Kind::kJsonSchema);
  EXPECT_EQ(schema.format.schema["type"], "object");
  EXPECT_EQ(chat_refused(R"({"format":"xml"})").parameter, "format");
}

TEST(OllamaChatRequest, MessagesBecomeOpenAis) {
  EXPECT_EQ(chat(R"({"messages":[
      {"role":"system","content":"s"},
      {"role":"user","content":"q","images":[]},
      {"role":"assistant","content":"","thinking":"hm","tool_calls":[
        {"function":{"index":0,"name":"f","arguments":{"a":1}}},
        {"id":"own","function":{"name":"g","arguments":{}}},
        {"function":{"name":"f","arguments":{"a":2}}}]},
      {"role":"tool","content":"1","tool_name":"g"},
      {"role":"tool","content":"2"},
      {"role":"tool","content":"3","tool_name":"f"}]})")
                .request.messages,
            Json::parse(R"([
      {"role":"system","content":"s"},
      {"role":"user","content":"q"},
      {"role":"assistant","content":"","reasoning_content":"hm","tool_calls":[
        {"id":"call_1","type":"function","function":{"name":"f","arguments":"{\"a\":1}"}},
        {"id":"own","type":"function","function":{"name":"g","arguments":"{}"}},
        {"id":"call_3","type":"function","function":{"name":"f","arguments":"{\"a\":2}"}}]},
      {"role":"tool","content":"1","tool_call_id":"own","name":"g"},
      {"role":"tool","content":"2","tool_call_id":"call_1","name":"f"},
      {"role":"tool","content":"3","tool_call_id":"call_3","name":"f"}])"));
  EXPECT_TRUE(chat(R"({"messages":[{"role":"user","content":"q"},
      {"role":"assistant","content":"The"}]})")
                  .request.continue_last);
}

TEST(OllamaChatRequest, WrongMessages) {
  EXPECT_EQ(chat_refused(R"({"messages":[{"role":"user","content":"x","images":["AA=="]}]})").code,
            "unsupported_content");
  EXPECT_EQ(chat_refused(R"({"messages":[{"role":"x"}]})").parameter, "messages[0].role");
  EXPECT_EQ(chat_refused(R"({"messages":[{"role":"user","content":[]}]})").parameter,
            "messages[0].content");
  EXPECT_EQ(chat_refused(R"({"messages":[{"role":"assistant","tool_calls":[{}]}]})").parameter,
            "messages[0].tool_calls[0].function");
  EXPECT_EQ(chat_refused(R"({"messages":[{"role":"assistant","tool_calls":[{"function":
      {"name":"f","arguments":[]}}]}]})")
                .parameter,
            "messages[0].tool_calls[0].function.arguments");
}

TEST(OllamaChatRequest, WithoutMessagesLoadsOrUnloads) {
  const auto load = std::get<LoadExchange>(read_ollama_chat(R"({"model":"m"})"));
  EXPECT_FALSE(load.unload);
  const Json reply = Json::parse(ollama_loaded(load, "m", 0));
  EXPECT_EQ(reply, Json::parse(R"({"model":"m","created_at":"1970-01-01T00:00:00Z",
      "message":{"role":"assistant","content":""},"done":true,"done_reason":"load"})"));
  const auto unload =
      std::get<LoadExchange>(read_ollama_generate(R"({"model":"m","keep_alive":"0s"})"));
  EXPECT_TRUE(unload.unload);
  EXPECT_EQ(Json::parse(ollama_loaded(unload, "m", 0))["done_reason"], "unload");
  EXPECT_EQ(Json::parse(ollama_loaded(unload, "m", 0))["response"], "");
}

TEST(OllamaGenerateRequest, Kinds) {
  const auto plain = std::get<ChatExchange>(
      generate(R"({"model":"m","prompt":"p","system":"s","context":[1,2]})"));
  EXPECT_EQ(plain.request.messages,
            Json::parse(R"([{"role":"system","content":"s"},{"role":"user","content":"p"}])"));
  EXPECT_EQ(plain.request.earlier_tokens, (std::vector<std::int32_t>{1, 2}));
  EXPECT_TRUE(plain.request.return_tokens);
  EXPECT_TRUE(plain.request.stream);

  const auto raw = std::get<CompletionExchange>(
      generate(R"({"model":"m","prompt":"p","raw":true,"stream":false})"));
  EXPECT_EQ(raw.request.prompts, std::vector<std::string>{"p"});
  EXPECT_EQ(raw.request.tokens.size(), 1U);
  EXPECT_FALSE(raw.request.stream);

  const auto fill =
      std::get<CompletionExchange>(generate(R"({"model":"m","prompt":"a","suffix":"b"})"));
  EXPECT_EQ(fill.request.suffix, "b");

  EXPECT_EQ(generate_refused(R"({"model":"m","prompt":"p","raw":true,"system":"s"})").parameter,
            "raw");
  EXPECT_EQ(generate_refused(R"({"model":"m","prompt":"p","template":"{{ .Prompt }}"})").parameter,
            "template");
  EXPECT_EQ(generate_refused(R"({"model":"m","prompt":"p","images":["AA=="]})").parameter,
            "images");
  EXPECT_EQ(generate_refused(R"({"model":"m","prompt":"p","context":[-1]})").parameter,
            "context[0]");
  EXPECT_EQ(generate_refused(R"({"prompt":"p"})").parameter, "model");
}

std::vector<text::ReplyEvent> rich_reply() {
  std::vector<text::ReplyEvent> events = {reasoning_event("hm"), text_event("Hel"),
                                          text_event("lo")};
  for (const auto& event : whole_call(0, "f", R"({"a":[1]})", "call_1")) events.push_back(event);
  return events;
}

const char* const kMetrics = R"({"total_duration":3000000000,"load_duration":250000000,
    "prompt_eval_count":9,"prompt_eval_duration":500000000,"eval_count":12,
    "eval_duration":2000000000})";

void expect_metrics(const Json& reply) {
  const Json metrics = Json::parse(kMetrics);
  for (const auto& [name, value] : metrics.items()) EXPECT_EQ(reply[name], value);
}

TEST(OllamaReply, ChatStream) {
  const auto writer = chat().writer;
  EXPECT_EQ(writer->content_type(), "application/x-ndjson");
  const auto lines = read_lines(write_reply(*writer, rich_reply(), {EndReason::kToolCalls, ""}));
  ASSERT_EQ(lines.size(), 5U);
  for (std::size_t i = 0; i < 5; ++i) {
    EXPECT_EQ(lines[i]["model"], "m");
    EXPECT_EQ(lines[i]["created_at"], "2024-12-25T15:57:03Z");
    EXPECT_EQ(lines[i]["done"], i == 4);
    EXPECT_EQ(lines[i].contains("done_reason"), i == 4);
  }
  EXPECT_EQ(lines[0]["message"],
            Json::parse(R"({"role":"assistant","content":"","thinking":"hm"})"));
  EXPECT_EQ(lines[1]["message"], Json::parse(R"({"role":"assistant","content":"Hel"})"));
  EXPECT_EQ(lines[3]["message"], Json::parse(R"({"role":"assistant","content":"","tool_calls":[
      {"id":"call_1","function":{"index":0,"name":"f","arguments":{"a":[1]}}}]})"));
  EXPECT_EQ(lines[4]["message"], Json::parse(R"({"role":"assistant","content":""})"));
  EXPECT_EQ(lines[4]["done_reason"], "stop");
  expect_metrics(lines[4]);
}

TEST(OllamaReply, ChatCollected) {
  const auto writer = chat(R"({"stream":false})").writer;
  EXPECT_EQ(writer->content_type(), "application/json");
  const Json reply = Json::parse(write_reply(*writer, rich_reply(), {EndReason::kLength, ""}));
  EXPECT_EQ(reply["message"], Json::parse(R"({"role":"assistant","content":"Hello","thinking":"hm",
      "tool_calls":[{"id":"call_1","function":{"index":0,"name":"f","arguments":{"a":[1]}}}]})"));
  EXPECT_EQ(reply["done"], true);
  EXPECT_EQ(reply["done_reason"], "length");
  expect_metrics(reply);
}

TEST(OllamaReply, GenerateGivesContext) {
  for (const bool stream : {true, false}) {
    const auto writer =
        std::get<ChatExchange>(generate(stream ? R"({"model":"m","prompt":"p"})"
                                               : R"({"model":"m","prompt":"p","stream":false})"))
            .writer;
    Usage used = usage();
    used.prompt_ids = {1, 2};
    used.reply_ids = {3};
    std::string bytes = writer->begin(header());
    bytes += writer->event(0, reasoning_event("r"), {});
    bytes += writer->event(0, text_event("a"), {});
    bytes += writer->choice_end(0, {});
    bytes += writer->end(used);
    const auto lines = read_lines(stream ? bytes : bytes + "\n");
    ASSERT_EQ(lines.size(), stream ? 3U : 1U);
    EXPECT_EQ(lines[0]["thinking"], "r");
    EXPECT_EQ(lines.back()["response"], stream ? "" : "a");
    EXPECT_EQ(lines.back()["context"], Json::parse("[1,2,3]"));
    expect_metrics(lines.back());
  }
}

TEST(OllamaReply, LogprobsFailuresAndOddArguments) {
  const auto writer = chat(R"({"logprobs":true})").writer;
  static_cast<void>(writer->begin(header()));
  const auto line =
      read_lines(writer->event(0, text_event("a"), {{.token = "a", .logprob = -1, .top = {}}}));
  EXPECT_EQ(line[0]["logprobs"],
            Json::parse(R"([{"token":"a","logprob":-1.0,"bytes":[97],"top_logprobs":[]}])"));
  EXPECT_EQ(writer->fail(500, "broken"), "{\"error\":\"broken\"}\n");
  const auto call = read_lines(
      writer->event(0, call_event(Kind::kToolCallEnd, 0, "f", std::string(100000, '['), "x"), {}));
  EXPECT_TRUE(call[0]["message"]["tool_calls"][0]["function"]["arguments"].is_object());
}

TEST(OllamaEmbeddings, RequestsAndReplies) {
  const EmbeddingRequest one = read_ollama_embed(R"({"model":"m","input":"a"})");
  EXPECT_EQ(one.inputs, std::vector<std::string>{"a"});
  EXPECT_TRUE(one.truncate);
  const EmbeddingRequest two =
      read_ollama_embed(R"({"model":"m","input":["a","b"],"dimensions":3,"truncate":false})");
  EXPECT_EQ(two.inputs.size(), 2U);
  EXPECT_EQ(two.tokens.size(), 2U);
  EXPECT_EQ(two.dimensions, 3);
  EXPECT_FALSE(two.truncate);
  EXPECT_EQ(
      refusal([] { return read_ollama_embed(R"({"model":"m","input":["a",""]})"); }).parameter,
      "input[1]");
  EXPECT_EQ(refusal([] { return read_ollama_embed(R"({"model":"m"})"); }).parameter, "input");
  EXPECT_EQ(read_ollama_embeddings(R"({"model":"m","prompt":"a"})").inputs.size(), 1U);
  EXPECT_TRUE(read_ollama_embeddings(R"({"model":"m"})").inputs.empty());
  const std::vector<std::vector<float>> vectors = {{0.5F, -0.25F}, {1, 0}};
  EXPECT_EQ(ollama_embed("m", vectors, usage()),
            R"({"model":"m","embeddings":[[0.5,-0.25],[1,0]],"total_duration":3000000000,)"
            R"("load_duration":250000000,"prompt_eval_count":9})");
  EXPECT_EQ(ollama_embeddings(vectors[0]), R"({"embedding":[0.5,-0.25]})");
}

ModelFacts facts() {
  ModelFacts model;
  model.name = "qwen3:4b";
  model.modified = 1735142223;
  model.size = 123;
  model.sha256 = std::string(64, 'a');
  model.family = "qwen3";
  model.parameters = 7600000000;
  model.quantization = "Q4_K_M";
  model.context = 32768;
  model.capabilities = {"completion", "tools"};
  return model;
}

TEST(OllamaModels, TagsAreNewestFirst) {
  ModelFacts old = facts();
  old.name = "old";
  old.modified = 5;
  const std::vector<ModelFacts> models = {old, facts()};
  const Json reply = Json::parse(ollama_tags(models));
  EXPECT_EQ(reply["models"][0], Json::parse(R"({"name":"qwen3:4b","model":"qwen3:4b",
      "modified_at":"2024-12-25T15:57:03Z","size":123,
      "digest":"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
      "details":{"parent_model":"","format":"gguf","family":"qwen3","families":["qwen3"],
      "parameter_size":"7.6B","quantization_level":"Q4_K_M","context_length":32768},
      "capabilities":["completion","tools"]})"));
  EXPECT_EQ(reply["models"][1]["name"], "old");
  EXPECT_EQ(ollama_tags({}), R"({"models":[]})");
}

TEST(OllamaModels, Running) {
  LoadedModelFacts loaded;
  loaded.model = facts();
  loaded.model.serve_context = 8192;
  loaded.memory = 7;
  const std::vector<LoadedModelFacts> models = {loaded};
  const Json reply = Json::parse(ollama_ps(models))["models"][0];
  EXPECT_EQ(reply["context_length"], 8192);
  EXPECT_EQ(reply["size"], 7);
  EXPECT_EQ(reply["size_vram"], 0);
  EXPECT_EQ(reply["expires_at"], "9999-12-31T23:59:59Z");
}

TEST(OllamaModels, Show) {
  EXPECT_EQ(read_ollama_show(R"({"name":"m"})").model, "m");
  EXPECT_TRUE(read_ollama_show(R"({"model":"m","verbose":true})").verbose);
  EXPECT_EQ(refusal([] { return read_ollama_show("{}"); }).parameter, "model");
  ModelDetails details;
  details.facts = facts();
  details.chat_template = "T";
  details.parameters = {{"stop", "<|im end|>"}, {"stop", "<|eot|>"}, {"temperature", "0.7"}};
  details.metadata = Json::parse(R"({"general.architecture":"qwen3","tokens":["a"]})");
  details.tensors = Json::array();
  const Json brief = Json::parse(ollama_show(details, false));
  EXPECT_TRUE(brief["model_info"]["tokens"].is_null());
  EXPECT_FALSE(brief.contains("tensors"));
  EXPECT_FALSE(brief.contains("license"));
  EXPECT_EQ(brief["parameters"],
            "stop                          \"<|im end|>\"\n"
            "stop                          \"<|eot|>\"\n"
            "temperature                   0.7");
  EXPECT_EQ(brief["capabilities"], Json::parse(R"(["completion","tools"])"));
  const Json verbose = Json::parse(ollama_show(details, true));
  EXPECT_EQ(verbose["model_info"]["tokens"], Json::parse(R"(["a"])"));
  EXPECT_TRUE(verbose.contains("tensors"));
}

TEST(OllamaModels, CreateCopyDeletePull) {
  const OllamaCreate create = read_ollama_create(R"({"model":"new","from":"old","system":"s",
      "template":"t","license":["l"],"parameters":{"temperature":0.5,"stop":["a","b"],"x":true},
      "messages":[{"role":"user","content":"q"}],"quantize":"q4_K_M","stream":false})");
  EXPECT_EQ(create.model, "new");
  EXPECT_EQ(create.from, "old");
  EXPECT_EQ(create.parameters, Json::parse(R"({"temperature":0.5,"stop":["a","b"],"x":true})"));
  EXPECT_EQ(create.license, std::vector<std::string>{"l"});
  EXPECT_EQ(create.messages.size(), 1U);
  EXPECT_FALSE(create.stream);
  const std::string digest = "sha256:" + std::string(64, '0');
  EXPECT_EQ(read_ollama_create(R"({"model":"n","files":{"a.gguf":")" + digest + "\"}}")
                .files.at("a.gguf"),
            digest);
  const auto wrong = [](const char* body) {
    return refusal([&] { return read_ollama_create(body); }).parameter;
  };
  EXPECT_EQ(wrong(R"({"model":"n"})"), "from");
  EXPECT_EQ(wrong(R"({"from":"x"})"), "model");
  EXPECT_EQ(wrong(R"({"model":"n","files":{"a":"sha256:1"}})"), "files.a");
  EXPECT_EQ(wrong(R"({"model":"n","from":"x","parameters":{"a":{}}})"), "parameters.a");
  EXPECT_EQ(wrong(R"({"model":"n","from":"x","parameters":{"top_p":7}})"), "parameters.top_p");
  EXPECT_EQ(wrong(R"({"model":"n","from":"x","parameters":{"top_k":"many"}})"), "parameters.top_k");
  EXPECT_EQ(wrong(R"({"model":"n","modelfile":"FROM x"})"), "modelfile");
  EXPECT_EQ(read_ollama_copy(R"({"source":"a","destination":"b"})").destination, "b");
  EXPECT_EQ(refusal([] { return read_ollama_copy(R"({"source":"a"})"); }).parameter, "destination");
  EXPECT_EQ(read_ollama_delete(R"({"model":"a"})"), "a");
  const OllamaPull pull = read_ollama_pull(R"({"name":"a","stream":false})");
  EXPECT_EQ(pull.model, "a");
  EXPECT_FALSE(pull.stream);
  EXPECT_EQ(ollama_status("success"), "{\"status\":\"success\"}\n");
  EXPECT_EQ(ollama_progress("pulling 1", "sha256:1", 10, 5),
            "{\"status\":\"pulling 1\",\"digest\":\"sha256:1\",\"total\":10,\"completed\":5}\n");
  EXPECT_EQ(ollama_error_line("a\"b"), "{\"error\":\"a\\\"b\"}\n");
  EXPECT_EQ(ollama_version("1.2"), R"({"version":"1.2"})");
  EXPECT_EQ(sha256_of_digest("sha256-" + std::string(64, 'A')), std::string(64, 'a'));
  EXPECT_FALSE(sha256_of_digest("sha256:../../etc/passwd"));
}

TEST(OllamaModels, ParametersOfModelfilesAreTexts) {
  const Json typed = typed_ollama_parameters(
      Json::parse(R"({"temperature":"0.25","num_ctx":"2048","stop":"a","seed":7})"));
  EXPECT_EQ(typed, Json::parse(R"({"temperature":0.25,"num_ctx":2048,"stop":"a","seed":7})"));
  const OllamaOptions options = read_ollama_options(typed);
  EXPECT_EQ(options.sampling.temperature, 0.25F);
  EXPECT_EQ(options.sampling.seed, 7U);
  EXPECT_EQ(options.context, 2048);
  EXPECT_EQ(options.stops, std::vector<std::string>{"a"});
  using Lines = std::vector<std::pair<std::string, std::string>>;
  EXPECT_EQ(ollama_parameter_lines(R"({"top_k":5,"stop":["a","b"]})"),
            (Lines{{"top_k", "5"}, {"stop", "a"}, {"stop", "b"}}));
  EXPECT_EQ(ollama_parameter_lines("no JSON"), Lines());
  std::string many = R"({"top_k":"5")";
  for (int i = 0; i < 1024; ++i) many += ",\"k" + std::to_string(i) + "\":1";
  EXPECT_EQ(ollama_parameter_lines(many + "}"), Lines());
  EXPECT_THROW((void)typed_ollama_parameters({{"num_ctx", many + "}"}}), RequestError);
}

TEST(OllamaModels, ExtrasOfStrangersAreReadAsFarAsTheyCanBe) {
  ModelExtras extras;
  extras.system = "be brief";
  extras.parameters = R"({"temperature":"hot"})";
  const ModelDefaults defaults = read_extras(extras);
  EXPECT_EQ(defaults.system, "be brief");
  EXPECT_FALSE(defaults.sampling.temperature);
  extras.parameters = R"({"temperature":0.5,"num_predict":9})";
  extras.messages = R"([{"role":"user","content":"q"}])";
  EXPECT_EQ(read_extras(extras).sampling.temperature, 0.5F);
  EXPECT_EQ(read_extras(extras).max_tokens, 9);
  EXPECT_EQ(read_extras(extras).messages.size(), 1U);
}

TEST(OllamaModels, OneBadSettingTakesNothingElseAlong) {
  ModelExtras extras;
  extras.parameters = R"({"num_predict":9,"temperature":"hot","top_k":{},"stop":["a"]})";
  extras.messages = R"([{"role":"user","content":"q"}])";
  ModelDefaults defaults = read_extras(extras);
  EXPECT_EQ(defaults.max_tokens, 9);
  EXPECT_FALSE(defaults.sampling.temperature);
  EXPECT_EQ(defaults.stops, std::vector<std::string>{"a"});
  EXPECT_EQ(defaults.messages.size(), 1U);
  ASSERT_EQ(defaults.problems.size(), 2U);
  EXPECT_NE(defaults.problems[0].find("parameters.temperature"), std::string::npos);
  EXPECT_NE(defaults.problems[1].find("parameters.top_k"), std::string::npos);
  extras.parameters = "[1";
  extras.messages = R"([{"role":"nobody"}])";
  extras.system = "be brief";
  defaults = read_extras(extras);
  EXPECT_EQ(defaults.system, "be brief");
  EXPECT_EQ(defaults.messages, Json::array());
  EXPECT_EQ(defaults.problems.size(), 2U);
}

/// They are read again when the model is used.
TEST(OllamaModels, MessagesAreStoredAsTheyWereSent) {
  const Json sent = Json::parse(
      R"([{"role":"user","content":"q"},
          {"role":"assistant","content":"a","thinking":"hm",
           "tool_calls":[{"function":{"name":"f","arguments":{"x":1}}}]},
          {"role":"tool","content":"r","tool_name":"f"}])");
  const Json body = {{"model", "m"}, {"from", "base"}, {"messages", sent}};
  ModelExtras extras;
  extras.messages = read_ollama_create(body.dump()).messages.dump();
  EXPECT_EQ(Json::parse(extras.messages), sent);
  const ModelDefaults defaults = read_extras(extras);
  EXPECT_EQ(defaults.problems, std::vector<std::string>());
  ASSERT_EQ(defaults.messages.size(), 3U);
  EXPECT_EQ(defaults.messages[1]["reasoning_content"], "hm");
  EXPECT_EQ(defaults.messages[1]["tool_calls"][0]["function"]["name"], "f");
  EXPECT_EQ(defaults.messages[2]["tool_call_id"], defaults.messages[1]["tool_calls"][0]["id"]);
}

TEST(OllamaModels, TellsGosTemplatesFromJinja) {
  for (const char* go : {"{{ .Prompt }}", "{{- if .System }}x{{ end }}", "{{.Prompt}}",
                         "{{ range $i, $_ := .Messages }}{{ end }}", "a {{- $last := 1 }}"})
    EXPECT_TRUE(is_go_template(go)) << go;
  for (const char* jinja :
       {"", "text", "{{ bos_token }}{% for m in messages %}{{ m.content }}{% endfor %}",
        "{{- '<s>' + m['content'] -}}", "{{ 1.5 }}", "{{ endless }}"})
    EXPECT_FALSE(is_go_template(jinja)) << jinja;
}

}  // namespace
}  // namespace hearth::serve
