// Calls as JSON objects: {"name": "f", "arguments": {…}}, alone, several, or in a list; or {"f":
// {…}}.
#include <algorithm>

#include "text/formats/call_reader.h"

namespace hearth::text {
namespace {

bool is_one_of(std::string_view key, std::initializer_list<std::string_view> names) {
  return std::find(names.begin(), names.end(), key) != names.end();
}
bool is_name_key(std::string_view key) { return is_one_of(key, {"name", "tool_name", "function"}); }
bool is_arguments_key(std::string_view key) {
  return is_one_of(key, {"arguments", "parameters", "args"});
}
bool is_id_key(std::string_view key) { return is_one_of(key, {"id", "tool_call_id", "call_id"}); }

/// Reads one object. Its members may come in any order; arguments that come before the name wait
/// for it.
class CallObject {
 public:
  /// `bare`: nothing marks the object as a call, so it must look like one from its first key on.
  CallObject(bool name_is_key, bool bare) : name_is_key_(name_is_key), bare_(bare) {}

  Step step(Input& input, EventSink& sink) {
    const bool inside_value = state_ == State::kArguments || !value_.empty();
    if (!inside_value && !skip_space(input)) return Step::kMore;
    switch (state_) {
      case State::kOpen:
        return open(input);
      case State::kKey:
        return read_key(input, sink);
      case State::kColon:
        return read_colon(input, sink);
      case State::kValue:
        return read_value(input, sink);
      case State::kArguments:
        return read_arguments(input, sink);
      case State::kAfter:
        break;
    }
    return after_member(input, sink);
  }

 private:
  enum class State : std::uint8_t { kOpen, kKey, kColon, kValue, kArguments, kAfter };

  Step open(Input& input) {
    if (input.rest().front() != '{') return Step::kBroken;
    input.consume(1);
    state_ = State::kKey;
    return Step::kAgain;
  }

  /// Reads a whole value into value_; kDone when it is there.
  Step read_whole(Input& input) {
    std::size_t consumed = 0;
    const ValueReader::Status status = reader_.read(input.rest(), input.final(), consumed, value_);
    input.consume(consumed);
    if (status == ValueReader::Status::kMore) return Step::kMore;
    return status == ValueReader::Status::kDone ? Step::kDone : Step::kBroken;
  }

  Step read_key(Input& input, EventSink& sink) {
    // Else the beginning of any JSON would be held back for a call that nobody can make.
    if (bare_ && sink.tools().none()) return Step::kBroken;
    const char c = input.rest().front();
    if (value_.empty() && c == '}') return close(input, sink);
    if (value_.empty() && c != '"' && c != '\'') return Step::kBroken;
    const Step result = read_whole(input);
    if (result != Step::kDone) return result;
    key_ = json_string_content(value_).value_or(std::string());
    reset_value();
    const bool known =
        is_name_key(key_) || is_arguments_key(key_) || is_id_key(key_) || key_ == "type";
    if (bare_ && !name_is_key_ && !known) return Step::kBroken;
    state_ = State::kColon;
    return Step::kAgain;
  }

  Step read_colon(Input& input, EventSink& sink) {
    if (input.rest().front() != ':') return Step::kBroken;
    input.consume(1);
    state_ = State::kValue;
    if (name_is_key_) {
      if (!is_tool_name(key_) || !sink.begin(key_)) return Step::kBroken;
      state_ = State::kArguments;
    } else if (is_arguments_key(key_) && !has_arguments_ && !name_.empty()) {
      if (!sink.begin(name_)) return Step::kBroken;
      state_ = State::kArguments;
    }
    return Step::kAgain;
  }

  Step read_arguments(Input& input, EventSink& sink) {
    const Step result = arguments_.step(input, sink);
    if (result != Step::kDone) return result;
    arguments_ = ArgumentsReader();
    if (name_is_key_) {
      sink.end();
      input.forget_record();
    }
    has_arguments_ = true;
    state_ = State::kAfter;
    return Step::kAgain;
  }

  Step read_value(Input& input, EventSink& sink) {
    if (value_.empty() && key_ == "function" && input.rest().front() == '{' && depth_ == 0) {
      ++depth_;  // {"type": "function", "function": {"name": …}}: the inner object's members are
                 // the call's
      return open(input);
    }
    const Step result = read_whole(input);
    if (result != Step::kDone) return result;
    state_ = State::kAfter;
    const std::string value = std::exchange(value_, {});
    const bool is_string = reader_.shape() == ValueReader::Shape::kString;
    reader_ = ValueReader();
    if (is_name_key(key_) && name_.empty()) {
      if (!is_string) return Step::kBroken;
      name_ = json_string_content(value).value_or(std::string());
      if (!is_tool_name(name_)) return Step::kBroken;
      return give_early_arguments(sink);
    }
    if (is_arguments_key(key_) && !has_arguments_) {
      const std::optional<std::string> arguments = as_arguments(value);
      if (!arguments) return Step::kBroken;
      early_arguments_ = *arguments;
      has_arguments_ = true;
    } else if (is_id_key(key_) && id_.empty()) {
      id_ = is_string ? json_string_content(value).value_or(std::string()) : value;
    } else if (key_ == "type" && bare_ && value != "\"function\"" && value != "\"tool_call\"") {
      return Step::kBroken;
    }
    return Step::kAgain;
  }

