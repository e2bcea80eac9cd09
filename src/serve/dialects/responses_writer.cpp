// Replies of /v1/responses: items (reasoning, messages, calls), and the events that tell of them.
#include "serve/dialects/responses_writer.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "serve/dialects/json_body.h"
#include "serve/dialects/reply_parts.h"
#include "support/base64.h"
#include "support/utf8.h"

namespace hearth::serve {
namespace {

using Kind = text::ReplyEvent::Kind;

constexpr std::string_view kSeal = "hearth-reasoning-1:";

enum class ItemKind { kReasoning, kMessage, kFunction, kCustom };

struct Item {
  ItemKind kind = ItemKind::kMessage;
  std::string id;
  std::string text;  ///< of calls: the arguments
  std::string call_id, name;
  Json logprobs = Json::array();
};

/// Both forms: a collected reply makes the same items and tells of none.
class ResponsesWriter : public EventsOrBody {
 public:
  explicit ResponsesWriter(ResponsesReplyOptions options)
      : EventsOrBody(Dialect::kOpenAi, options.stream), options_(std::move(options)) {}

  std::string begin(const ReplyHeader& header) override {
    header_ = header;
    if (!streams()) return {};
    const Json response = response_object("in_progress");
    std::string bytes = tell("response.created", {{"response", response}});
    return bytes + tell("response.in_progress", {{"response", response}});
  }

  std::string event(int choice, const text::ReplyEvent& event,
                    const std::vector<TokenLogprob>& logprobs) override {
    if (choice != 0) return {};  // there is only one
    switch (event.kind) {
      case Kind::kText:
        return add(ItemKind::kMessage, event.text, logprobs);
      case Kind::kReasoning:
        return add(ItemKind::kReasoning, event.text, {});
      case Kind::kToolCallStart:
        return start_call(event);
      case Kind::kToolCallArguments:
        return call_arguments(event.text);
      case Kind::kToolCallEnd:
        return end_call(event);
      case Kind::kToolCallDropped:
        if (streams()) return close("incomplete");
        open_.reset();
        return event.text.empty() ? std::string() : add(ItemKind::kMessage, event.text, logprobs);
      case Kind::kProblem:
        break;
    }
    return {};
  }

  std::string choice_end(int choice, const ChoiceEnd& end) override {
    if (choice == 0) end_ = end;
    std::string bytes;
    // Clients read the message of every answer: one that says nothing has an empty one.
    if (!answered() && !cut()) bytes = start_text(ItemKind::kMessage);
    return bytes + close(cut() ? "incomplete" : "completed");
  }

  std::string end(const Usage& usage) override {
    std::string bytes = close("completed");
    const std::string status = cut() ? "incomplete" : "completed";
    Json response = response_object(status);
    if (cut()) response["incomplete_details"] = {{"reason", "max_output_tokens"}};
    response["output"] = output_;
    response["usage"] = {{"input_tokens", usage.prompt_tokens},
                         {"input_tokens_details", {{"cached_tokens", usage.cached_tokens}}},
                         {"output_tokens", usage.completion_tokens},
                         {"output_tokens_details", {{"reasoning_tokens", usage.reasoning_tokens}}},
                         {"total_tokens", usage.prompt_tokens + usage.completion_tokens}};
    if (!streams()) return to_line(response);
    return bytes + tell("response." + status, {{"response", std::move(response)}});
  }

  std::string fail(int status, std::string_view message) override {
    if (!streams()) return EventsOrBody::fail(status, message);
    Json response = response_object("failed");
    response["output"] = output_;
    response["error"] = {{"code", status == 429 ? "rate_limit_exceeded" : "server_error"},
                         {"message", to_valid_utf8(message)}};
    return tell("response.failed", {{"response", std::move(response)}});
  }

 private:
  [[nodiscard]] bool cut() const { return finish_reason(end_.reason) == "length"; }

