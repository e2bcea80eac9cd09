// Prompts and inputs that are text or token ids, one or several. Internal to the dialects.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "serve/chat_request.h"

namespace hearth::serve {

/// Most prompts of a request, and most replies (prompts times n).
inline constexpr std::size_t kMostPrompts = 2048;

/// A string, an array of strings, an array of ids, or an array of strings and arrays of ids. Both
/// lists get an entry per prompt. Throws RequestError.
void read_prompts(const Json& value, std::string_view path, std::vector<std::string>& texts,
                  std::vector<std::vector<std::int32_t>>& tokens);

/// A string, or an array of strings and ids: one text in pieces. Neighbouring ids are one piece.
/// Throws RequestError.
[[nodiscard]] std::vector<PromptPart> read_parts(const Json& value, std::string_view path);

/// As read_prompts(), except that an array with ids in it is one prompt, and may have texts in it,
/// too. True when `value` is a list of prompts. Throws RequestError.
[[nodiscard]] bool read_mixed_prompts(const Json& value, std::string_view path,
                                      CompletionRequest& request);

/// Throws RequestError when prompts times choices are more than kMostChoices.
inline constexpr int kMostChoices = 128;
void check_choices(const CompletionRequest& request);

/// An array of ids. Throws RequestError.
[[nodiscard]] std::vector<std::int32_t> read_ids(const Json& value, std::string_view path);

}  // namespace hearth::serve
