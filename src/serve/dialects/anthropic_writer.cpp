// Replies of /v1/messages: blocks of text, thinking and tool use, one after the other.
#include "serve/dialects/anthropic_writer.h"

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "serve/dialects/json_body.h"
#include "serve/dialects/reply_parts.h"

namespace hearth::serve {
namespace {

using Kind = text::ReplyEvent::Kind;

/// Clients send it back with the thinking; nothing here needs it.
constexpr std::string_view kSignature = "aGVhcnRo";

enum class BlockKind { kText, kThinking, kTool };

struct Block {
  BlockKind kind = BlockKind::kText;
  std::string text;  ///< of a call: its arguments
  std::string id, name;
};

std::pair<std::string_view, Json> stop_reason(const ChoiceEnd& end) {
  switch (end.reason) {
    case EndReason::kStopText:
      return {"stop_sequence", end.stop_text};
    case EndReason::kLength:
    case EndReason::kCancelled:
      return {"max_tokens", nullptr};
    case EndReason::kContext:
      return {"model_context_window_exceeded", nullptr};
    case EndReason::kToolCalls:
      return {"tool_use", nullptr};
    case EndReason::kStop:
      break;
  }
  return {"end_turn", nullptr};
}

Json usage_object(std::int64_t input, std::int64_t cached, std::int64_t output) {
  return {{"input_tokens", input - cached},
          {"cache_creation_input_tokens", 0},
          {"cache_read_input_tokens", cached},
          {"output_tokens", output}};
}

/// Turns events into blocks that do not interleave. A stream says what happens to them as it
/// happens; a collected reply keeps them.
class AnthropicWriter : public EventsOrBody {
 public:
  explicit AnthropicWriter(bool stream) : EventsOrBody(Dialect::kAnthropic, stream) {}

  std::string begin(const ReplyHeader& header) override {
    header_ = header;
    if (!streams()) return {};
    Json message = frame();
    message["content"] = Json::array();
    message["stop_reason"] = nullptr;
    message["stop_sequence"] = nullptr;
    message["usage"] = usage_object(header.prompt_tokens, 0, 1);
    return sse("message_start", {{"type", "message_start"}, {"message", std::move(message)}});
  }

  std::string event(int choice, const text::ReplyEvent& event,
                    const std::vector<TokenLogprob>& /*logprobs*/) override {
    if (choice != 0) return {};  // there is only one
    switch (event.kind) {
      case Kind::kText:
        return add(BlockKind::kText, event.text);
      case Kind::kReasoning:
        return add(BlockKind::kThinking, event.text);
      case Kind::kToolCallStart: {
        std::string bytes = close();
        return bytes + open({.kind = BlockKind::kTool,
                             .text = {},
                             .id = call_id(event, header_.id, choice),
                             .name = event.name});
      }
      case Kind::kToolCallArguments:
        if (!open_ || open_->kind != BlockKind::kTool) return {};
        return append(event.text);
      case Kind::kToolCallEnd:
        if (open_ && !streams()) open_->text = event.text;
        return close();
      case Kind::kToolCallDropped:
        if (streams()) return close();  // it cannot be taken back
        open_.reset();
        return event.text.empty() ? std::string() : add(BlockKind::kText, event.text);
      case Kind::kProblem:
        break;
    }
    return {};
  }

  std::string choice_end(int choice, const ChoiceEnd& end) override {
    if (choice == 0) end_ = end;
    return close();
  }

  std::string end(const Usage& usage) override {
    auto [reason, sequence] = stop_reason(end_);
    Json counts = usage_object(usage.prompt_tokens, usage.cached_tokens, usage.completion_tokens);
    if (!streams()) {
      Json message = frame();
      message["content"] = Json::array();
      for (const Block& block : blocks_) message["content"].push_back(whole(block));
      message["stop_reason"] = reason;
      message["stop_sequence"] = std::move(sequence);
      message["usage"] = std::move(counts);
      return to_line(message);
    }
    const Json delta = {{"type", "message_delta"},
                        {"delta", {{"stop_reason", reason}, {"stop_sequence", sequence}}},
                        {"usage", std::move(counts)}};
    return close() + sse("message_delta", delta) + sse("message_stop", {{"type", "message_stop"}});
  }

  std::string fail(int status, std::string_view message) override {
    return (streams() ? "event: error\n" : "") + EventsOrBody::fail(status, message);
  }
  std::string keep_alive() override {
    return streams() ? sse("ping", {{"type", "ping"}}) : std::string();
  }

 private:
  [[nodiscard]] Json frame() const {
    return {{"id", "msg_" + header_.id},
            {"type", "message"},
            {"role", "assistant"},
            {"model", header_.model}};
  }

  static Json whole(const Block& block) {
    switch (block.kind) {
      case BlockKind::kThinking:
        return {{"type", "thinking"}, {"thinking", block.text}, {"signature", kSignature}};
      case BlockKind::kTool:
        return {{"type", "tool_use"},
                {"id", block.id},
                {"name", block.name},
                {"input", arguments_object(block.text)}};
      case BlockKind::kText:
        break;
    }
    return {{"type", "text"}, {"text", block.text}};
  }

  static Json empty(const Block& block) {
    switch (block.kind) {
      case BlockKind::kThinking:
        return {{"type", "thinking"}, {"thinking", ""}, {"signature", ""}};
      case BlockKind::kTool:
        return {{"type", "tool_use"},
                {"id", block.id},
                {"name", block.name},
                {"input", Json::object()}};
      case BlockKind::kText:
        break;
    }
    return {{"type", "text"}, {"text", ""}};
  }

  std::string open(Block block) {
    open_ = std::move(block);
    if (!streams()) return {};
    return sse(
        "content_block_start",
        {{"type", "content_block_start"}, {"index", index_}, {"content_block", empty(*open_)}});
  }

  [[nodiscard]] std::string delta(Json what) const {
    return sse("content_block_delta",
               {{"type", "content_block_delta"}, {"index", index_}, {"delta", std::move(what)}});
  }

  std::string append(const std::string& text) {
    if (!streams()) {
      open_->text += text;
      return {};
    }
    switch (open_->kind) {
      case BlockKind::kThinking:
        return delta({{"type", "thinking_delta"}, {"thinking", text}});
      case BlockKind::kTool:
        return delta({{"type", "input_json_delta"}, {"partial_json", text}});
      case BlockKind::kText:
        break;
    }
    return delta({{"type", "text_delta"}, {"text", text}});
  }

  std::string add(BlockKind kind, const std::string& text) {
    if (text.empty()) return {};
    std::string bytes;
    if (!open_ || open_->kind != kind) {
      bytes = close();
      bytes += open({.kind = kind, .text = {}, .id = {}, .name = {}});
    }
    return bytes + append(text);
  }

  std::string close() {
    if (!open_) return {};
    std::string bytes;
    if (streams()) {
      if (open_->kind == BlockKind::kThinking) {
        bytes = delta({{"type", "signature_delta"}, {"signature", kSignature}});
      }
      bytes += sse("content_block_stop", {{"type", "content_block_stop"}, {"index", index_++}});
    } else {
      blocks_.push_back(std::move(*open_));
    }
    open_.reset();
    return bytes;
  }

  ReplyHeader header_;
  std::optional<Block> open_;
  int index_ = 0;              // of the open block, or the next one
  std::vector<Block> blocks_;  // of a collected reply
  ChoiceEnd end_;
};

}  // namespace

std::unique_ptr<ReplyWriter> make_anthropic_writer(bool stream) {
  return std::make_unique<AnthropicWriter>(stream);
}

}  // namespace hearth::serve
