#include "serve/dialects/prompts.h"

#include <algorithm>

#include "serve/dialects/json_body.h"

namespace hearth::serve {

std::vector<std::int32_t> read_ids(const Json& value, std::string_view path) {
  const std::string where(path);
  if (!value.is_array()) refuse(where + " must be an array of token ids", where, "invalid_type");
  std::vector<std::int32_t> ids;
  ids.reserve(value.size());
  for (const Json& each : value) {
    const std::optional<std::int64_t> id = as_integer(each);
    if (!id || *id < 0 || *id > INT32_MAX) {
      const std::string here = indexed(path, ids.size());
      refuse(here + " must be a token id", here, "invalid_type");
    }
    ids.push_back(static_cast<std::int32_t>(*id));
  }
  return ids;
}

void read_prompts(const Json& value, std::string_view path, std::vector<std::string>& texts,
                  std::vector<std::vector<std::int32_t>>& tokens) {
  const std::string where(path);
  if (value.is_string()) {
    texts.push_back(value.get<std::string>());
    tokens.emplace_back();
    return;
  }
  if (!value.is_array()) {
    refuse(where + " must be a string or an array", where, "invalid_type");
  }
  if (value.empty()) refuse(where + " is empty", where, "empty_array");
  if (value[0].is_number()) {
    texts.emplace_back();
    tokens.push_back(read_ids(value, path));
    return;
  }
  if (value.size() > kMostPrompts) {
    refuse(where + " has " + std::to_string(value.size()) + " entries; the most are " +
               std::to_string(kMostPrompts),
           where, "array_above_max_length");
  }
  for (std::size_t i = 0; i < value.size(); ++i) {
    const std::string here = indexed(path, i);
    if (value[i].is_string()) {
      texts.push_back(value[i].get<std::string>());
      tokens.emplace_back();
      continue;
    }
    if (!value[i].is_array()) {
      refuse(here + " must be a string or an array of token ids", here, "invalid_type");
    }
    tokens.push_back(read_ids(value[i], here));
    texts.emplace_back();
    if (tokens.back().empty()) refuse(here + " is empty", here, "empty_array");
  }
}

void check_choices(const CompletionRequest& request) {
  const std::size_t choices = request.prompts.size() * static_cast<std::size_t>(request.choices);
  if (choices > static_cast<std::size_t>(kMostChoices)) {
    refuse("The request asks for " + std::to_string(choices) + " completions; the most are " +
               std::to_string(kMostChoices),
           "prompt");
  }
}

}  // namespace hearth::serve
