// JSON in and out of templates.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "text/jinja/value.h"

namespace hearth::text::jinja {

/// The value of `json`; all of it has `origin`. Nesting beyond 200 levels is an error.
[[nodiscard]] Value from_json(Interpreter& context, const nlohmann::ordered_json& json,
                              Origin origin);

struct JsonStyle {
  bool ensure_ascii = false;
  bool sort_keys = false;
  bool indented = false;
  std::string indent;
  std::string item_separator = ", ";
  std::string key_separator = ": ";
};

/// `value` as Python's json.dumps writes it. Fails for values JSON has no form for.
[[nodiscard]] StringPtr to_json(Interpreter& context, const Value& value, const JsonStyle& style);

}  // namespace hearth::text::jinja
