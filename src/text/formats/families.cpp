#include "text/formats/families.h"

#include <algorithm>

#include "text/formats/scan.h"

namespace hearth::text {
namespace {

const ReasoningMarkers kThink{"<think>", "</think>"};

CallSyntax json_calls(std::string open, std::string close) {
  CallSyntax syntax;
  syntax.kind = CallKind::kJson;
  syntax.open = std::move(open);
  syntax.close = std::move(close);
  return syntax;
}

CallSyntax python_calls(std::string open, std::string close) {
  CallSyntax syntax = json_calls(std::move(open), std::move(close));
  syntax.kind = CallKind::kPython;
  return syntax;
}

CallSyntax code_call(std::string open, std::string tool) {
  CallSyntax syntax = json_calls(std::move(open), {});
  syntax.kind = CallKind::kCode;
  syntax.code_tool = std::move(tool);
  return syntax;
}

CallSyntax marked_calls(std::string open, std::vector<std::string> name_ends, std::string close) {
  CallSyntax syntax = json_calls(std::move(open), std::move(close));
  syntax.kind = CallKind::kMarked;
  syntax.name_ends = std::move(name_ends);
  return syntax;
}

/// <function=NAME><parameter=KEY>VALUE</parameter></function> inside `open` and `close`.
CallSyntax function_elements(std::string open, std::string close) {
  CallSyntax syntax = json_calls(std::move(open), std::move(close));
  syntax.kind = CallKind::kElements;
  syntax.call_open = "<function=";
  syntax.name_end = ">";
  syntax.call_close = "</function>";
  syntax.key_open = "<parameter=";
  syntax.key_end = ">";
  syntax.value_close = "</parameter>";
  syntax.newline_around_values = true;
  syntax.bare_call_open = true;
  return syntax;
}

/// <invoke name="NAME"><parameter name="KEY">VALUE</parameter></invoke> with `prefix` before every
/// tag's name.
CallSyntax invoke_elements(std::string outer, const std::string& prefix) {
  CallSyntax syntax = json_calls("<" + prefix + outer + ">", "</" + prefix + outer + ">");
  syntax.kind = CallKind::kElements;
  syntax.call_open = "<" + prefix + "invoke name=\"";
  syntax.name_end = "\">";
  syntax.call_close = "</" + prefix + "invoke>";
  syntax.key_open = "<" + prefix + "parameter name=\"";
  syntax.key_end = "\">";
  syntax.value_close = "</" + prefix + "parameter>";
  syntax.bare_call_open = true;
  return syntax;
}

/// <tool_call>NAME<arg_key>KEY</arg_key><arg_value>VALUE</arg_value></tool_call>, `suffix` at the
/// end of every tag's name.
CallSyntax key_value_elements(const std::string& suffix) {
  CallSyntax syntax = json_calls("<tool_call" + suffix + ">", {});
  syntax.kind = CallKind::kElements;
  syntax.call_open = syntax.open;
  syntax.call_close = "</tool_call" + suffix + ">";
  syntax.key_open = "<arg_key" + suffix + ">";
  syntax.key_end = "</arg_key" + suffix + ">";
  syntax.value_open = "<arg_value" + suffix + ">";
  syntax.value_close = "</arg_value" + suffix + ">";
  return syntax;
}

ChatFormat named(std::string name, std::vector<CallSyntax> calls) {
  ChatFormat format;
  format.name = std::move(name);
  format.calls = std::move(calls);
  format.reasoning = {kThink};
  return format;
}

ChatFormat hermes(std::string name) {
  // Some models write the objects without the tags, or inside a code fence at the start of the
  // answer.
  return named(std::move(name), {json_calls("<tool_call>", "</tool_call>"), json_calls({}, {})});
}

ChatFormat harmony() {
  ChatFormat format = named("harmony", {});
  format.frame = ReplyFrame::kHarmony;
  format.reasoning.clear();
  format.stops = {"<|return|>", "<|call|>"};
  return format;
}

ChatFormat functionary_recipients() {
  ChatFormat format = named("functionary-v3.2", {});
  format.frame = ReplyFrame::kRecipients;
  format.reasoning.clear();
  return format;
}

ChatFormat solar() {
  CallSyntax call =
      marked_calls("<|tool_call:begin|>", {"<|tool_call:args|>"}, "<|tool_call:end|>");
  call.id_end = "<|tool_call:name|>";
  ChatFormat format = named("solar", {call});
  format.reasoning = {{"<|think|>", "<|end|>"}};
  format.ignored = {
      {"<|begin|>assistant", ""}, {"<|content|>", ""}, {"<|end|>", ""}, {"<|tool_calls|>", ""}};
  format.after_reasoning = "<|begin|>assistant";
  format.stops = {"<|calls|>", "<|flush|>"};
  return format;
}

ChatFormat kimi() {
  CallSyntax call =
      marked_calls("<|tool_call_begin|>", {"<|tool_call_argument_begin|>"}, "<|tool_call_end|>");
  call.name_in_id = true;
  ChatFormat format = named("kimi-k2", {call});
  format.ignored = {{"<|tool_calls_section_begin|>", ""}, {"<|tool_calls_section_end|>", ""}};
  format.ids = IdStyle::kKimi;
  return format;
}

ChatFormat deepseek_dsml() {
  CallSyntax v32 = invoke_elements("function_calls", "｜DSML｜");
  v32.key_end = ">";
  v32.string_attribute = true;
  CallSyntax v4 = v32;
  v4.open = "<｜DSML｜tool_calls>";
  v4.close = "</｜DSML｜tool_calls>";
  return named("deepseek-dsml", {v32, v4});
}

ChatFormat deepseek() {
  CallSyntax call =
      marked_calls("<｜tool▁call▁begin｜>", {"<｜tool▁sep｜>"}, "<｜tool▁call▁end｜>");
  call.prefix = "function<｜tool▁sep｜>";
  ChatFormat format = named("deepseek", {call});
  format.ignored = {{"<｜tool▁calls▁begin｜>", ""}, {"<｜tool▁calls▁end｜>", ""}};
  return format;
}

ChatFormat minimax_m3() {
  static const std::string kMarker = "]<]minimax[>[";
  CallSyntax call = json_calls(kMarker + "<tool_call>", kMarker + "</tool_call>");
  call.kind = CallKind::kNestedElements;
  call.tag_marker = kMarker;
  call.call_open = kMarker + "<invoke name=\"";
  call.name_end = "\">";
  call.call_close = kMarker + "</invoke>";
  ChatFormat format = named("minimax-m3", {call});
  format.reasoning = {{"<mm:think>", "</mm:think>"}};
  format.trim_start = true;
  return format;
}

ChatFormat minimax_m2() {
  ChatFormat format = named("minimax-m2", {invoke_elements("minimax:tool_call", "")});
  // The prefix belongs to the outer tag only.
  format.calls[0].open = "<minimax:tool_call>";
  format.calls[0].close = "</minimax:tool_call>";
  return format;
}

ChatFormat gemma4() {
  CallSyntax call = marked_calls("<|tool_call>", {}, "<tool_call|>");
  call.prefix = "call:";
  call.quote_token = "<|\"|>";
  ChatFormat format = named("gemma-4", {call});
  format.reasoning = {{"<|channel>thought", "<channel|>"}};
  format.stops = {"<|tool_response>"};
  return format;
}

ChatFormat function_gemma() {
  CallSyntax call = marked_calls("<start_function_call>", {}, "<end_function_call>");
  call.prefix = "call:";
  call.quote_token = "<escape>";
  ChatFormat format = named("function-gemma", {call});
  format.stops = {"<start_function_response>"};
  return format;
}

/// The text that Hunyuan's template appends to the names of its tags.
std::string hunyuan_suffix(std::string_view source) {
  for (std::string_view start : {std::string_view("HYTK = '"), std::string_view("HYTK = \""),
                                 std::string_view("<tool_sep")}) {
    const std::size_t at = source.find(start);
    if (at == std::string_view::npos) continue;
    const std::string_view rest = source.substr(at + start.size());
    const std::string_view suffix =
        rest.substr(0, std::min(rest.find_first_of("'\">{"), rest.size()));
    if (suffix.size() <= 24) return std::string(suffix);
  }
  return {};
}

ChatFormat hunyuan3(std::string_view source) {
  const std::string suffix = hunyuan_suffix(source);
  CallSyntax call = key_value_elements(suffix);
  call.name_end = "<tool_sep" + suffix + ">";
  ChatFormat format = named("hunyuan-3", {call});
  format.reasoning = {{"<think" + suffix + ">", "</think" + suffix + ">"}};
  format.ignored = {{"<tool_calls" + suffix + ">", ""}, {"</tool_calls" + suffix + ">", ""}};
  format.stops = {"<｜hy_eos" + suffix + "｜>"};
  return format;
}

ChatFormat glm(std::string_view source) {
  ChatFormat format =
      named("glm-4.5", {key_value_elements({}), json_calls("<tool_call>", "</tool_call>")});
  if (contains(source, "<|observation|>"))
    format.stops = {"<|user|>", "<|observation|>", "<|endoftext|>"};
  if (contains(source, "</assistant>")) {
    format.name = "laguna";
    format.stops = {"</assistant>"};
  }
  format.trim_start = true;
  return format;
}

ChatFormat seed() {
  ChatFormat format =
      named("seed-oss", {function_elements("<seed:tool_call>", "</seed:tool_call>")});
  format.reasoning = {{"<seed:think>", "</seed:think>"}};
  return format;
}

ChatFormat minicpm5() {
  CallSyntax call = json_calls("<function name=\"", {});
  call.kind = CallKind::kElements;
  call.call_open = call.open;
  call.name_end = "\">";
  call.call_close = "</function>";
  call.key_open = "<param name=\"";
  call.key_end = "\">";
  call.value_close = "</param>";
  call.cdata = true;
  return named("minicpm-5", {call});
}

ChatFormat apertus() {
  CallSyntax call = json_calls("<|tools_prefix|>", "<|tools_suffix|>");
  call.name_is_key = true;
  ChatFormat format = named("apertus", {call});
  format.reasoning = {{"<|inner_prefix|>", "<|inner_suffix|>"}};
  return format;
}

ChatFormat apriel() {
  ChatFormat format = named("apriel", {json_calls("<tool_calls>", "</tool_calls>")});
  format.reasoning = {{"Here are my reasoning steps:", "[BEGIN FINAL RESPONSE]"}};
  format.ignored = {{"[END FINAL RESPONSE]", ""}};
  format.calls_end_reasoning = true;
  format.trim_start = true;
  return format;
}

ChatFormat gigachat(std::string_view source) {
  if (contains(source, "<|function_call|>")) {
    ChatFormat format = named("gigachat-3.1", {json_calls("<|function_call|>", {})});
    format.stops = {"<|message_sep|>"};
    return format;
  }
  ChatFormat format =
      named("gigachat-3", {json_calls("<|message_sep|>\n\nfunction call<|role_sep|>\n", {})});
  format.stops = {"<|message_sep|>"};
  return format;
}

ChatFormat mistral() {
  CallSyntax call = marked_calls("[TOOL_CALLS]", {"[CALL_ID]", "[ARGS]"}, {});
  call.id_open = "[CALL_ID]";
  call.arguments_open = "[ARGS]";
  ChatFormat format = named("mistral", {json_calls("[TOOL_CALLS]", {}), call});
  format.reasoning = {{"[THINK]", "[/THINK]"}, kThink};
  format.ids = IdStyle::kNineAlphanumerics;
  format.stops = {"</s>"};
  return format;
}

ChatFormat command_r7b() {
  ChatFormat format = named("command-r7b", {json_calls("<|START_ACTION|>", "<|END_ACTION|>")});
  format.reasoning = {{"<|START_THINKING|>", "<|END_THINKING|>"}};
  format.ignored = {{"<|START_RESPONSE|>", ""},
                    {"<|END_RESPONSE|>", ""},
                    {"<|START_TEXT|>", ""},
                    {"<|END_TEXT|>", ""},
                    {"<co>", ""},
                    {"</co: ", ">"}};
  format.ids = IdStyle::kCounter;
  return format;
}

ChatFormat command_r() {
  ChatFormat format = named("command-r", {json_calls("Action:", {})});
  format.ignored = {{"<co: ", ">"}, {"</co: ", ">"}};
  format.no_call_tool = "directly-answer";
  format.ids = IdStyle::kCounter;
  return format;
}

ChatFormat llama(std::string_view source) {
  const bool four = contains(source, "<|header_start|>");
  ChatFormat format =
      named(four ? "llama-4" : "llama-3", {json_calls({}, {}), python_calls({}, {})});
  for (const char* open : {"<|python_tag|>", "<|python_start|>"}) {
    if (!contains(source, "<|python_tag|>") && !four) break;
    format.calls.push_back(json_calls(open, {}));
    format.calls.push_back(python_calls(open, {}));
    format.calls.push_back(code_call(open, "code_interpreter"));
  }
  if (four) {
    for (CallSyntax& call : format.calls) {
      if (call.open == "<|python_start|>") call.close = "<|python_end|>";
    }
    format.ignored = {{"<|python_end|>", ""}};
  }
  return format;
}

ChatFormat functionary_31() {
  return named("functionary-v3.1", {marked_calls("<function=", {">"}, "</function>"),
                                    code_call("<|python_tag|>", "python")});
}

ChatFormat granite3() {
  ChatFormat format = named(
      "granite-3", {json_calls("<|tool_call|>", {}), json_calls("<tool_call>", "</tool_call>")});
  format.ignored = {{"<response>", ""}, {"</response>", ""}};
  return format;
}

ChatFormat old_glm() {
  ChatFormat format = named("glm-4", {marked_calls({}, {"\n"}, {})});
  format.stops = {"<|user|>", "<|observation|>", "<|endoftext|>"};
  format.trim_start = true;
  return format;
}

/// The formats that have a marker of their own; the most telling markers first.
ChatFormat find_calls(std::string_view source) {
  const auto has = [source](std::string_view part) { return contains(source, part); };
  if (has("<|channel|>") && has("<|message|>")) return harmony();
  if (has(">>>all")) return functionary_recipients();
  if (has("<|tool_call:begin|>")) return solar();
  if (has("<|tool_call_begin|>")) return kimi();
  if (has("｜DSML｜")) return deepseek_dsml();
  if (has("｜tool▁") || has("<｜Assistant｜>")) return deepseek();
  if (has("]<]minimax[>[")) return minimax_m3();
  if (has("<minimax:tool_call>")) return minimax_m2();
  if (has("<|tool_call>")) return gemma4();
  if (has("<start_function_call>")) return function_gemma();
  if (has("<param name=")) return minicpm5();
  if (has("<tool_sep")) return hunyuan3(source);
  if (has("<arg_key>")) return glm(source);
  if (has("<seed:tool_call>")) return seed();
  if (has("<function=") && has("<parameter=")) {
    ChatFormat format = named("xml-function", {function_elements("<tool_call>", "</tool_call>"),
                                               json_calls("<tool_call>", "</tool_call>")});
    return format;
  }
  if (has("<function=")) return functionary_31();
  if (has("<|tool_call_start|>") || has("List of tools: [")) {
    return named("lfm-2", {python_calls("<|tool_call_start|>", "<|tool_call_end|>"),
                           json_calls("<|tool_call_start|>", "<|tool_call_end|>")});
  }
  if (has("<|tools_prefix|>")) return apertus();
  if (has("[BEGIN FINAL RESPONSE]")) return apriel();
  if (has("<|role_sep|>")) return gigachat(source);
  if (has("[TOOL_CALLS]") || has("[INST]")) return mistral();
  if (has("<TOOLCALL>")) return named("nemotron-nano", {json_calls("<TOOLCALL>", "</TOOLCALL>")});
  if (has("<|START_ACTION|>")) return command_r7b();
  if (has("<|START_OF_TURN_TOKEN|>")) return command_r();
  if (has("functools")) return named("firefunction", {json_calls("functools", {})});
  if (has("<|tool|>"))
    return named("phi-4-mini",
                 {json_calls("<|tool_call|>", "<|/tool_call|>"), json_calls("functools", {})});
  if (has("<function_calls>")) {
    ChatFormat format = named("olmo-3", {python_calls("<function_calls>", "</function_calls>")});
    format.calls[0].on_lines = true;
    return format;
  }
  if (has("<tool_call>")) return hermes("hermes");
  if (has("<|start_of_role|>")) return granite3();
  if (has("<|header_start|>") || (has("<|start_header_id|>") && (has("ipython") || has("tools"))))
    return llama(source);
  if (has("[gMASK]")) return old_glm();
  return named("plain", {});
}

}  // namespace

ChatFormat find_family(std::string_view template_source) {
  ChatFormat format = find_calls(template_source);
  if (format.frame == ReplyFrame::kHarmony) return format;
  static constexpr std::string_view kTurnEnds[] = {
      "<|im_end|>",
      "<|eot_id|>",
      "<|eom_id|>",
      "<|end_of_text|>",
      "<|endoftext|>",
      "<end_of_turn>",
      "<turn|>",
      "<|end|>",
      "<|eot|>",
      "[e~[",
      "<seed:eos>",
      "<｜end▁of▁sentence｜>",
      "<|END_OF_TURN_TOKEN|>",
      "<|assistant_end|>",
      "<SPECIAL_12>",
      "<sep>",
      "[EOS]",
      "<|eom|>",
  };
  for (std::string_view end : kTurnEnds) {
    const bool known =
        std::find(format.stops.begin(), format.stops.end(), end) != format.stops.end();
    const bool has_meaning =
        std::any_of(format.ignored.begin(), format.ignored.end(),
                    [&](const IgnoredMarkup& markup) { return markup.open == end; });
    if (!known && !has_meaning && contains(template_source, end)) format.stops.emplace_back(end);
  }
  return format;
}

}  // namespace hearth::text
