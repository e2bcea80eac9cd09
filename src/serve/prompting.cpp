#include "serve/prompting.h"

#include <fmt/format.h>

#include <algorithm>

#include "generate/session.h"
#include "serve/request_failure.h"
#include "support/error.h"
#include "text/jinja/error.h"

namespace hearth::serve {
namespace {

using text::Origin;
using text::Prompt;
using text::TokenId;

std::string text_of(const Json& message) {
  const auto content = message.find("content");
  return content != message.end() && content->is_string() ? content->get<std::string>()
                                                          : std::string();
}

/// Without a template: paragraphs.
Prompt plain_prompt(const Json& messages) {
  Prompt prompt;
  for (const Json& message : messages) {
    const std::string content = text_of(message);
    if (content.empty()) continue;
    if (!prompt.spans.empty()) prompt.append("\n\n", Origin::kTemplate);
    prompt.append(content, Origin::kData);
  }
  return prompt;
}

/// For templates that know no tools: what text::generic_tool_format() reads.
std::string tools_in_words(const Json& tools, bool required) {
  std::string words = "You can call these functions, described as JSON:\n";
  for (const Json& tool : tools) words += tool.value("function", tool).dump() + "\n";
  words +=
      "To call functions, answer only with JSON of the form "
      "{\"tool_calls\": [{\"name\": \"...\", \"arguments\": {...}}]}.";
  if (required) return words + " You must call at least one.";
  return words + " To answer without a call, write {\"response\": \"...\"}.";
}

/// Calls and their results as text, for such templates.
Json messages_in_words(const Json& messages, const Json& tools, bool required) {
  Json told = Json::array();
  const std::string words = tools_in_words(tools, required);
  const bool has_system = !messages.empty() && messages.front().value("role", "") == "system";
  if (!has_system) told.push_back({{"role", "system"}, {"content", words}});
  for (const Json& message : messages) {
    const std::string role = message.value("role", "");
    Json copy = message;
    if (has_system && told.empty()) {
      copy["content"] = text_of(message) + "\n\n" + words;
    } else if (role == "tool") {
      copy = {{"role", "user"}, {"content", "Result of the call: " + text_of(message)}};
    } else if (role == "assistant" && message.contains("tool_calls")) {
      Json calls = Json::array();
      for (const Json& call : message["tool_calls"]) calls.push_back(call.value("function", call));
      copy.erase("tool_calls");
      copy["content"] = Json{{"tool_calls", std::move(calls)}}.dump();
    }
    told.push_back(std::move(copy));
  }
  return told;
}

/// The beginning of the answer that the client wrote.
void append_beginning(Prompt& prompt, const text::ChatFormat& format, const std::string& text) {
  std::size_t marker = 0;
  const bool reasons =
      text::reasoning_state(format, prompt.str(), &marker) == text::ReasoningState::kOpened;
  if (reasons && marker < format.reasoning.size() && !format.reasoning[marker].close.empty())
    prompt.append(format.reasoning[marker].close + "\n\n", Origin::kTemplate);
  prompt.append(text, Origin::kData);
}

std::size_t common_bytes(std::string_view a, std::string_view b) noexcept {
  const auto [end, other] = std::mismatch(
      a.begin(), a.begin() + static_cast<std::ptrdiff_t>(std::min(a.size(), b.size())), b.begin());
  return static_cast<std::size_t>(end - a.begin());
}

/// How many whole tokens the first `bytes` of the prompt hold. A hint: vocabularies that add a
/// space before a text are off by one byte.
std::int64_t tokens_in(const text::Tokenizer& tokenizer, const std::vector<TokenId>& tokens,
                       std::size_t bytes) {
  std::size_t seen = 0;
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    seen += tokenizer.piece(tokens[i], /*special=*/true).size();
    if (seen > bytes) return static_cast<std::int64_t>(i);
  }
  return static_cast<std::int64_t>(tokens.size());
}

/// The conversation with what the model was given to begin it with. A reply's ids that come before
/// it have that already.
Json with_defaults(const ModelDefaults& defaults, const ChatRequest& request) {
  const Json& messages = request.messages;
  const bool nothing = defaults.system.empty() && defaults.messages.empty();
  if (nothing || messages.empty() || !request.earlier_tokens.empty()) return messages;
  Json all = Json::array();
  const bool has_system = messages.front().value("role", "") == "system";
  if (has_system) {
    all.push_back(messages.front());
  } else if (!defaults.system.empty()) {
    all.push_back({{"role", "system"}, {"content", defaults.system}});
  }
  for (const Json& message : defaults.messages) all.push_back(message);
  for (std::size_t i = has_system ? 1 : 0; i < messages.size(); ++i) all.push_back(messages[i]);
  return all;
}

/// Throws RequestFailure for ids outside the vocabulary.
void check_ids(const text::Tokenizer& tokenizer, const std::vector<TokenId>& tokens,
               const char* parameter) {
  for (const TokenId token : tokens) {
    if (token >= 0 && static_cast<std::size_t>(token) < tokenizer.size()) continue;
    throw RequestFailure(
        400, fmt::format("token {} is outside the vocabulary of {}", token, tokenizer.size()),
        "invalid_value", parameter);
  }
}

class ChatRenderer {
 public:
  ChatRenderer(const ServedModel& model, const ChatRequest& request)
      : model_(model),
        request_(request),
        with_tools_(request.tools.is_array() && !request.tools.empty() &&
                    request.tool_choice.mode != ToolMode::kNone),
        chat_(model.chat(with_tools_)) {
    format_ = chat_ ? chat_->format() : text::ChatFormat();
    in_words_ = with_tools_ && !format_.template_knows_tools;
    if (in_words_) format_ = text::generic_tool_format(std::move(format_));
    messages_ = with_defaults(model.defaults(), request);
    if (request.continue_last && !messages_.empty()) {
      beginning_ = text_of(messages_.back());
      messages_.erase(messages_.size() - 1);
    }
    if (in_words_) {
      messages_ = messages_in_words(messages_, request.tools,
                                    request.tool_choice.mode == ToolMode::kRequired);
    }
    set_variables();
  }

