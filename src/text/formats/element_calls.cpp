// Calls as tags around raw values: <function=NAME><parameter=KEY>value</parameter></function>
// (Qwen3-Coder, Seed-OSS), <invoke name="NAME"><parameter name="KEY">… (MiniMax M2, DeepSeek's
// DSML), <arg_key>/<arg_value> pairs (GLM, Hy3).
#include <algorithm>

#include "text/formats/call_reader.h"

namespace hearth::text {
namespace {

constexpr std::string_view kCdataOpen = "<![CDATA[";
constexpr std::string_view kCdataClose = "]]>";

void strip_newlines(std::string_view& value) {
  if (value.starts_with("\r\n"))
    value.remove_prefix(2);
  else if (value.starts_with('\n'))
    value.remove_prefix(1);
  if (value.ends_with("\r\n"))
    value.remove_suffix(2);
  else if (value.ends_with('\n'))
    value.remove_suffix(1);
}

/// The text of a CDATA section, whose own end marker is written "]]]]><![CDATA[>".
std::string cdata_content(std::string_view value) {
  static constexpr std::string_view kSplit = "]]]]><![CDATA[>";
  std::string content;
  for (std::size_t at = 0; at < value.size();) {
    const std::size_t split = std::min(value.find(kSplit, at), value.size());
    content += value.substr(at, split - at);
    if (split < value.size()) content += kCdataClose;
    at = split + kSplit.size();
  }
  return content;
}

class ElementCalls : public CallReader {
 public:
  ElementCalls(const CallSyntax& syntax, bool call_is_open)
      : syntax_(syntax), state_(call_is_open ? State::kName : State::kOpen) {}

  Step step(Input& input, EventSink& sink) override {
    switch (state_) {
      case State::kOpen:
        return expect(input, syntax_.call_open, State::kName);
      case State::kName:
        return read_name(input, sink);
      case State::kMembers:
        return read_member(input, sink);
      case State::kKey:
        return read_key(input);
      case State::kValueOpen:
        return expect(input, syntax_.value_open, State::kValue);
      case State::kValue:
        return read_value(input, sink);
      case State::kBetween:
        break;
    }
    return between(input);
  }

 private:
  enum class State : std::uint8_t { kOpen, kName, kMembers, kKey, kValueOpen, kValue, kBetween };
  enum class Typing : std::uint8_t { kSchema, kString, kJson };

  Step expect(Input& input, std::string_view marker, State next) {
    const Match found = skip_marker(input, marker);
    if (found == Match::kPartial || (input.final() && input.rest().empty())) return Step::kMore;
    if (found == Match::kNo) return Step::kBroken;
    state_ = next;
    searched_ = 0;
    return Step::kAgain;
  }

  Step read_name(Input& input, EventSink& sink) {
    std::vector<NameEnd> ends = {{syntax_.key_open, false}, {syntax_.call_close, false}};
    if (syntax_.name_end.empty()) {
      ends.push_back({"\n", true});
    } else {
      ends.push_back({syntax_.name_end, true});
    }
    const Step result = read_call_name(input, ends, name_);
    if (result != Step::kDone) return result;
    if (!sink.begin(name_)) return Step::kBroken;
    keys_.clear();
    state_ = State::kMembers;
    return Step::kAgain;
  }

  Step read_member(Input& input, EventSink& sink) {
    if (!skip_space(input)) return Step::kMore;
    const std::string_view rest = input.rest();
    const bool final = input.final();
    const Match key = match(rest, syntax_.key_open, final);
    if (key == Match::kYes) {
      input.consume(syntax_.key_open.size());
      state_ = State::kKey;
      return Step::kAgain;
    }
    const Match call_close = match(rest, syntax_.call_close, final);
    const Match close = syntax_.close.empty() ? Match::kNo : match(rest, syntax_.close, final);
    if (call_close == Match::kYes || close == Match::kYes) {  // the block's end also ends a call
      if (call_close == Match::kYes) input.consume(syntax_.call_close.size());
      if (!keys_.empty()) sink.arguments("}");
      sink.end();
      input.forget_record();
      state_ = State::kBetween;
      return Step::kAgain;
    }
    const bool open =
        key == Match::kPartial || call_close == Match::kPartial || close == Match::kPartial;
    return open ? Step::kMore : Step::kBroken;
  }

