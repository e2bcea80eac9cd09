// The protocol for templates that know no tools: the answer is {"tool_calls": [{"name",
// "arguments"}, …]} or
// {"response": "text"}, and a grammar holds the model to it.
#include "text/formats/call_reader.h"

namespace hearth::text {
namespace {

class GenericReply : public CallReader {
 public:
  Step step(Input& input, EventSink& sink) override {
    switch (state_) {
      case State::kOpen:
        return expect(input, '{', State::kKey);
      case State::kKey:
        return read_key(input);
      case State::kColon:
        return expect(input, ':', key_ == "response" ? State::kResponse : State::kCalls);
      case State::kResponse:
        return read_response(input, sink);
      case State::kCalls:
        return read_calls(input, sink);
      case State::kClose:
        break;
    }
    if (!skip_space(input)) return input.final() ? Step::kDone : Step::kMore;
    if (input.rest().front() == '}') input.consume(1);
    return Step::kDone;
  }

 private:
  enum class State : std::uint8_t { kOpen, kKey, kColon, kResponse, kCalls, kClose };

  Step expect(Input& input, char wanted, State next) {
    if (!skip_space(input)) return Step::kMore;
    if (input.rest().front() != wanted) return Step::kBroken;
    input.consume(1);
    state_ = next;
    return Step::kAgain;
  }

  Step read_key(Input& input) {
    const Step result = read_value(input, literal_);
    if (result != Step::kDone) return result;
    key_ = json_string_content(literal_).value_or(std::string());
    if (key_ != "response" && key_ != "tool_calls") return Step::kBroken;
    value_ = ValueReader();
    state_ = State::kColon;
    return Step::kAgain;
  }

  Step read_value(Input& input, std::string& out) {
    std::size_t consumed = 0;
    const ValueReader::Status status = value_.read(input.rest(), input.final(), consumed, out);
    input.consume(consumed);
    if (status == ValueReader::Status::kMore) return Step::kMore;
    return status == ValueReader::Status::kDone ? Step::kDone : Step::kBroken;
  }

  /// The reader gives a JSON literal piece by piece, never cutting an escape: each piece is decoded
  /// by itself.
  Step read_response(Input& input, EventSink& sink) {
    if (!in_response_) {
      if (!skip_space(input)) return Step::kMore;
      if (input.rest().front() != '"') return Step::kBroken;
    }
    std::string piece;
    const Step result = read_value(input, piece);
    if (piece.empty()) return result;
    if (in_response_) piece.insert(0, 1, '"');
    in_response_ = true;
    if (result != Step::kDone) piece += '"';
    sink.text(json_string_content(piece).value_or(std::string()));
    input.forget_record();
    if (result != Step::kDone) return result;
    state_ = State::kClose;
    return Step::kAgain;
  }

  Step read_calls(Input& input, EventSink& sink) {
    if (!calls_) {
      if (!skip_space(input)) return Step::kMore;
      if (input.rest().front() != '[') return Step::kBroken;
      calls_ = make_json_reader(CallSyntax{});
    }
    const Step result = calls_->step(input, sink);
    if (result == Step::kDone) {
      state_ = State::kClose;
      return Step::kAgain;
    }
    return result;
  }

  State state_ = State::kOpen;
  ValueReader value_;
  std::unique_ptr<CallReader> calls_;
  std::string key_, literal_;
  bool in_response_ = false;
};

}  // namespace

std::unique_ptr<CallReader> make_generic_reader() { return std::make_unique<GenericReply>(); }

}  // namespace hearth::text