  ChatTokens make() {
    Prompt prompt = render(messages_, true);
    if (request_.continue_last) append_beginning(prompt, format_, beginning_);
    ChatTokens result;
    result.text = prompt.str();
    result.tokens = generate::prompt_tokens(model_.tokenizer(), prompt);
    if (result.tokens.empty())
      throw RequestFailure(400, "there is nothing to answer: the messages are empty",
                           "empty_prompt", request_.prompt_field);
    add_boundaries(result);
    if (!request_.earlier_tokens.empty()) put_before(request_.earlier_tokens, result);
    result.format = std::move(format_);
    result.reasoning_budget = budget_;
    if (with_tools_) result.tools = request_.tools;
    for (const Json& message : request_.messages) {
      const auto calls = message.find("tool_calls");
      if (calls != message.end() && calls->is_array())
        result.earlier_calls += static_cast<int>(calls->size());
    }
    return result;
  }

 private:
  void set_variables() {
    variables_ =
        request_.template_variables.is_object() ? request_.template_variables : Json::object();
    budget_ = request_.thinking_budget;
    if (request_.must_think && !text::can_think(format_)) {
      throw RequestFailure(
          400, fmt::format("\"{}\" does not support thinking", printable(request_.model)),
          "unsupported_value", "think");
    }
    if (!request_.thinking) return;
    const Json switches = text::thinking_arguments(format_, *request_.thinking,
                                                   *request_.thinking ? budget_ : std::nullopt);
    // A template without a switch: reasoning is closed as soon as it opens.
    if (!*request_.thinking && switches.empty()) budget_ = 0;
    for (const auto& [name, value] : switches.items()) {
      if (!variables_.contains(name)) variables_[name] = value;
    }
  }

  [[nodiscard]] Prompt render(const Json& messages, bool ask) const {
    if (!chat_) return plain_prompt(messages);
    const Json* tools = with_tools_ && !in_words_ ? &request_.tools : nullptr;
    try {
      return chat_->render(messages, tools, variables_, ask);
    } catch (const text::jinja::TemplateError& error) {
      throw RequestFailure(400,
                           fmt::format("the model's chat template refuses the conversation: {}",
                                       printable(error.what(), 400)),
                           "template_error", "messages");
    }
  }

  /// Ids of an earlier reply: the prompt goes on where that ended.
  void put_before(const std::vector<std::int32_t>& earlier, ChatTokens& result) const {
    const text::Tokenizer& tokenizer = model_.tokenizer();
    check_ids(tokenizer, earlier, "context");
    std::vector<TokenId>& tokens = result.tokens;
    std::int64_t added = static_cast<std::int64_t>(earlier.size());
    if (tokens.size() > 1 && tokens.front() == tokenizer.special().bos) {
      tokens.erase(tokens.begin());
      --added;
    }
    tokens.insert(tokens.begin(), earlier.begin(), earlier.end());
    for (std::int64_t& boundary : result.boundaries) boundary += added;
  }

  /// Where the system prompt ends, and where the conversation does before the answer is asked for.
  void add_boundaries(ChatTokens& result) const {
    constexpr std::size_t kWorthIt = 256;
    if (!chat_ || result.tokens.size() < kWorthIt) return;
    try {
      std::vector<std::size_t> ends;
      // Of a conversation that is only the beginning of the answer nothing is left here.
      const bool has_system = !messages_.empty() && messages_.front().value("role", "") == "system";
      if (has_system || with_tools_) {
        Json first = Json::array();
        if (has_system) first.push_back(messages_.front());
        first.push_back({{"role", "user"}, {"content", "\x01"}});
        ends.push_back(common_bytes(result.text, render(first, false).str()));
      }
      ends.push_back(common_bytes(result.text, render(messages_, false).str()));
      for (const std::size_t end : ends) {
        const std::int64_t tokens = tokens_in(model_.tokenizer(), result.tokens, end);
        const std::int64_t last = result.boundaries.empty() ? 0 : result.boundaries.back();
        if (tokens > last && tokens < static_cast<std::int64_t>(result.tokens.size()))
          result.boundaries.push_back(tokens);
      }
    } catch (const RequestFailure&) {
      // Some templates refuse conversations that are not whole: then there are no hints.
    }
  }