  Step read_key(Input& input) {
    const std::string_view rest = input.rest();
    const std::size_t at = rest.find(syntax_.key_end);
    if (at == std::string_view::npos)
      return rest.size() > kMaxField + kMaxMarker ? Step::kBroken : Step::kMore;
    if (at > kMaxField) return Step::kBroken;
    std::string_view key = rest.substr(0, at);
    typing_ = Typing::kSchema;
    if (syntax_.string_attribute) {  // NAME" string="true"
      const std::size_t quote = key.find('"');
      if (quote == std::string_view::npos) return Step::kBroken;
      if (key.find("string=\"true\"", quote) != std::string_view::npos) typing_ = Typing::kString;
      if (key.find("string=\"false\"", quote) != std::string_view::npos) typing_ = Typing::kJson;
      key = key.substr(0, quote);
    }
    key_ = trim(key);
    if (key_.empty()) return Step::kBroken;
    input.consume(at + syntax_.key_end.size());
    searched_ = 0;
    state_ = syntax_.value_open.empty() ? State::kValue : State::kValueOpen;
    return Step::kAgain;
  }

  /// Whether `rest`, after white space, is one of the markers that may follow a value (or a call).
  Match follows(std::string_view rest, bool final, bool after_value) const {
    rest.remove_prefix(count_space(rest));
    if (rest.empty()) return final ? Match::kYes : Match::kPartial;
    Match best = Match::kNo;
    for (const std::string* marker :
         {&syntax_.key_open, &syntax_.call_close, &syntax_.call_open, &syntax_.close}) {
      if (marker->empty()) continue;
      if (!after_value && (marker == &syntax_.key_open || marker == &syntax_.call_close)) continue;
      const Match found = match(rest, *marker, final);
      if (found == Match::kYes) return found;
      if (found == Match::kPartial) best = found;
    }
    return best;
  }

  /// Whether a parameter tag at `rest`, at the start of a line, begins the next parameter: its key
  /// must be declared.
  Match next_parameter(std::string_view rest, bool final, const EventSink& sink) const {
    const Match open = match(rest, syntax_.key_open, final);
    if (open != Match::kYes) return open;
    rest.remove_prefix(syntax_.key_open.size());
    const std::size_t end = rest.substr(0, kMaxField).find(syntax_.key_end);
    if (end == std::string_view::npos)
      return final || rest.size() >= kMaxField ? Match::kNo : Match::kPartial;
    const std::string_view key = rest.substr(0, end);
    const bool is_new = key != key_ && std::find(keys_.begin(), keys_.end(), key) == keys_.end();
    return is_new && sink.tools().has_parameter(name_, key) ? Match::kYes : Match::kNo;
  }

  /// Looks for the end of the value, which may itself hold text that looks like the closing tag:
  /// that is the end only where markup follows. A missing closing tag is noticed where the next
  /// parameter or the end of the call stands. kYes sets `length` (of the value) and `consumed`.
  Match find_value_end(std::string_view rest, bool final, const EventSink& sink,
                       std::size_t& length, std::size_t& consumed) {
    for (; searched_ < rest.size(); ++searched_) {
      const std::string_view here = rest.substr(searched_);
      length = consumed = searched_;
      if (here.front() == syntax_.value_close.front()) {
        Match end = match(here, syntax_.value_close, final);
        if (end == Match::kYes) end = follows(here.substr(syntax_.value_close.size()), final, true);
        if (end == Match::kYes) consumed += syntax_.value_close.size();
        if (end != Match::kNo) return end;
      }
      if (here.front() == syntax_.call_close.front()) {
        Match end = match(here, syntax_.call_close, final);
        if (end == Match::kYes) end = follows(here.substr(syntax_.call_close.size()), final, false);
        if (end != Match::kNo) return end;
      }
      if (here.front() == syntax_.key_open.front() && searched_ > 0 &&
          rest[searched_ - 1] == '\n') {
        const Match next = next_parameter(here, final, sink);
        if (next != Match::kNo) return next;
      }
    }
    return Match::kPartial;
  }

