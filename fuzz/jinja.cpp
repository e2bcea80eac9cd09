// Jinja templates from strangers: the input is a template's source; its first byte chooses the
// context. Nothing may crash, hang or take much memory.
#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string_view>

#include "support/error.h"
#include "text/jinja/template.h"

namespace {

const nlohmann::ordered_json& context_number(std::uint8_t number) {
  static const nlohmann::ordered_json contexts[] = {
      nlohmann::ordered_json::object(),
      nlohmann::ordered_json::parse(
          R"({"x": 3, "f": 1.5, "s": "a b<c>é🦙", "l": [3, 1, 2], "d": {"b": 1, "a": [null, true]}})"),
      nlohmann::ordered_json::parse(
          R"({"messages": [{"role": "system", "content": "sys"}, {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Yo", "tool_calls": [{"name": "f", "arguments": {"a": 1}}]}],
        "tools": [{"type": "function", "function": {"name": "f", "parameters": {"properties": {"a": {"type": "string"}}}}}],
        "add_generation_prompt": true})"),
  };
  return contexts[number % 3];
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view source(reinterpret_cast<const char*>(data) + 1, size - 1);
  const hearth::text::jinja::Limits limits{
      .steps = 200'000, .memory_bytes = 16U << 20, .string_bytes = 1U << 20, .depth = 300};
  try {
    const hearth::text::jinja::Template parsed(source, "fuzz");
    const auto prompt = parsed.render(context_number(data[0]), {{"bos_token", "<s>"}},
                                      {2026, 7, 26, 1, 2, 3, 4}, limits);
    std::size_t bytes = 0;
    for (std::size_t i = 0; i < prompt.spans.size(); ++i) {
      bytes += prompt.spans[i].text.size();
      if (prompt.spans[i].text.empty()) __builtin_trap();
      if (i > 0 && prompt.spans[i].origin == prompt.spans[i - 1].origin) __builtin_trap();
    }
    if (bytes > limits.string_bytes) __builtin_trap();
  } catch (const hearth::Error&) {
    return 0;  // the only way to fail
  }
  return 0;
}
