#include "text/jinja/template.h"

#include <nlohmann/json.hpp>

#include "text/jinja/interpreter.h"
#include "text/jinja/json.h"
#include "text/jinja/parser.h"

namespace hearth::text::jinja {

Template::Template(std::string_view source, std::string name)
    : program_(parse_template(source, std::move(name))) {}

Prompt Template::render(const nlohmann::ordered_json& context,
                        const std::map<std::string, std::string>& trusted, const DateTime& now,
                        const Limits& limits) const {
  if (!context.is_object()) throw Error("the context of a chat template must be a JSON object");
  Interpreter interpreter(*program_, limits, now);
  try {
    for (const auto& [name, value] : context.items()) {
      if (!interpreter.uses_variable(name)) continue;
      interpreter.set_variable(name, from_json(interpreter, value, Origin::kData));
    }
    for (const auto& [name, value] : trusted) {
      interpreter.set_variable(name, interpreter.string(value, Origin::kTemplate));
    }
  } catch (const std::length_error& error) {
    interpreter.fail(error.what());
  }
  const StringPtr text = interpreter.run();
  Prompt prompt;
  std::size_t begin = 0;
  for (const String::Run& run : text->runs) {
    prompt.append(std::string_view(text->bytes).substr(begin, run.end - begin), run.origin);
    begin = run.end;
  }
  return prompt;
}

bool Template::uses_variable(const std::string& name) const {
  return program_->symbol_ids.contains(name);
}

}  // namespace hearth::text::jinja
