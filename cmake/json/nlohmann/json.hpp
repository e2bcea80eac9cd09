// Debian's header, with what it makes of its templates for Hearth's two kinds of JSON compiled once
// (cmake/json_library.cpp): as headers only they cost every file that includes them seconds, and
// several times as many under the sanitizers.
#pragma once

#include_next <nlohmann/json.hpp>

#define HEARTH_JSON_TEMPLATE extern template
#include "../json_templates.h"
#undef HEARTH_JSON_TEMPLATE
