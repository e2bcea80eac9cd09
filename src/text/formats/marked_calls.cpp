// Calls as a marker, the name, a marker, and the arguments as JSON: Kimi, Mistral, DeepSeek,
// Functionary 3.1, Gemma 4…
#include "text/formats/call_reader.h"

namespace hearth::text {
namespace {

class MarkedCall : public CallReader {
 public:
  explicit MarkedCall(const CallSyntax& syntax) : syntax_(syntax), arguments_(syntax.quote_token) {}

  Step step(Input& input, EventSink& sink) override {
    switch (state_) {
      case State::kPrefix:
        return skip_prefix(input);
      case State::kId:
        return read_field(input, syntax_.id_end, id_, State::kName);
      case State::kName:
        return read_name(input, sink);
      case State::kLateId:
        return read_field(input, syntax_.arguments_open, id_, State::kFence);
      case State::kFence:
        return open_fence(input);
      case State::kArguments:
        return read_arguments(input, sink);
      case State::kEndFence:
        return close_fence(input);
      case State::kClose:
        break;
    }
    if (!syntax_.close.empty() && skip_marker(input, syntax_.close) == Match::kPartial)
      return Step::kMore;
    sink.end(id_);
    input.forget_record();
    return Step::kDone;
  }

 private:
  enum class State : std::uint8_t {
    kPrefix,
    kId,
    kName,
    kLateId,
    kFence,
    kArguments,
    kEndFence,
    kClose
  };

  Step skip_prefix(Input& input) {
    if (!syntax_.prefix.empty() && skip_marker(input, syntax_.prefix) == Match::kPartial)
      return Step::kMore;
    state_ = syntax_.id_end.empty() ? State::kName : State::kId;
    return Step::kAgain;
  }

  /// Reads up to `end`, which is consumed.
  Step read_field(Input& input, std::string_view end, std::string& field, State next) {
    const std::size_t at = input.rest().find(end);
    if (at == std::string_view::npos)
      return input.rest().size() > kMaxField + kMaxMarker ? Step::kBroken : Step::kMore;
    if (at > kMaxField) return Step::kBroken;
    field = trim(input.rest().substr(0, at));
    input.consume(at + end.size());
    state_ = next;
    return Step::kAgain;
  }

  Step read_name(Input& input, EventSink& sink) {
    // The name also ends before its arguments, and before the closing marker when there are none.
    std::vector<NameEnd> ends = {{"{", false}, {"\n", false}};
    if (!syntax_.close.empty()) ends.push_back({syntax_.close, false});
    for (const std::string& end : syntax_.name_ends) ends.push_back({end, true});
    std::string name;
    std::string_view end;
    const Step result = read_call_name(input, ends, name, &end);
    if (result != Step::kDone) return result;
    if (syntax_.name_in_id) {
      id_ = name;
      if (name.starts_with("functions.")) name.erase(0, 10);
      const std::size_t colon = name.rfind(':');
      if (colon != std::string::npos) name.erase(colon);
    }
    if (!is_tool_name(name) || !sink.begin(name, id_)) return Step::kBroken;
    state_ = !syntax_.id_open.empty() && end == syntax_.id_open ? State::kLateId : State::kFence;
    return Step::kAgain;
  }

  Step open_fence(Input& input) {
    const Step result = skip_fence(input, true);
    if (result != Step::kDone) return result;
    state_ = State::kArguments;
    return Step::kAgain;
  }

  Step read_arguments(Input& input, EventSink& sink) {
    if (!in_value_) {
      if (!skip_space(input)) return Step::kMore;
      const Match closed =
          syntax_.close.empty() ? Match::kNo : match(input.rest(), syntax_.close, input.final());
      if (closed == Match::kPartial) return Step::kMore;
      if (closed == Match::kYes) {  // no arguments at all
        state_ = State::kClose;
        return Step::kAgain;
      }
      in_value_ = true;
    }
    const Step result = arguments_.step(input, sink);
    if (result != Step::kDone) return result;
    state_ = State::kEndFence;
    return Step::kAgain;
  }

  Step close_fence(Input& input) {
    const Step result = skip_fence(input, false);
    if (result != Step::kDone) return result;
    state_ = State::kClose;
    return Step::kAgain;
  }

  CallSyntax syntax_;
  ArgumentsReader arguments_;
  State state_ = State::kPrefix;
  std::string id_;
  bool in_value_ = false;
};

}  // namespace

std::unique_ptr<CallReader> make_marked_reader(const CallSyntax& syntax) {
  return std::make_unique<MarkedCall>(syntax);
}

}  // namespace hearth::text
