// The compilers of grammars under arbitrary sources: the first byte picks the notation, for schemas
// also the syntax of a tool call that they are the parameters of. What
// compiles must never lead into a dead end: whatever byte is allowed, some text goes on to the end
// from there.
#include <cstdint>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "generate/grammar/compiled.h"
#include "support/error.h"

namespace {

namespace grammar = hearth::generate::grammar;

void require(bool condition) {
  if (!condition) std::abort();
}

std::shared_ptr<const grammar::Grammar> call_with(const nlohmann::ordered_json& parameters,
                                                  int family, const grammar::Options& options) {
  static constexpr std::string_view kTemplates[] = {
      "<tool_call>",      "<seed:tool_call>",        "]<]minimax[>[", "<|tool_call>",
      "<function_calls>", "<|channel|> <|message|>", ">>>all",        "｜DSML｜"};
  nlohmann::ordered_json tools = nlohmann::ordered_json::array();
  tools.push_back({{"name", "f"}, {"parameters", parameters}});
  return grammar::for_tools(hearth::text::detect_chat_format(kTemplates[family]), tools,
                            {.required = family % 2 == 0, .parallel = true, .functions = {}},
                            options);
}

std::shared_ptr<const grammar::Grammar> compile(int notation, std::string_view source) {
  grammar::Options options;
  options.white_space =
      (notation & 8) != 0 ? grammar::WhiteSpace::kNone : grammar::WhiteSpace::kFlexible;
  switch (notation & 3) {
    case 0: {
      const auto schema = nlohmann::ordered_json::parse(source, nullptr, false);
      if (schema.is_discarded()) return nullptr;
      if ((notation & 16) != 0) return call_with(schema, (notation >> 5) & 7, options);
      return grammar::compile_json_schema(schema, options);
    }
    case 1:
      return grammar::compile_regex(source, options);
    case 2:
      return grammar::compile_gbnf(source, options);
    default:
      return grammar::compile_lark(source, options);
  }
}

/// A walk over allowed bytes, chosen by the source itself.
void walk(const grammar::Grammar& compiled, std::string_view choices) {
  grammar::Automaton automaton(compiled.network(), nullptr);
  auto state = automaton.start();
  require(state != grammar::Automaton::kDead);
  for (const char choice : choices.substr(0, 64)) {
    grammar::Automaton::StateId next = grammar::Automaton::kDead;
    for (int i = 0; i < 256 && next == grammar::Automaton::kDead; ++i)
      next = automaton.step(state, (static_cast<unsigned char>(choice) + i) % 256);
    require(next != grammar::Automaton::kDead || automaton.accepting(state));
    if (next == grammar::Automaton::kDead) return;
    state = next;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return 0;
  const std::string_view source(reinterpret_cast<const char*>(data) + 1, size - 1);
  try {
    if (const auto compiled = compile(data[0], source)) walk(*compiled, source);
  } catch (const hearth::Error& error) {
    require(error.what()[0] != '\0');
  }
  return 0;
}