  /// The end of a CDATA section and of the value around it.
  Match find_cdata_end(std::string_view rest, std::size_t& length, std::size_t& consumed) {
    const std::string end = std::string(kCdataClose) + syntax_.value_close;
    const std::size_t at = rest.find(end, std::max(searched_, kCdataOpen.size()));
    if (at == std::string_view::npos) {
      searched_ = rest.size() - std::min(rest.size(), end.size() - 1);
      return Match::kPartial;
    }
    length = at + kCdataClose.size();
    consumed = at + end.size();
    return Match::kYes;
  }

  Step read_value(Input& input, EventSink& sink) {
    const std::string_view rest = input.rest();
    const Match cdata = syntax_.cdata ? match(rest, kCdataOpen, input.final()) : Match::kNo;
    if (cdata == Match::kPartial) return Step::kMore;
    std::size_t length = 0;
    std::size_t consumed = 0;
    const Match end = cdata == Match::kYes
                          ? find_cdata_end(rest, length, consumed)
                          : find_value_end(rest, input.final(), sink, length, consumed);
    if (end != Match::kYes) return Step::kMore;
    std::string_view value = rest.substr(0, length);
    if (cdata == Match::kYes) {
      value = value.substr(kCdataOpen.size(), length - kCdataOpen.size() - kCdataClose.size());
      give_value(cdata_content(value), sink);
    } else {
      if (syntax_.newline_around_values) strip_newlines(value);
      give_value(value, sink);
    }
    input.consume(consumed);
    state_ = State::kMembers;
    return Step::kAgain;
  }

  void give_value(std::string_view value, EventSink& sink) {
    if (std::find(keys_.begin(), keys_.end(), key_) != keys_.end()) {
      sink.problem("The reply gives a parameter twice; the first value counts.");
      return;
    }
    std::string delta = keys_.empty() ? "{" : ",";
    append_json_string(delta, key_);
    delta += ':';
    switch (typing_) {
      case Typing::kString:
        append_json_string(delta, value);
        break;
      case Typing::kJson:
        delta += typed_value(value, ~kStringType & 63U);
        break;
      case Typing::kSchema:
        delta += sink.tools().typed_value(name_, key_, value);
        break;
    }
    sink.arguments(delta);
    keys_.push_back(key_);
  }

  Step between(Input& input) {
    if (syntax_.close.empty()) return Step::kDone;
    if (!skip_space(input)) return input.final() ? Step::kDone : Step::kMore;
    const Match close = match(input.rest(), syntax_.close, input.final());
    const Match call = match(input.rest(), syntax_.call_open, input.final());
    if (close == Match::kYes) {
      input.consume(syntax_.close.size());
      return Step::kDone;
    }
    if (call == Match::kYes) {
      input.consume(syntax_.call_open.size());
      state_ = State::kName;
      return Step::kAgain;
    }
    return close == Match::kPartial || call == Match::kPartial ? Step::kMore : Step::kDone;
  }

  CallSyntax syntax_;
  State state_;
  Typing typing_ = Typing::kSchema;
  std::string name_, key_;
  std::vector<std::string> keys_;
  std::size_t searched_ = 0;
};

}  // namespace

std::unique_ptr<CallReader> make_element_reader(const CallSyntax& syntax, bool call_is_open) {
  return std::make_unique<ElementCalls>(syntax, call_is_open);
}

}  // namespace hearth::text
