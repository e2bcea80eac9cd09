// Every route with a JSON body, and the smallest body that it takes.
#include <array>

#include "serve/dialects/bodies.h"

namespace hearth::serve {
namespace {

constexpr std::string_view kChat = R"({"model":"m","messages":[{"role":"user","content":"hi"}]})";
constexpr std::string_view kMessages =
    R"({"model":"m","max_tokens":8,"messages":[{"role":"user","content":"hi"}]})";
constexpr std::string_view kPrompt = R"({"model":"m","prompt":"hi"})";
constexpr std::string_view kInput = R"({"model":"m","input":"hi"})";
constexpr std::string_view kModel = R"({"model":"m"})";
constexpr std::string_view kRank = R"({"model":"m","query":"q","documents":["a","b"]})";

constexpr auto kRoutes = std::to_array<BodyRoute>({
    {"POST", "/v1/chat/completions", "Answer a chat (OpenAI)", &kOpenAiChatBody, kChat},
    {"POST", "/v1/chat/completions/input_tokens", "Count a chat's tokens", &kOpenAiChatBody, kChat},
    {"POST", "/v1/completions", "Continue a text (OpenAI)", &kOpenAiCompletionBody, kPrompt},
    {"POST", "/v1/embeddings", "Embed texts (OpenAI)", &kOpenAiEmbeddingsBody, kInput},
    {"POST", "/v1/responses", "Answer items (OpenAI)", &kOpenAiResponsesBody, kInput},
    {"POST", "/v1/responses/input_tokens", "Count the tokens of items", &kOpenAiResponsesBody,
     kInput},
    {"POST", "/v1/messages", "Answer a chat (Anthropic)", &kAnthropicMessagesBody, kMessages},
    {"POST", "/v1/messages/count_tokens", "Count a chat's tokens (Anthropic)", &kAnthropicCountBody,
     kChat},
    {"POST", "/api/chat", "Answer a chat (Ollama)", &kOllamaChatBody, kChat},
    {"POST", "/api/generate", "Answer a prompt (Ollama)", &kOllamaGenerateBody, kPrompt},
    {"POST", "/api/embed", "Embed texts (Ollama)", &kOllamaEmbedBody, kInput},
    {"POST", "/api/embeddings", "Embed a text (Ollama, old)", &kOllamaEmbeddingsBody, kPrompt},
    {"POST", "/api/show", "What is known about a model", &kOllamaShowBody, kModel},
    {"POST", "/api/create", "Make a model", &kOllamaCreateBody, R"({"model":"m","from":"n"})"},
    {"POST", "/api/copy", "Give a model another name", &kOllamaCopyBody,
     R"({"source":"m","destination":"n"})"},
    {"DELETE", "/api/delete", "Remove a model", &kOllamaModelBody, kModel},
    {"POST", "/api/pull", "Fetch a model", &kOllamaPullBody, kModel},
    {"POST", "/completion", "Continue a text (llama-server)", &kLlamaCompletionBody, kPrompt},
    {"POST", "/completions", "Continue a text (llama-server)", &kLlamaCompletionBody, kPrompt},
    {"POST", "/infill", "Fill a gap in a text", &kLlamaInfillBody,
     R"({"model":"m","input_prefix":"a","input_suffix":"b"})"},
    {"POST", "/tokenize", "Tokens of a text", &kLlamaTokenizeBody, R"({"content":"hi"})"},
    {"POST", "/detokenize", "Text of tokens", &kLlamaDetokenizeBody, R"({"tokens":[1]})"},
    {"POST", "/apply-template", "The prompt of a chat", &kOpenAiChatBody, kChat},
    {"POST", "/rerank", "Order texts by a query", &kLlamaRerankBody, kRank},
    {"POST", "/reranking", "Order texts by a query", &kLlamaRerankBody, kRank},
    {"POST", "/v1/rerank", "Order texts by a query", &kLlamaRerankBody, kRank},
    {"POST", "/v1/reranking", "Order texts by a query", &kLlamaRerankBody, kRank},
    {"POST", "/embedding", "Embed texts (llama-server)", &kLlamaEmbeddingBody,
     R"({"content":"hi"})"},
    {"POST", "/embeddings", "Embed texts (llama-server)", &kLlamaEmbeddingBody,
     R"({"content":"hi"})"},
});

}  // namespace

std::span<const BodyRoute> body_routes() { return kRoutes; }

}  // namespace hearth::serve
