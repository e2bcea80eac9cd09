// Template source to Program. Grammar: Jinja 3.1 with the loop controls extension and {% generation
// %} blocks.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "text/jinja/ast.h"

namespace hearth::text::jinja {

/// Parses `source`. Throws TemplateError naming `name` and the line.
[[nodiscard]] std::shared_ptr<const Program> parse_template(std::string_view source,
                                                            std::string name);

}  // namespace hearth::text::jinja