  /// A message or a call was begun.
  [[nodiscard]] bool answered() const {
    return (open_ && open_->kind != ItemKind::kReasoning) ||
           std::ranges::any_of(output_,
                               [](const Json& item) { return item["type"] != "reasoning"; });
  }

  [[nodiscard]] Json response_object(std::string_view status) const {
    Json response = {{"id", "resp_" + header_.id},    {"object", "response"},
                     {"created_at", header_.created}, {"status", status},
                     {"background", false},           {"error", nullptr},
                     {"incomplete_details", nullptr}, {"model", header_.model},
                     {"output", Json::array()},       {"usage", nullptr}};
    response.update(options_.echo);
    return response;
  }

  /// One event; nothing in a collected reply.
  std::string tell(std::string_view type, Json members) {
    if (!streams()) return {};
    Json data = {{"type", type}, {"sequence_number", sequence_++}};
    data.update(members);
    return sse(type, data);
  }
  /// An event about the open item, perhaps about its only part.
  std::string tell_item(std::string_view type, Json members, bool part = false) {
    if (!streams()) return {};
    Json all = {{"item_id", open_->id}, {"output_index", output_.size()}};
    if (part) all["content_index"] = 0;
    all.update(members);
    return tell(type, std::move(all));
  }

  static Json part_object(const Item& item, std::string text) {
    if (item.kind == ItemKind::kReasoning) {
      return {{"type", "reasoning_text"}, {"text", std::move(text)}};
    }
    return {{"type", "output_text"},
            {"text", std::move(text)},
            {"annotations", Json::array()},
            {"logprobs", item.logprobs}};
  }

  [[nodiscard]] Json item_object(const Item& item, std::string_view status) const {
    const bool begun = status == "in_progress";
    switch (item.kind) {
      case ItemKind::kReasoning: {
        Json json = {{"type", "reasoning"}, {"id", item.id}, {"summary", Json::array()}};
        json["content"] = begun ? Json::array() : Json::array({part_object(item, item.text)});
        if (options_.encrypted_reasoning) {
          json["encrypted_content"] = begun ? std::string() : seal_reasoning(item.text);
        }
        json["status"] = status;
        return json;
      }
      case ItemKind::kMessage:
        return {{"type", "message"},
                {"id", item.id},
                {"status", status},
                {"role", "assistant"},
                {"content", begun ? Json::array() : Json::array({part_object(item, item.text)})}};
      case ItemKind::kFunction:
        return {{"type", "function_call"}, {"id", item.id},          {"call_id", item.call_id},
                {"name", item.name},       {"arguments", item.text}, {"status", status}};
      case ItemKind::kCustom:
        break;
    }
    return {{"type", "custom_tool_call"},
            {"id", item.id},
            {"call_id", item.call_id},
            {"name", item.name},
            {"input", begun ? "" : input_of(item.text)},
            {"status", status}};
  }

  /// The text that a custom tool is called with.
  static std::string input_of(const std::string& arguments) {
    const Json object = arguments_object(arguments);
    const Json* input = find_member(object, "input");
    return input != nullptr && input->is_string() ? input->get<std::string>() : arguments;
  }

  std::string open(ItemKind kind, std::string_view prefix) {
    std::string bytes = close("completed");
    open_.emplace();
    open_->kind = kind;
    open_->id = std::string(prefix) + header_.id + std::to_string(output_.size());
    return bytes;
  }

  std::string tell_added() {
    return tell("response.output_item.added",
                {{"output_index", output_.size()}, {"item", item_object(*open_, "in_progress")}});
  }

  /// Opens a message or reasoning with its only part.
  std::string start_text(ItemKind kind) {
    std::string bytes = open(kind, kind == ItemKind::kMessage ? "msg_" : "rs_");
    bytes += tell_added();
    return bytes +
           tell_item("response.content_part.added", {{"part", part_object(*open_, "")}}, true);
  }

