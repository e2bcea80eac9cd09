// hearth render: the prompt that a chat template gives.

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>

#include "cli/main.h"
#include "cli/models.h"
#include "cli/words.h"
#include "gguf/file.h"
#include "support/error.h"
#include "support/file.h"
#include "support/json_limits.h"
#include "text/chat_template.h"
#include "text/jinja/template.h"

namespace hearth::cli {
namespace {

using Json = nlohmann::ordered_json;

struct RenderOptions {
  std::string source;
  std::string context;
  std::string now;
  bool spans = false;
  bool normalize = false;
};

constexpr const char* kRenderFooter =
    "MODEL is a GGUF file (a vocabulary-only one will do); its tokenizer.chat_template is rendered "
    "(the one named\n"
    "tool_use, if there is one, when the context has tools), and bos_token, eos_token and the like "
    "come from its\n"
    "vocabulary unless the context gives them. Any other file is taken for the source of a "
    "template.\n"
    "\n"
    "FILE.json is an object: its members are the template's variables, exactly. Members called "
    "bos_token, eos_token …\n"
    "(ending in _token) are trusted; everything else is data, which never becomes control tokens.\n"
    "\n"
    "--spans prints one line of JSON instead of the prompt:\n"
    "  {\"spans\": [{\"origin\": \"template\" | \"data\", \"text\": …}, …]}\n"
    "The texts concatenated are the prompt; neighbours differ in origin.\n"
    "\n"
    "Examples:\n"
    "  hearth render model.gguf --context talk.json\n"
    "  hearth render template.jinja --context talk.json --now 2026-07-26T00:00:00 --spans\n"
    "\n"
    "Exit status:\n"
    "  0  rendered                                        2  wrong usage\n"
    "  1  failed, or the template refused the conversation\n";

constexpr std::size_t kMaxContextBytes = std::size_t{256} << 20;

/// Parses JSON within limits: what is deeper than a template may use, or holds too much, is refused
/// before it is built.
Json read_context(const std::string& path) {
  constexpr JsonLimits kLimits{.depth = 200};
  const std::string text = read_file(path, kMaxContextBytes);
  const JsonExcess excess = json_excess(text, kLimits);
  if (excess == JsonExcess::kDepth)
    throw Error(printable(path) + " is nested more than " + std::to_string(kLimits.depth) +
                " levels deep");
  if (excess == JsonExcess::kMembers)
    throw Error(printable(path) + " has an object with more than " +
                std::to_string(kLimits.members) + " members");
  if (excess != JsonExcess::kNone)
    throw Error(printable(path) + " holds more than " + std::to_string(kLimits.values) + " values");
  try {
    Json context = Json::parse(text);
    if (!context.is_object())
      throw Error(printable(path) + " must hold a JSON object: the template's variables");
    return context;
  } catch (const Json::parse_error& error) {
    throw Error(printable(path) + " is not valid JSON (byte " + std::to_string(error.byte) + ")");
  }
}

bool is_gguf(const std::filesystem::path& path) {
  std::FILE* file = std::fopen(path.c_str(), "rb");
  if (file == nullptr) return false;  // reading it as a template says why
  char magic[4] = {};
  const std::size_t got = std::fread(magic, 1, sizeof magic, file);
  std::fclose(file);
  return got == sizeof magic &&
         (std::string_view(magic, 4) == "GGUF" || std::string_view(magic, 4) == "FUGG");
}

struct TemplateSource {
  std::string text;
  std::map<std::string, std::string> special_tokens;
};

TemplateSource load_template(const std::filesystem::path& path, const Json& context) {
  constexpr std::size_t kMaxTemplateBytes = std::size_t{4} << 20;
  if (!is_gguf(path)) return {read_file(path, kMaxTemplateBytes), {}};
  const gguf::File file = gguf::File::open(path);
  const bool with_tools = context.contains("tools") && !context["tools"].empty();
  auto source = text::find_chat_template(file.metadata(), with_tools);
  if (!source)
    throw Error("'" + printable(path.string(), 300) + "' has no chat template",
                "give a template file instead");
  return {std::move(*source), text::special_token_texts(file.metadata())};
}

void print_spans(const text::Prompt& prompt) {
  Json spans = Json::array();
  for (const text::Span& span : prompt.spans) {
    spans.push_back({{"origin", span.origin == text::Origin::kTemplate ? "template" : "data"},
                     {"text", span.text}});
  }
  fmt::print("{}\n", Json{{"spans", std::move(spans)}}.dump());
}

void render(const RenderOptions& options) {
  const text::DateTime now =
      options.now.empty() ? text::DateTime::now() : text::DateTime::parse(options.now);
  Json context = read_context(options.context);
  auto [source, trusted] = load_template(resolve_model(plain_word(options.source)), context);
  for (const auto& [name, value] : context.items()) {
    if (!name.ends_with("_token")) continue;
    trusted.erase(name);  // what the context says wins, also when it says null
    if (value.is_string()) trusted.emplace(name, value.get<std::string>());
  }
  const std::string name = std::filesystem::path(options.source).filename().string();
  text::Prompt prompt;
  if (options.normalize) {
    const text::ChatTemplate chat(source, name);
    if (context.contains("messages")) {
      context["messages"] = text::normalize_messages(context["messages"], chat.capabilities());
    }
    prompt = chat.render_context(context, trusted, now);
  } else {
    prompt = text::jinja::Template(source, name).render(context, trusted, now);
  }
  if (options.spans) return print_spans(prompt);
  for (const text::Span& span : prompt.spans)
    std::fwrite(span.text.data(), 1, span.text.size(), stdout);
}

}  // namespace

void add_render_command(CLI::App& app) {
  auto options = std::make_shared<RenderOptions>();
  CLI::App* command =
      app.add_subcommand("render", "Print the prompt that a chat template makes of a conversation");
  command
      ->add_option("MODEL|TEMPLATE", options->source,
                   "A GGUF file, the name of a model in the store, or a file with a Jinja template")
      ->required();
  command->add_option("--context", options->context, "JSON file with the template's variables")
      ->required()
      ->type_name("FILE.json");
  command
      ->add_option("--now", options->now,
                   "The time that strftime_now sees (default: the computer's)")
      ->type_name("YYYY-MM-DDTHH:MM:SS");
  command->add_flag("--spans", options->spans,
                    "Show which text the template wrote and which came from data, as JSON");
  command->add_flag("--normalize", options->normalize,
                    "Adapt the messages to what the template can do, as hearth run does");
  command->footer(kRenderFooter);
  command->callback([options] { render(*options); });
}

}  // namespace hearth::cli
