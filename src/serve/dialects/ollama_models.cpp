// Ollama's routes about models: what is there, what is running, fetching, making and removing.
#include <algorithm>
#include <array>
#include <cstdio>

#include "serve/dialects/bodies.h"
#include "serve/dialects/embeddings.h"
#include "serve/dialects/json_body.h"
#include "serve/dialects/ollama.h"
#include "serve/dialects/ollama_writers.h"
#include "serve/dialects/openai_writers.h"
#include "serve/dialects/prompts.h"
#include "serve/dialects/reply_parts.h"
#include "support/error.h"

namespace hearth::serve {
namespace {

constexpr Field kModelName[] = {
    {.name = "model", .what = "or \"name\""},
    {.name = "name", .what = "old for \"model\""},
};
constexpr Field kShowFields[] = {
    {.name = "verbose", .types = kBoolean},
    {.name = "system"},
    {.name = "template"},
    {.name = "options", .types = kObject},
};
constexpr Field kPullFields[] = {
    {.name = "insecure", .types = kBoolean},
    {.name = "stream", .types = kBoolean, .what = "on unless it is false"},
};
constexpr Field kCopyFields[] = {
    {.name = "source", .required = true},
    {.name = "destination", .required = true},
};
constexpr Field kCreateFields[] = {
    {.name = "from", .what = "a model, or a file"},
    {.name = "files", .types = kObject, .what = "names to digests of blobs"},
    {.name = "adapters", .types = kObject, .what = "names to digests of blobs"},
    {.name = "template"},
    {.name = "system"},
    {.name = "license", .types = kString | kArray, .items = kString},
    {.name = "parameters", .types = kObject},
    {.name = "messages", .types = kArray, .items = kObject},
    {.name = "quantize"},
    {.name = "quantization", .what = "old for \"quantize\""},
    {.name = "modelfile", .what = "refused: send its parts"},
    {.name = "stream", .types = kBoolean, .what = "on unless it is false"},
};
constexpr Field kEmbedFields[] = {
    {.name = "model", .required = true},
    {.name = "input",
     .types = kString | kArray,
     .what = "text, or several",
     .required = true,
     .items = kString},
    {.name = "truncate", .types = kBoolean, .what = "on unless it is false"},
    {.name = "dimensions", .types = kInteger, .least = 0, .most = 1 << 20},
    {.name = "options", .types = kObject},
    {.name = "keep_alive", .types = kNumber | kString},
};
constexpr Field kEmbeddingsFields[] = {
    {.name = "model", .required = true},
    {.name = "prompt"},
    {.name = "options", .types = kObject},
    {.name = "keep_alive", .types = kNumber | kString},
};

std::string model_name(const Json& body) {
  std::string name = text_member(body, "model");
  if (name.empty()) name = text_member(body, "name");
  if (name.empty()) refuse("model is missing", "model", "missing_required_parameter");
  return name;
}

/// "7.6B", "137.02M", "512K".
std::string parameter_size(std::uint64_t parameters) {
  const auto count = static_cast<double>(parameters);
  std::array<char, 32> text{};
  if (count >= 1e9) {
    std::snprintf(text.data(), text.size(), "%.1fB", count / 1e9);
  } else if (count >= 1e6) {
    std::snprintf(text.data(), text.size(), "%.2fM", count / 1e6);
  } else if (count >= 1e3) {
    std::snprintf(text.data(), text.size(), "%.0fK", count / 1e3);
  } else {
    return std::to_string(parameters);
  }
  return text.data();
}

Json details_of(const ModelFacts& model) {
  Json details = {{"parent_model", model.parent},
                  {"format", "gguf"},
                  {"family", model.family},
                  {"families", Json::array({model.family})},
                  {"parameter_size", model.parameters == 0 ? "" : parameter_size(model.parameters)},
                  {"quantization_level", model.quantization}};
  if (model.context != 0) details["context_length"] = model.context;
  if (model.embedding != 0) details["embedding_length"] = model.embedding;
  return details;
}

Json listed(const ModelFacts& model) {
  return {{"name", model.name},
          {"model", model.name},
          {"modified_at", utc_time(model.modified)},
          {"size", model.size},
          {"digest", model.sha256},
          {"details", details_of(model)},
          {"capabilities", model.capabilities}};
}

/// A parameter's value on a line of its own: texts in quotes, of which there is one kind.
std::string quoted(const std::string& name, const std::string& value) {
  const bool plain =
      name != "stop" && !value.empty() && value.find_first_of(" \t\r\n\"#") == std::string::npos;
  return plain ? value : to_line(Json(value));
}

std::string modelfile(const ModelDetails& details) {
  std::string text = "# Made by Hearth from what it knows about the model.\nFROM " +
                     (details.source.empty() ? details.facts.name : details.source) + "\n";
  if (!details.chat_template.empty()) {
    text += "TEMPLATE \"\"\"" + details.chat_template + "\"\"\"\n";
  }
  if (!details.system.empty()) text += "SYSTEM \"\"\"" + details.system + "\"\"\"\n";
  for (const auto& [name, value] : details.parameters) {
    text += "PARAMETER " + name + " " + quoted(name, value) + "\n";
  }
  for (const std::string& adapter : details.adapters) text += "ADAPTER " + adapter + "\n";
  for (const Json& message : details.messages) {
    text += "MESSAGE " + message.value("role", "") + " " + to_line(message["content"]) + "\n";
  }
  if (!details.license.empty()) text += "LICENSE \"\"\"" + details.license + "\"\"\"\n";
  return text;
}

std::map<std::string, std::string> read_digests(const Json& body, const char* name) {
  std::map<std::string, std::string> files;
  const Json* given = find_member(body, name);
  if (given == nullptr) return files;
  for (const auto& [file, digest] : given->items()) {
    const std::string path = std::string(name) + "." + file;
    if (!digest.is_string()) refuse(path + " must be a string", path, "invalid_type");
    if (!sha256_of_digest(digest.get_ref<const std::string&>())) {
      refuse(path + " must be a digest: \"sha256:\" and 64 hex digits", path);
    }
    files[file] = digest.get<std::string>();
  }
  return files;
}

}  // namespace

const BodyFields kOllamaModelBody = {.name = "OllamaModelRequest", .parts = {kModelName}};
const BodyFields kOllamaShowBody = {.name = "OllamaShowRequest",
                                    .parts = {kModelName, kShowFields}};
const BodyFields kOllamaPullBody = {.name = "OllamaPullRequest",
                                    .parts = {kModelName, kPullFields}};
const BodyFields kOllamaCopyBody = {.name = "OllamaCopyRequest", .parts = {kCopyFields}};
const BodyFields kOllamaCreateBody = {.name = "OllamaCreateRequest",
                                      .parts = {kModelName, kCreateFields}};
const BodyFields kOllamaEmbedBody = {.name = "OllamaEmbedRequest", .parts = {kEmbedFields}};
const BodyFields kOllamaEmbeddingsBody = {.name = "OllamaEmbeddingsRequest",
                                          .parts = {kEmbeddingsFields}};

std::optional<std::string> sha256_of_digest(std::string_view digest) {
  constexpr std::size_t kDigits = 64;
  if (!digest.starts_with("sha256:") && !digest.starts_with("sha256-")) return std::nullopt;
  std::string hex(digest.substr(7));
  if (hex.size() != kDigits) return std::nullopt;
  for (char& c : hex) {
    if (c >= 'A' && c <= 'F') c = static_cast<char>(c - 'A' + 'a');
    if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'))) return std::nullopt;
  }
  return hex;
}

EmbeddingRequest read_ollama_embed(std::string_view text) {
  const Json body = parse_object(text);
  check_body(body, kOllamaEmbedBody);
  EmbeddingRequest request;
  request.model = text_member(body, "model");
  request.inputs = strings_member(body, "input");
  if (request.inputs.size() > kMostPrompts) {
    refuse("input has more than " + std::to_string(kMostPrompts) + " entries", "input");
  }
  request.tokens.resize(request.inputs.size());
  check_inputs(request, "input");
  request.truncate = bool_member(body, "truncate").value_or(true);
  const std::int64_t dimensions = integer_member(body, "dimensions").value_or(0);
  if (dimensions > 0) request.dimensions = dimensions;
  request.keep_alive_seconds = read_keep_alive(body);
  return request;
}

std::string ollama_embed(std::string_view model, std::span<const std::vector<float>> vectors,
                         const Usage& usage) {
  std::string reply = R"({"model":)" + to_line(Json(model)) + R"(,"embeddings":[)";
  for (std::size_t i = 0; i < vectors.size(); ++i) {
    if (i != 0) reply += ',';
    append_floats(reply, vectors[i]);
  }
  reply += R"(],"total_duration":)" + std::to_string(nanoseconds(usage.total_seconds));
  reply += R"(,"load_duration":)" + std::to_string(nanoseconds(usage.load_seconds));
  reply += R"(,"prompt_eval_count":)" + std::to_string(usage.prompt_tokens);
  return reply + '}';
}

EmbeddingRequest read_ollama_embeddings(std::string_view text) {
  const Json body = parse_object(text);
  check_body(body, kOllamaEmbeddingsBody);
  EmbeddingRequest request;
  request.model = text_member(body, "model");
  // An empty prompt only loads the model, and gets an empty vector.
  if (std::string prompt = text_member(body, "prompt"); !prompt.empty()) {
    request.inputs.push_back(std::move(prompt));
    request.tokens.emplace_back();
  }
  request.truncate = true;
  request.keep_alive_seconds = read_keep_alive(body);
  return request;
}

std::string ollama_embeddings(std::span<const float> vector) {
  std::string reply = R"({"embedding":)";
  append_floats(reply, vector);
  return reply + '}';
}

std::string ollama_tags(std::span<const ModelFacts> models) {
  std::vector<const ModelFacts*> sorted;
  for (const ModelFacts& model : models) sorted.push_back(&model);
  std::stable_sort(sorted.begin(), sorted.end(), [](const ModelFacts* a, const ModelFacts* b) {
    return a->modified > b->modified;
  });
  Json list = Json::array();
  for (const ModelFacts* model : sorted) list.push_back(listed(*model));
  return to_line({{"models", std::move(list)}});
}

std::string ollama_ps(std::span<const LoadedModelFacts> models) {
  constexpr std::int64_t kNever = 253402300799;  // the last second of the year 9999
  Json list = Json::array();
  for (const LoadedModelFacts& loaded : models) {
    list.push_back({{"name", loaded.model.name},
                    {"model", loaded.model.name},
                    {"size", loaded.memory},
                    {"digest", loaded.model.sha256},
                    {"details", details_of(loaded.model)},
                    {"expires_at", utc_time(loaded.expires.value_or(kNever))},
                    {"size_vram", loaded.device_memory},
                    {"context_length", loaded.model.serve_context}});
  }
  return to_line({{"models", std::move(list)}});
}

std::string ollama_version(std::string_view version) { return to_line({{"version", version}}); }

OllamaShow read_ollama_show(std::string_view text) {
  const Json body = parse_object(text);
  check_body(body, kOllamaShowBody);
  return {.model = model_name(body), .verbose = bool_member(body, "verbose").value_or(false)};
}

std::string ollama_show(const ModelDetails& details, bool verbose) {
  Json reply = Json::object();
  if (!details.license.empty()) reply["license"] = details.license;
  reply["modelfile"] = modelfile(details);
  std::string parameters;
  for (const auto& [name, value] : details.parameters) {
    constexpr std::size_t kColumn = 30;
    parameters += name + std::string(name.size() < kColumn ? kColumn - name.size() : 1, ' ') +
                  quoted(name, value) + "\n";
  }
  if (!parameters.empty()) parameters.pop_back();
  reply["parameters"] = std::move(parameters);
  reply["template"] = details.chat_template;
  if (!details.system.empty()) reply["system"] = details.system;
  if (!details.messages.empty()) reply["messages"] = details.messages;
  reply["details"] = details_of(details.facts);
  Json& metadata = reply["model_info"] = Json::object();
  for (const auto& [name, value] : details.metadata.items()) {
    metadata[name] = value.is_array() && !verbose ? Json() : value;
  }
  if (verbose && details.tensors.is_array()) reply["tensors"] = details.tensors;
  reply["capabilities"] = details.facts.capabilities;
  reply["modified_at"] = utc_time(details.facts.modified);
  return to_line(reply);
}

OllamaCreate read_ollama_create(std::string_view text) {
  const Json body = parse_object(text);
  check_body(body, kOllamaCreateBody);
  OllamaCreate request;
  request.model = model_name(body);
  if (find_member(body, "modelfile") != nullptr) {
    refuse("modelfile is not supported: send its parts (from, parameters, template, system)",
           "modelfile", "unsupported_value");
  }
  request.from = text_member(body, "from");
  request.files = read_digests(body, "files");
  request.adapters = read_digests(body, "adapters");
  if (request.from.empty() && request.files.empty()) {
    refuse("neither 'from' nor 'files' says what the model is made of", "from",
           "missing_required_parameter");
  }
  request.chat_template = text_member(body, "template");
  request.system = text_member(body, "system");
  request.license = strings_member(body, "license");
  if (const Json* parameters = find_member(body, "parameters"); parameters != nullptr) {
    request.parameters = typed_ollama_parameters(*parameters);
  }
  if (const Json* messages = find_member(body, "messages"); messages != nullptr) {
    static_cast<void>(read_ollama_messages(*messages));  // what is wrong is told now
    request.messages = *messages;
  }
  request.quantize = text_member(body, "quantize");
  if (request.quantize.empty()) request.quantize = text_member(body, "quantization");
  request.stream = bool_member(body, "stream").value_or(true);
  return request;
}

OllamaCopy read_ollama_copy(std::string_view text) {
  const Json body = parse_object(text);
  check_body(body, kOllamaCopyBody);
  OllamaCopy request{text_member(body, "source"), text_member(body, "destination")};
  if (request.source.empty()) refuse("source is empty", "source");
  if (request.destination.empty()) refuse("destination is empty", "destination");
  return request;
}

std::string read_ollama_delete(std::string_view text) {
  const Json body = parse_object(text);
  check_body(body, kOllamaModelBody);
  return model_name(body);
}

OllamaPull read_ollama_pull(std::string_view text) {
  const Json body = parse_object(text);
  check_body(body, kOllamaPullBody);
  return {.model = model_name(body),
          .insecure = bool_member(body, "insecure").value_or(false),
          .stream = bool_member(body, "stream").value_or(true)};
}

std::string ollama_status(std::string_view status) { return to_line({{"status", status}}) + "\n"; }

std::string ollama_progress(std::string_view status, std::string_view digest, std::uint64_t total,
                            std::uint64_t completed) {
  return to_line(
             {{"status", status}, {"digest", digest}, {"total", total}, {"completed", completed}}) +
         "\n";
}

std::string ollama_error_line(std::string_view message) {
  return to_line({{"error", message}}) + "\n";
}

}  // namespace hearth::serve
