// Calls as Python: [f(a=1, b="x"), g()] (LFM2, Llama 3.2/4), one per line (Olmo 3),
// tool.call(query="…") (Llama 3.1's builtin tools); and plain code for an interpreter tool.
#include <algorithm>

#include "text/formats/call_reader.h"

namespace hearth::text {
namespace {

bool starts_identifier(char c) { return is_letter(c) || c == '_'; }
bool in_name(char c) { return starts_identifier(c) || is_digit(c) || c == '.' || c == '-'; }

std::size_t count_identifier(std::string_view text) {
  return std::find_if_not(text.begin(), text.end(), in_name) - text.begin();
}

class PythonCalls : public CallReader {
 public:
  explicit PythonCalls(const CallSyntax& syntax) : close_(syntax.close) {}

  Step step(Input& input, EventSink& sink) override {
    switch (state_) {
      case State::kOpen:
        return open(input);
      case State::kName:
        return read_name(input, sink);
      case State::kKey:
        return read_key(input, sink);
      case State::kEquals:
        return read_equals(input);
      case State::kValue:
        return read_value(input, sink);
      case State::kAfterValue:
        return after_value(input, sink);
      case State::kBetween:
        return between(input);
      case State::kClose:
        break;
    }
    if (!close_.empty() && skip_marker(input, close_) == Match::kPartial) return Step::kMore;
    return Step::kDone;
  }

 private:
  enum class State : std::uint8_t {
    kOpen,
    kName,
    kKey,
    kEquals,
    kValue,
    kAfterValue,
    kBetween,
    kClose
  };

  Step open(Input& input) {
    if (!skip_space(input)) return Step::kMore;
    in_list_ = input.rest().front() == '[';
    if (in_list_) input.consume(1);
    state_ = State::kName;
    return Step::kAgain;
  }

  Step read_name(Input& input, EventSink& sink) {
    if (!skip_space(input)) return Step::kMore;
    const std::string_view rest = input.rest();
    if (!starts_identifier(rest.front())) return Step::kBroken;
    const std::size_t length = count_identifier(rest);
    if (length > kMaxField) return Step::kBroken;
    if (length == rest.size()) return Step::kMore;
    if (rest[length] != '(') return Step::kBroken;
    std::string_view name = rest.substr(0, length);
    if (name.ends_with(".call")) name.remove_suffix(5);
    if (!is_tool_name(name) || !sink.begin(name)) return Step::kBroken;
    input.consume(length + 1);
    arguments_ = 0;
    state_ = State::kKey;
    return Step::kAgain;
  }

  Step read_key(Input& input, EventSink& sink) {
    if (!skip_space(input)) return Step::kMore;
    const std::string_view rest = input.rest();
    if (rest.front() == ')') return end_call(input, sink);
    if (!starts_identifier(rest.front())) return Step::kBroken;
    const std::size_t length = count_identifier(rest);
    if (length > kMaxField) return Step::kBroken;
    if (length == rest.size()) return Step::kMore;
    key_ = rest.substr(0, length);
    input.consume(length);
    state_ = State::kEquals;
    return Step::kAgain;
  }

  Step read_equals(Input& input) {
    if (!skip_space(input)) return Step::kMore;
    if (input.rest().front() != '=') return Step::kBroken;
    input.consume(1);
    value_ = ValueReader();
    delta_ = arguments_++ == 0 ? "{" : ",";
    append_json_string(delta_, key_);
    delta_ += ':';
    state_ = State::kValue;
    return Step::kAgain;
  }

  Step read_value(Input& input, EventSink& sink) {
    std::size_t consumed = 0;
    const ValueReader::Status status = value_.read(input.rest(), input.final(), consumed, delta_);
    input.consume(consumed);
    sink.arguments(delta_);
    delta_.clear();
    if (status == ValueReader::Status::kMore) return Step::kMore;
    if (status == ValueReader::Status::kBroken) return Step::kBroken;
    state_ = State::kAfterValue;
    return Step::kAgain;
  }

  Step after_value(Input& input, EventSink& sink) {
    if (!skip_space(input)) return Step::kMore;
    if (input.rest().front() == ')') return end_call(input, sink);
    if (input.rest().front() != ',') return Step::kBroken;
    input.consume(1);
    state_ = State::kKey;
    return Step::kAgain;
  }

  Step end_call(Input& input, EventSink& sink) {
    input.consume(1);
    if (arguments_ > 0) sink.arguments("}");
    sink.end();
    input.forget_record();
    state_ = State::kBetween;
    return Step::kAgain;
  }

