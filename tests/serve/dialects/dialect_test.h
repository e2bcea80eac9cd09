// What the tests of all dialects share: reading event streams, and expecting refusals.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "serve/chat_request.h"
#include "serve/dialects/exchange.h"

namespace hearth::serve::testing {

using Kind = text::ReplyEvent::Kind;

inline text::ReplyEvent text_event(std::string text) {
  text::ReplyEvent event;
  event.text = std::move(text);
  return event;
}
inline text::ReplyEvent reasoning_event(std::string text) {
  text::ReplyEvent event = text_event(std::move(text));
  event.kind = Kind::kReasoning;
  return event;
}
inline text::ReplyEvent call_event(Kind kind, int index, std::string name, std::string text,
                                   std::string id = {}) {
  text::ReplyEvent event = text_event(std::move(text));
  event.kind = kind;
  event.index = index;
  event.name = std::move(name);
  event.id = std::move(id);
  return event;
}
/// Start, the arguments in two pieces, end.
inline std::vector<text::ReplyEvent> whole_call(int index, const std::string& name,
                                                const std::string& arguments,
                                                const std::string& id) {
  const std::size_t half = arguments.size() / 2;
  return {call_event(Kind::kToolCallStart, index, name, "", id),
          call_event(Kind::kToolCallArguments, index, "", arguments.substr(0, half)),
          call_event(Kind::kToolCallArguments, index, "", arguments.substr(half)),
          call_event(Kind::kToolCallEnd, index, name, arguments, id)};
}

/// A call within which the reply was cut.
inline std::vector<text::ReplyEvent> cut_call() {
  return {call_event(Kind::kToolCallStart, 0, "f", ""),
          call_event(Kind::kToolCallArguments, 0, "", "{"),
          call_event(Kind::kToolCallDropped, 0, "", "<call>{")};
}

inline ReplyHeader header(int choices = 1) {
  ReplyHeader result;
  result.model = "m";
  result.id = "AbCdEfGhIjKlMnOpQrStUvWx";
  result.created = 1735142223;
  result.prompt_tokens = 9;
  result.choices = choices;
  return result;
}
inline Usage usage() {
  Usage result;
  result.prompt_tokens = 9;
  result.cached_tokens = 4;
  result.completion_tokens = 12;
  result.reasoning_tokens = 3;
  result.load_seconds = 0.25;
  result.prompt_seconds = 0.5;
  result.generate_seconds = 2;
  result.total_seconds = 3;
  return result;
}

/// Begins, writes `events` to choice 0, ends.
inline std::string write_reply(ReplyWriter& writer, const std::vector<text::ReplyEvent>& events,
                               ChoiceEnd end = {}) {
  std::string bytes = writer.begin(header());
  for (const text::ReplyEvent& event : events) bytes += writer.event(0, event, {});
  bytes += writer.choice_end(0, end);
  bytes += writer.end(usage());
  return bytes;
}

struct SseEvent {
  std::string name;
  Json data;  ///< a string when it is not JSON ("[DONE]")
};

/// Every event of a stream; fails when it is not one.
inline std::vector<SseEvent> read_sse(std::string_view stream) {
  std::vector<SseEvent> events;
  while (!stream.empty()) {
    const std::size_t end = stream.find("\n\n");
    if (end == std::string_view::npos) {
      ADD_FAILURE() << "unfinished event: " << stream;
      break;
    }
    std::string_view block = stream.substr(0, end);
    stream.remove_prefix(end + 2);
    SseEvent event;
    while (!block.empty()) {
      const std::string_view line = block.substr(0, block.find('\n'));
      block.remove_prefix(std::min(block.size(), line.size() + 1));
      if (line.starts_with("event: ")) event.name = line.substr(7);
      if (line.starts_with("data: ")) {
        event.data = Json::parse(line.substr(6), nullptr, false);
        if (event.data.is_discarded()) event.data = line.substr(6);
      }
    }
    events.push_back(std::move(event));
  }
  return events;
}

inline std::vector<Json> read_lines(std::string_view stream) {
  std::vector<Json> lines;
  while (!stream.empty()) {
    const std::size_t end = stream.find('\n');
    if (end == std::string_view::npos) {
      ADD_FAILURE() << "unfinished line: " << stream;
      break;
    }
    lines.push_back(Json::parse(stream.substr(0, end)));
    stream.remove_prefix(end + 1);
  }
  return lines;
}

/// The error that `read` throws; fails when it throws none.
template <class Read>
RequestError refusal(const Read& read) {
  try {
    static_cast<void>(read());
  } catch (const RequestError& error) {
    return error;
  }
  ADD_FAILURE() << "nothing was refused";
  return {};
}

}  // namespace hearth::serve::testing