  Step give_early_arguments(EventSink& sink) {
    if (early_arguments_.empty()) return Step::kAgain;
    if (!sink.begin(name_)) return Step::kBroken;
    sink.arguments(early_arguments_);
    early_arguments_.clear();
    return Step::kAgain;
  }

  Step after_member(Input& input, EventSink& sink) {
    const char c = input.rest().front();
    if (c == '}') return close(input, sink);
    if (c != ',') return Step::kBroken;
    input.consume(1);
    state_ = State::kKey;
    return Step::kAgain;
  }

  Step close(Input& input, EventSink& sink) {
    if (depth_ > 0) {
      --depth_;
      input.consume(1);
      state_ = State::kAfter;
      return Step::kAgain;
    }
    if (name_is_key_ ? !has_arguments_ : name_.empty()) return Step::kBroken;
    if (!name_is_key_) {
      // Without arguments an unmarked object is a call only when it names a tool of the request.
      if (!has_arguments_ && bare_ && !sink.tools().known()) return Step::kBroken;
      if (!sink.in_call() && !sink.begin(name_)) return Step::kBroken;
      sink.end(id_);
    }
    input.consume(1);
    return Step::kDone;
  }

  void reset_value() {
    value_.clear();
    reader_ = ValueReader();
  }

  bool name_is_key_, bare_;
  State state_ = State::kOpen;
  ValueReader reader_;
  ArgumentsReader arguments_;
  std::string value_, key_, name_, id_, early_arguments_;
  int depth_ = 0;
  bool has_arguments_ = false;
};

/// The block around the objects: a code fence, a list, separators, the closing marker.
class JsonCalls : public CallReader {
 public:
  explicit JsonCalls(const CallSyntax& syntax)
      : close_(syntax.close),
        name_is_key_(syntax.name_is_key),
        bare_(syntax.open.empty()),
        object_(name_is_key_, bare_) {}

  Step step(Input& input, EventSink& sink) override {
    switch (state_) {
      case State::kFence:
        return advance(skip_fence(input, true), State::kOpen);
      case State::kOpen:
        return open(input);
      case State::kObject:
        return read_object(input, sink);
      case State::kBetween:
        return between(input);
      case State::kEndFence:
        return advance(skip_fence(input, false), State::kClose);
      case State::kClose:
        break;
    }
    if (!close_.empty() && skip_marker(input, close_) == Match::kPartial) return Step::kMore;
    return Step::kDone;
  }

 private:
  enum class State : std::uint8_t { kFence, kOpen, kObject, kBetween, kEndFence, kClose };

  Step advance(Step result, State next) {
    if (result != Step::kDone) return result;
    state_ = next;
    return Step::kAgain;
  }

  Step open(Input& input) {
    if (!skip_space(input)) return Step::kMore;
    state_ = State::kObject;
    if (input.rest().front() == '[') {
      input.consume(1);
      in_list_ = true;
    }
    return Step::kAgain;
  }

  Step read_object(Input& input, EventSink& sink) {
    const Step result = object_.step(input, sink);
    if (result != Step::kDone) return result;
    input.forget_record();
    object_ = CallObject(name_is_key_, bare_);
    state_ = State::kBetween;
    return Step::kAgain;
  }

  Step between(Input& input) {
    if (!skip_space(input)) {
      if (!input.final()) return Step::kMore;
      return Step::kDone;  // the closing marks may be missing at the end
    }
    const char c = input.rest().front();
    if (c == ',' || c == ';') {
      input.consume(1);
      return Step::kAgain;
    }
    if (c == '{') {
      state_ = State::kObject;
      return Step::kAgain;
    }
    if (in_list_ && c == ']') input.consume(1);
    state_ = State::kEndFence;
    return Step::kAgain;
  }

  std::string close_;
  bool name_is_key_, bare_;
  CallObject object_;
  State state_ = State::kFence;
  bool in_list_ = false;
};

}  // namespace

std::unique_ptr<CallReader> make_json_reader(const CallSyntax& syntax) {
  return std::make_unique<JsonCalls>(syntax);
}

}  // namespace hearth::text