  std::string add(ItemKind kind, const std::string& text,
                  const std::vector<TokenLogprob>& logprobs) {
    if (text.empty() && logprobs.empty()) return {};
    std::string bytes;
    const bool message = kind == ItemKind::kMessage;
    if (!open_ || open_->kind != kind) bytes = start_text(kind);
    open_->text += text;
    Json delta = {{"delta", text}};
    if (message) {
      Json list = options_.logprobs ? logprob_list(logprobs) : Json::array();
      for (const Json& entry : list) open_->logprobs.push_back(entry);
      delta["logprobs"] = std::move(list);
    }
    const auto* type = message ? "response.output_text.delta" : "response.reasoning_text.delta";
    return bytes + tell_item(type, std::move(delta), true);
  }

  std::string start_call(const text::ReplyEvent& event) {
    const bool custom = options_.custom_tools.contains(event.name);
    std::string bytes =
        open(custom ? ItemKind::kCustom : ItemKind::kFunction, custom ? "ctc_" : "fc_");
    open_->call_id = call_id(event, header_.id, 0);
    open_->name = event.name;
    return bytes + tell_added();
  }

  [[nodiscard]] bool in_call() const {
    return open_ && (open_->kind == ItemKind::kFunction || open_->kind == ItemKind::kCustom);
  }

  std::string call_arguments(const std::string& text) {
    if (!in_call()) return {};
    open_->text += text;
    if (open_->kind == ItemKind::kCustom) return {};  // known when all of its JSON is
    return tell_item("response.function_call_arguments.delta", {{"delta", text}});
  }

  std::string end_call(const text::ReplyEvent& event) {
    if (!in_call()) return {};
    open_->text = event.text;
    return close("completed");
  }

  std::string close(std::string_view status) {
    if (!open_) return {};
    std::string bytes;
    const Item& item = *open_;
    switch (item.kind) {
      case ItemKind::kReasoning:
        bytes += tell_item("response.reasoning_text.done", {{"text", item.text}}, true);
        bytes +=
            tell_item("response.content_part.done", {{"part", part_object(item, item.text)}}, true);
        break;
      case ItemKind::kMessage:
        bytes += tell_item("response.output_text.done",
                           {{"text", item.text}, {"logprobs", item.logprobs}}, true);
        bytes +=
            tell_item("response.content_part.done", {{"part", part_object(item, item.text)}}, true);
        break;
      case ItemKind::kFunction:
        bytes += tell_item("response.function_call_arguments.done",
                           {{"name", item.name}, {"arguments", item.text}});
        break;
      case ItemKind::kCustom: {
        const std::string input = input_of(item.text);
        bytes += tell_item("response.custom_tool_call_input.delta", {{"delta", input}});
        bytes += tell_item("response.custom_tool_call_input.done", {{"input", input}});
        break;
      }
    }
    Json json = item_object(item, status);
    bytes += tell("response.output_item.done", {{"output_index", output_.size()}, {"item", json}});
    output_.push_back(std::move(json));
    open_.reset();
    return bytes;
  }

  ResponsesReplyOptions options_;
  ReplyHeader header_;
  int sequence_ = 0;
  std::optional<Item> open_;
  Json output_ = Json::array();  // items that are done
  ChoiceEnd end_;
};

}  // namespace

std::unique_ptr<ReplyWriter> make_responses_writer(ResponsesReplyOptions options) {
  return std::make_unique<ResponsesWriter>(std::move(options));
}

std::string seal_reasoning(std::string_view reasoning) {
  return encode_base64(std::string(kSeal) + std::string(reasoning));
}

std::string unseal_reasoning(std::string_view sealed) {
  const std::optional<std::string> text = decode_base64(sealed);
  if (!text || !text->starts_with(kSeal)) return {};
  return to_valid_utf8(std::string_view(*text).substr(kSeal.size()));
}

}  // namespace hearth::serve
