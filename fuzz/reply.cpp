// The reply reader under arbitrary streams: the first byte picks a format, the second seeds how the
// rest is cut into pieces. Whatever the cuts, the events must add up to the same reply, and every
// text must be well-formed UTF-8.
#include <cstdint>
#include <cstdlib>
#include <iterator>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "support/utf8.h"
#include "text/reply_reader.h"

namespace {

using hearth::text::ChatFormat;
using hearth::text::ReplyEvent;
using hearth::text::ReplyReader;

/// One telling snippet per family, enough for its detection.
constexpr std::string_view kTemplates[] = {
    "plain",
    "<|channel|> <|message|>",
    ">>>all",
    "<|tool_call:begin|>",
    "<|tool_call_begin|>",
    "｜DSML｜",
    "<｜tool▁sep｜>",
    "]<]minimax[>[",
    "<minimax:tool_call>",
    "<|tool_call>",
    "<start_function_call>",
    "set HYTK = ':o' <tool_sep",
    "<arg_key>",
    "<seed:tool_call>",
    "<param name=",
    "<function= <parameter= <|im_end|>",
    "<function= <|eot_id|>",
    "<|tool_call_start|>",
    "<|tools_prefix|>",
    "[BEGIN FINAL RESPONSE]",
    "<|role_sep|>",
    "<|role_sep|><|function_call|>",
    "[TOOL_CALLS]",
    "<TOOLCALL>",
    "<|START_ACTION|>",
    "<|START_OF_TURN_TOKEN|>",
    "functools",
    "<|tool|>",
    "<function_calls>",
    "<tool_call> <|im_end|>",
    "<|start_of_role|>",
    "<|start_header_id|> ipython <|python_tag|>",
    "<|header_start|>",
    "[gMASK]",
};

const nlohmann::ordered_json& tools() {
  static const auto parsed =
      nlohmann::ordered_json::parse(R"([{"type":"function","function":{"name":"f","parameters":{
    "type":"object","properties":{"a":{"type":"string"},"b":{"type":"integer"},"o":{"$ref":"#/$defs/o"}},
    "$defs":{"o":{"type":"object","properties":{"l":{"type":"array","items":{"type":["number","null"]}}}}}}}},
    {"name":"python"},{"name":"code_interpreter"}])");
  return parsed;
}

void require(bool condition) {
  if (!condition) std::abort();
}

/// The events added up, one line per thing; deltas of one kind that touch are joined.
class Sum {
 public:
  void add(const std::vector<ReplyEvent>& events) {
    using Kind = ReplyEvent::Kind;
    for (const ReplyEvent& event : events) {
      for (const std::string* part : {&event.text, &event.name, &event.id}) {
        require(hearth::find_invalid_utf8(*part) == std::string::npos);
      }
      switch (event.kind) {
        case Kind::kText:
          text += event.text;
          break;
        case Kind::kReasoning:
          reasoning += event.text;
          break;
        case Kind::kToolCallArguments:
          arguments += event.text;
          break;
        case Kind::kToolCallEnd:
          require(event.text == arguments);
          require(nlohmann::json::parse(event.text, nullptr, false).is_object());
          [[fallthrough]];
        default:
          calls += std::to_string(static_cast<int>(event.kind)) + std::to_string(event.index) +
                   event.name + event.id + event.text + "\n";
          arguments.clear();
      }
    }
  }
  bool operator==(const Sum&) const = default;
  std::string text, reasoning, calls, arguments;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return 0;
  static const std::vector<ChatFormat> formats = [] {
    std::vector<ChatFormat> all;
    for (std::string_view source : kTemplates)
      all.push_back(hearth::text::detect_chat_format(source));
    all.push_back(hearth::text::generic_tool_format(all.front()));
    return all;
  }();
  const ChatFormat& format = formats[data[0] % formats.size()];
  std::uint32_t seed = data[1];
  hearth::text::ReplyOptions options;
  if (data[1] % 4 != 0) options.tools = &tools();
  if (data[1] % 8 == 1 && !format.reasoning.empty()) options.prompt = format.reasoning[0].open;
  const std::string_view stream(reinterpret_cast<const char*>(data) + 2, size - 2);

  Sum whole;
  ReplyReader at_once(format, options);
  whole.add(at_once.push(stream));
  whole.add(at_once.finish());

  Sum pieces;
  ReplyReader by_pieces(format, options);
  for (std::size_t at = 0; at < stream.size();) {
    seed = seed * 1664525 + 1013904223;
    const std::size_t length =
        std::min<std::size_t>(1 + (seed >> 16) % (seed % 3 == 0 ? 40 : 3), stream.size() - at);
    pieces.add(by_pieces.push(stream.substr(at, length)));
    at += length;
  }
  pieces.add(by_pieces.finish());
  require(whole == pieces);
  return 0;
}