  const ServedModel& model_;
  const ChatRequest& request_;
  bool with_tools_;
  const generate::ChatPrompt* chat_;  // null: the model has no template
  text::ChatFormat format_;
  bool in_words_ = false;
  Json messages_, variables_;
  std::string beginning_;
  std::optional<int> budget_;
};

}  // namespace

bool can_fill_in(const text::Tokenizer& tokenizer) noexcept {
  const text::SpecialTokens& special = tokenizer.special();
  return special.fim_prefix >= 0 && special.fim_suffix >= 0 && special.fim_middle >= 0;
}

std::vector<TokenId> fill_in_tokens(const ServedModel& model, const Gap& gap) {
  const text::Tokenizer& tokenizer = model.tokenizer();
  if (!can_fill_in(tokenizer)) {
    throw RequestFailure(501, "this model has no tokens for filling a gap in a text", "no_fill_in",
                         "suffix");
  }
  const text::SpecialTokens& special = tokenizer.special();
  std::vector<TokenId> tokens;
  if (special.add_bos && special.bos >= 0) tokens.push_back(special.bos);
  const auto append = [&](TokenId mark, const std::string& text) {
    if (mark >= 0) tokens.push_back(mark);
    const std::vector<TokenId> ids = tokenizer.encode(text, {});
    tokens.insert(tokens.end(), ids.begin(), ids.end());
  };
  // Models that were trained on whole repositories have tokens for their files; others get the
  // texts in front.
  const bool knows_files = special.fim_repository >= 0 && special.fim_separator >= 0;
  if (!gap.files.empty() && knows_files) append(special.fim_repository, "repository\n");
  for (const auto& [name, text] : gap.files) {
    append(knows_files ? special.fim_separator : -1,
           knows_files ? name + "\n" + text + "\n" : text + "\n");
  }
  if (!gap.files.empty() && knows_files) append(special.fim_separator, "filename\n");
  append(special.fim_prefix, gap.prefix);
  append(special.fim_suffix, gap.suffix);
  append(special.fim_middle, gap.beginning);
  return tokens;
}

ChatTokens chat_tokens(const ServedModel& model, const ChatRequest& request) {
  if (!request.messages.is_array() || request.messages.empty())
    throw RequestFailure(400, "there are no messages", "empty_prompt", request.prompt_field);
  return ChatRenderer(model, request).make();
}

std::vector<TokenId> mixed_tokens(const text::Tokenizer& tokenizer,
                                  std::span<const PromptPart> parts,
                                  const text::EncodeOptions& options, const char* parameter) {
  std::vector<TokenId> tokens;
  text::EncodeOptions each = options;
  for (const PromptPart& part : parts) {
    check_ids(tokenizer, part.ids, parameter);
    const std::vector<TokenId> ids =
        part.ids.empty() ? tokenizer.encode(part.text, each) : part.ids;
    tokens.insert(tokens.end(), ids.begin(), ids.end());
    each.add_special = false;
  }
  return tokens;
}

std::vector<TokenId> completion_tokens(const ServedModel& model, const CompletionRequest& request,
                                       std::size_t index) {
  const text::Tokenizer& tokenizer = model.tokenizer();
  if (index < request.tokens.size() && !request.tokens[index].empty()) {
    const std::vector<TokenId>& tokens = request.tokens[index];
    check_ids(tokenizer, tokens, "prompt");
    return tokens;
  }
  // Completions are raw: who sends one writes the markup, control tokens included.
  const auto tokens_of = [&tokenizer](const std::string& text) {
    Prompt prompt;
    prompt.append(text, Origin::kTemplate);
    return generate::prompt_tokens(tokenizer, prompt);
  };
  if (index < request.parts.size() && !request.parts[index].empty()) {
    std::span<const PromptPart> parts = request.parts[index];
    std::vector<TokenId> tokens;
    if (parts.front().ids.empty()) {  // which stands where a text begins
      tokens = tokens_of(parts.front().text);
      parts = parts.subspan(1);
    }
    const std::vector<TokenId> rest =
        mixed_tokens(tokenizer, parts, {.parse_special = true}, "prompt");
    tokens.insert(tokens.end(), rest.begin(), rest.end());
    return tokens;
  }
  const std::string& text = request.prompts.at(index);
  if (!request.suffix.empty())
    return fill_in_tokens(model, {.prefix = text, .suffix = request.suffix, .beginning = {}});
  std::vector<TokenId> tokens = tokens_of(text);
  if (tokens.empty())
    throw RequestFailure(400, "the prompt is empty, and this model has no token to begin with",
                         "empty_prompt", "prompt");
  return tokens;
}

}  // namespace hearth::serve
