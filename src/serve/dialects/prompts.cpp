#include "serve/dialects/prompts.h"

#include <algorithm>

#include "serve/dialects/json_body.h"

namespace hearth::serve {

namespace {

std::int32_t read_id(const Json& value, std::string_view path, std::size_t index) {
  const std::optional<std::int64_t> id = as_integer(value);
  if (!id || *id < 0 || *id > INT32_MAX) {
    const std::string here = indexed(path, index);
    refuse(here + " must be a token id", here, "invalid_type");
  }
  return static_cast<std::int32_t>(*id);
}

void check_count(const Json& prompts, const std::string& where) {
  if (prompts.empty()) refuse(where + " is empty", where, "empty_array");
  if (prompts.size() > kMostPrompts) {
    refuse(where + " has " + std::to_string(prompts.size()) + " entries; the most are " +
               std::to_string(kMostPrompts),
           where, "array_above_max_length");
  }
}

bool has_ids(const Json& value) {
  return value.is_array() &&
         std::any_of(value.begin(), value.end(), [](const Json& each) { return each.is_number(); });
}

void add_mixed_prompt(const Json& value, std::string_view path, CompletionRequest& request) {
  std::vector<PromptPart> parts = read_parts(value, path);
  request.prompts.emplace_back();
  request.tokens.emplace_back();
  request.parts.emplace_back();
  if (parts.size() > 1) {
    request.parts.back() = std::move(parts);
  } else if (!parts.empty()) {
    request.prompts.back() = std::move(parts.front().text);
    request.tokens.back() = std::move(parts.front().ids);
  }
}

}  // namespace

std::vector<std::int32_t> read_ids(const Json& value, std::string_view path) {
  const std::string where(path);
  if (!value.is_array()) refuse(where + " must be an array of token ids", where, "invalid_type");
  std::vector<std::int32_t> ids;
  ids.reserve(value.size());
  for (const Json& each : value) ids.push_back(read_id(each, path, ids.size()));
  return ids;
}

std::vector<PromptPart> read_parts(const Json& value, std::string_view path) {
  const std::string where(path);
  if (value.is_string()) return {{value.get<std::string>()}};
  if (!value.is_array()) refuse(where + " must be a string or an array", where, "invalid_type");
  std::vector<PromptPart> parts;
  for (std::size_t i = 0; i < value.size(); ++i) {
    if (value[i].is_string()) {
      parts.push_back({value[i].get<std::string>()});
      continue;
    }
    if (parts.empty() || parts.back().ids.empty()) parts.emplace_back();
    parts.back().ids.push_back(read_id(value[i], path, i));
  }
  return parts;
}

bool read_mixed_prompts(const Json& value, std::string_view path, CompletionRequest& request) {
  const std::string where(path);
  if (!value.is_array() || has_ids(value)) {
    add_mixed_prompt(value, path, request);
    return false;
  }
  check_count(value, where);
  for (std::size_t i = 0; i < value.size(); ++i) {
    const std::string here = indexed(path, i);
    if (value[i].is_array() && value[i].empty()) refuse(here + " is empty", here, "empty_array");
    if (value[i].is_array() && !has_ids(value[i])) refuse(here + " has no token ids", here);
    add_mixed_prompt(value[i], here, request);
  }
  return true;
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
  check_count(value, where);
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