  Step between(Input& input) {
    if (!skip_space(input)) return input.final() ? Step::kDone : Step::kMore;
    const char c = input.rest().front();
    if (c == ',' || c == ';') {
      input.consume(1);
      return Step::kAgain;
    }
    if (in_list_ && c == ']') {
      input.consume(1);
      state_ = State::kClose;
      return Step::kAgain;
    }
    // Without a list the calls stand on lines of their own, up to the closing marker.
    state_ = starts_identifier(c) && (in_list_ || !close_.empty()) ? State::kName : State::kClose;
    return Step::kAgain;
  }

  std::string close_;
  State state_ = State::kOpen;
  ValueReader value_;
  std::string key_, delta_;
  int arguments_ = 0;
  bool in_list_ = false;
};

/// Everything up to a stop marker or the end is the code.
class CodeCall : public CallReader {
 public:
  CodeCall(const CallSyntax& syntax, const std::vector<std::string>& stops)
      : tool_(syntax.code_tool), ends_(stops) {
    if (!syntax.close.empty()) ends_.push_back(syntax.close);
  }

  Step step(Input& input, EventSink& sink) override {
    if (!begun_) {
      if (!skip_space(input)) return Step::kMore;
      if (!sink.begin(tool_)) return Step::kBroken;
      sink.arguments("{\"code\":\"");
      begun_ = true;
    }
    const std::string_view rest = input.rest();
    std::size_t end = std::string_view::npos;
    std::size_t held = 0;
    for (const std::string& marker : ends_) {
      end = std::min(end, rest.find(marker));
      if (!input.final()) held = std::max(held, partial_suffix(rest, marker));
    }
    const bool over = end != std::string_view::npos;
    std::string escaped;
    append_json_string(escaped, rest.substr(0, over ? end : rest.size() - held));
    sink.arguments(std::string_view(escaped).substr(1, escaped.size() - 2));
    input.consume(over ? end : rest.size() - held);
    if (!over && !input.final()) return Step::kMore;
    sink.arguments("\"}");
    sink.end();
    input.forget_record();
    return Step::kDone;
  }

 private:
  std::string tool_;
  std::vector<std::string> ends_;
  bool begun_ = false;
};

/// `[` and a name, or NAME.call( where the marker may also be followed by code.
Match fits_python(const CallSyntax& syntax, std::string_view rest, bool final) {
  if (rest.front() == '[') {
    const std::size_t at = 1 + count_space(rest.substr(1));
    if (at == rest.size()) return final ? Match::kNo : Match::kPartial;
    return starts_identifier(rest[at]) ? Match::kYes : Match::kNo;
  }
  if (syntax.open.empty() || !starts_identifier(rest.front())) return Match::kNo;
  const std::size_t length = count_identifier(rest);
  if (length == rest.size() && length <= kMaxField) return final ? Match::kNo : Match::kPartial;
  return length <= kMaxField && rest.substr(0, length).ends_with(".call") && rest[length] == '('
             ? Match::kYes
             : Match::kNo;
}

Match fits_json(std::string_view rest, bool final) {
  if (rest.front() == '{') return Match::kYes;
  if (rest.front() == '`') return match(rest, "```", final);
  if (rest.front() != '[') return Match::kNo;
  const std::size_t at = 1 + count_space(rest.substr(1));
  if (at == rest.size()) return final ? Match::kNo : Match::kPartial;
  return rest[at] == '{' ? Match::kYes : Match::kNo;
}

}  // namespace

Match fits_block(const CallSyntax& syntax, std::string_view rest, bool final) {
  switch (syntax.kind) {
    case CallKind::kJson:
      return fits_json(rest, final);
    case CallKind::kPython:
      return fits_python(syntax, rest, final);
    case CallKind::kElements:
      // Where the block's marker is the call's own, the name follows.
      if (syntax.open == syntax.call_open)
        return starts_identifier(rest.front()) ? Match::kYes : Match::kNo;
      return match(rest, syntax.call_open, final);
    case CallKind::kNestedElements:
      return match(rest, syntax.call_open, final);
    case CallKind::kMarked:
      return starts_identifier(rest.front()) ? Match::kYes : Match::kNo;
    case CallKind::kGeneric:
      return rest.front() == '{' ? Match::kYes : Match::kNo;
    case CallKind::kCode:
      return Match::kYes;
  }
  return Match::kNo;
}

std::unique_ptr<CallReader> make_python_reader(const CallSyntax& syntax) {
  return std::make_unique<PythonCalls>(syntax);
}

std::unique_ptr<CallReader> make_code_reader(const CallSyntax& syntax,
                                             const std::vector<std::string>& stops) {
  return std::make_unique<CodeCall>(syntax, stops);
}

}  // namespace hearth::text
