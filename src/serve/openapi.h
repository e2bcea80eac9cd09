// The OpenAPI document of a server, made of its table of routes and the dialects' tables of fields.
#pragma once

#include <string>
#include <string_view>

#include "serve/router.h"

namespace hearth::serve {

/// OpenAPI 3.1, as JSON. Throws std::logic_error when a route names a body that no table describes.
[[nodiscard]] std::string openapi_document(const Router& router, std::string_view version);

}  // namespace hearth::serve
