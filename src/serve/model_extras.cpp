#include "serve/model_extras.h"

#include <algorithm>
#include <iterator>
#include <tuple>

namespace hearth::serve {

bool ModelExtras::operator==(const ModelExtras& other) const {
  const auto what_counts = [](const ModelExtras& extras) {
    return std::tie(extras.chat_template, extras.system, extras.parameters, extras.messages,
                    extras.adapters);
  };
  return what_counts(*this) == what_counts(other);
}

ModelExtras extras_of(const hub::Manifest& manifest, const hub::Store& store) {
  const auto text = [&manifest](const char* kind) {
    const auto found = manifest.texts.find(kind);
    return found == manifest.texts.end() ? std::string() : found->second;
  };
  ModelExtras extras{.chat_template = text("template"),
                     .system = text("system"),
                     .parameters = text("params"),
                     .messages = text("messages"),
                     .license = text("license"),
                     .adapters = {}};
  if (is_go_template(extras.chat_template)) extras.chat_template.clear();
  for (const hub::StoredFile& adapter : manifest.adapters)
    extras.adapters.push_back(store.blob_path(adapter.sha256));
  return extras;
}

/// Actions of Go begin with a field, a variable or a keyword, which Jinja's expressions never do.
bool is_go_template(std::string_view source) noexcept {
  static constexpr std::string_view kBeginnings[] = {
      ".",         "$",      "if ",     "if(", "range ", "with ", "end}",   "end ", "end-",  "else",
      "template ", "block ", "define ", "eq ", "and ",   "or ",   "slice ", "len ", "json ", "/*"};
  for (std::size_t at = 0; (at = source.find("{{", at)) != std::string_view::npos;) {
    at += 2;
    std::size_t begin = at;
    if (begin < source.size() && source[begin] == '-') ++begin;
    begin = std::min(source.find_first_not_of(" \t\r\n", begin), source.size());
    const std::string_view rest = source.substr(begin);
    if (std::any_of(std::begin(kBeginnings), std::end(kBeginnings),
                    [&](std::string_view each) { return rest.starts_with(each); })) {
      return true;
    }
  }
  return false;
}

}  // namespace hearth::serve
