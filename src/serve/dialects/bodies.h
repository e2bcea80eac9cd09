// The tables of all bodies. Internal to the dialects; serve/dialects/fields.h is the door.
#pragma once

#include "serve/dialects/fields.h"

namespace hearth::serve {

extern const BodyFields kOpenAiChatBody;
extern const BodyFields kOpenAiCompletionBody;
extern const BodyFields kOpenAiEmbeddingsBody;
extern const BodyFields kAnthropicMessagesBody;
extern const BodyFields kAnthropicCountBody;
extern const BodyFields kOpenAiResponsesBody;
extern const BodyFields kLlamaCompletionBody;
extern const BodyFields kLlamaInfillBody;
extern const BodyFields kLlamaTokenizeBody;
extern const BodyFields kLlamaDetokenizeBody;
extern const BodyFields kLlamaRerankBody;
extern const BodyFields kLlamaEmbeddingBody;
extern const BodyFields kOllamaChatBody;
extern const BodyFields kOllamaGenerateBody;
extern const BodyFields kOllamaModelBody;
extern const BodyFields kOllamaShowBody;
extern const BodyFields kOllamaPullBody;
extern const BodyFields kOllamaCopyBody;
extern const BodyFields kOllamaCreateBody;
extern const BodyFields kOllamaEmbedBody;
extern const BodyFields kOllamaEmbeddingsBody;

/// Lengths, stops, streaming and formats by OpenAI's names; read_generation() reads them, and
/// kSamplingFields.
std::span<const Field> generation_fields();

}  // namespace hearth::serve
