// Helpers of the reply reader's tests: read a reply in given pieces and add its events up.
#pragma once

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "support/utf8.h"
#include "text/reply_reader.h"

namespace hearth::text::testing {

struct Call {
  std::string name, arguments, id;
  bool operator==(const Call&) const = default;
};

/// A whole reply. Dropped calls are not in `calls`; `started` counts them too.
struct Reply {
  std::string text, reasoning;
  std::vector<Call> calls;
  int started = 0;
  int dropped = 0;
  int problems = 0;
  bool stopped = false;
  bool operator==(const Reply&) const = default;
};

inline std::ostream& operator<<(std::ostream& out, const Reply& reply) {
  out << "{text: " << ::testing::PrintToString(reply.text)
      << ", reasoning: " << ::testing::PrintToString(reply.reasoning);
  for (const Call& call : reply.calls)
    out << ", call " << call.name << "(" << call.arguments << ") id " << call.id;
  return out << ", started " << reply.started << ", dropped " << reply.dropped << ", problems "
             << reply.problems << ", stopped " << reply.stopped << "}";
}

/// Adds up events and checks what must hold for any of them.
class Collector {
 public:
  void add(const std::vector<ReplyEvent>& events) {
    using Kind = ReplyEvent::Kind;
    for (const ReplyEvent& event : events) {
      EXPECT_EQ(find_invalid_utf8(event.text), std::string::npos) << event.text;
      switch (event.kind) {
        case Kind::kText:
          reply.text += event.text;
          break;
        case Kind::kReasoning:
          reply.reasoning += event.text;
          break;
        case Kind::kToolCallStart:
          EXPECT_FALSE(open_);
          EXPECT_EQ(event.index, reply.started);
          ++reply.started;
          name_ = event.name;
          arguments_.clear();
          open_ = true;
          break;
        case Kind::kToolCallArguments:
          EXPECT_TRUE(open_);
          EXPECT_EQ(event.index, reply.started - 1);
          arguments_ += event.text;
          break;
        case Kind::kToolCallEnd:
          EXPECT_TRUE(open_);
          EXPECT_EQ(event.index, reply.started - 1);
          EXPECT_EQ(event.text, arguments_) << "deltas must add up to the arguments";
          EXPECT_EQ(event.name, name_);
          EXPECT_TRUE(nlohmann::json::parse(event.text, nullptr, false).is_object()) << event.text;
          EXPECT_FALSE(event.id.empty());
          reply.calls.push_back({event.name, event.text, event.id});
          open_ = false;
          break;
        case Kind::kToolCallDropped:
          EXPECT_TRUE(open_);
          ++reply.dropped;
          open_ = false;
          break;
        case Kind::kProblem:
          ++reply.problems;
          break;
      }
    }
  }
  void finish() { EXPECT_FALSE(open_) << "a call was neither completed nor dropped"; }
  Reply reply;

 private:
  std::string name_, arguments_;
  bool open_ = false;
};

inline Reply read_pieces(const ChatFormat& format, const ReplyOptions& options,
                         const std::vector<std::string_view>& pieces) {
  ReplyReader reader(format, options);
  Collector collector;
  for (std::string_view piece : pieces) collector.add(reader.push(piece));
  collector.add(reader.finish());
  collector.finish();
  collector.reply.stopped = reader.stopped();
  EXPECT_EQ(reader.complete_calls(), static_cast<int>(collector.reply.calls.size()));
  return collector.reply;
}

/// Reads `text` at once, in single bytes, and cut in two at every position; all must give the same.
inline Reply read_reply(const ChatFormat& format, const ReplyOptions& options,
                        std::string_view text) {
  const Reply whole = read_pieces(format, options, {text});
  std::vector<std::string_view> bytes;
  for (std::size_t i = 0; i < text.size(); ++i) bytes.push_back(text.substr(i, 1));
  EXPECT_EQ(read_pieces(format, options, bytes), whole) << "byte by byte: " << text;
  for (std::size_t cut = 1; cut < text.size(); ++cut) {
    const Reply parts = read_pieces(format, options, {text.substr(0, cut), text.substr(cut)});
    EXPECT_EQ(parts, whole) << "cut at " << cut << ": " << text;
    if (!(parts == whole)) break;
  }
  return whole;
}

}  // namespace hearth::text::testing
