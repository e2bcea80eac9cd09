// The tables of all bodies. Internal to the dialects; serve/dialects/fields.h is the door.
#pragma once

#include "serve/dialects/fields.h"

namespace hearth::serve {

extern const BodyFields kOpenAiChatBody;
extern const BodyFields kOpenAiCompletionBody;
extern const BodyFields kOpenAiEmbeddingsBody;

/// Sampling settings by the names that OpenAI, llama-server and most local clients share.
std::span<const Field> sampling_fields();
/// Lengths, stops, streaming and formats by the same names; read_generation() reads both.
std::span<const Field> generation_fields();

}  // namespace hearth::serve
