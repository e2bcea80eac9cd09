// A parsed Jinja template that can be rendered any number of times, by several threads at once.
#pragma once

#include <map>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

#include "text/date_time.h"
#include "text/jinja/error.h"
#include "text/prompt.h"

namespace hearth::text::jinja {

struct Program;

/// Rendering environment: Jinja 3.1 in the sandbox of Hugging Face transformers
/// (reference/chat-formats.md, part 1), with changes to lists and dicts allowed: they are the
/// rendering's own copies.
class Template {
 public:
  /// Parses `source`; `name` is for messages. Throws TemplateError.
  Template(std::string_view source, std::string name);

  /// Renders with the members of the object `context` as variables (of origin data) and `trusted`
  /// variables (of origin template; they win over the context). Throws TemplateError, or
  /// TemplateRaised when the template itself refuses.
  [[nodiscard]] Prompt render(const nlohmann::ordered_json& context,
                              const std::map<std::string, std::string>& trusted,
                              const DateTime& now, const Limits& limits = {}) const;

  /// Whether the template mentions the variable `name`.
  [[nodiscard]] bool uses_variable(const std::string& name) const;

 private:
  std::shared_ptr<const Program> program_;
};

}  // namespace hearth::text::jinja
