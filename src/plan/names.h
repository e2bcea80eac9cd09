// Looking for words in names of models, files and products.
#pragma once

#include <algorithm>
#include <initializer_list>
#include <string_view>

namespace hearth::plan {

[[nodiscard]] inline bool contains_any(std::string_view text,
                                       std::initializer_list<std::string_view> parts) {
  return std::any_of(parts.begin(), parts.end(), [&](std::string_view part) {
    return text.find(part) != std::string_view::npos;
  });
}

}  // namespace hearth::plan
