// What the routes for embeddings share. Internal to the dialects.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "serve/dialects/openai.h"

namespace hearth::serve {

/// Appends a JSON array; every number as short as it can be without being another float.
void append_floats(std::string& text, std::span<const float> values);

/// Throws RequestError (400) when an input is empty.
void check_inputs(const EmbeddingRequest& request, std::string_view path);

}  // namespace hearth::serve
