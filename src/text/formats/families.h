// The families of chat templates, each as the data of its reply format.
#pragma once

#include <string_view>

#include "text/chat_format.h"

namespace hearth::text {

/// The family whose markers the template holds; without its thinking switches.
[[nodiscard]] ChatFormat find_family(std::string_view template_source);

}  // namespace hearth::text
