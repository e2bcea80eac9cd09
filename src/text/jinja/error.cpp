#include "text/jinja/error.h"

namespace hearth::text::jinja {
namespace {

std::string place(const std::string& template_name, std::size_t line) {
  return "chat template " + printable(template_name, 200) + ", line " + std::to_string(line) + ": ";
}

}  // namespace

TemplateError::TemplateError(const std::string& template_name, std::size_t line,
                             const std::string& message)
    : Error(place(template_name, line) + printable(message, 500)), line_(line) {}

TemplateRaised::TemplateRaised(const std::string& template_name, std::size_t line,
                               std::string message)
    : TemplateError(template_name, line, message), message_(std::move(message)) {}

}  // namespace hearth::text::jinja
