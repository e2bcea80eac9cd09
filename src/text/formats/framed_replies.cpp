// Replies that are sequences of addressed messages: gpt-oss (harmony) and Functionary v3.2.
#include <algorithm>

#include "text/formats/call_reader.h"

namespace hearth::text {
namespace {

constexpr std::size_t kMaxHeader = 1024;

/// Reads the body of a call; what was no call after all is given as text.
class CallBody {
 public:
  void start(Input& input) {
    reader_ = ArgumentsReader();
    input.start_record();
  }
  /// kDone: the call is complete, or was dropped and its text given.
  Step step(Input& input, EventSink& sink) {
    Step result = reader_.step(input, sink);
    if (result == Step::kMore && !input.final() && input.record_size() < kMaxCallBytes)
      return result;
    const std::string record = input.take_record();
    if (result == Step::kDone) {
      sink.end();
      return result;
    }
    sink.drop();
    sink.problem("The reply holds a tool call whose arguments are not complete JSON.");
    sink.text(record);
    return Step::kDone;
  }

 private:
  ArgumentsReader reader_;
};

class HarmonyReader : public FrameReader {
 public:
  explicit HarmonyReader(std::string_view prompt) {
    // A prompt may end inside the header or the body of the message that the model is to continue.
    const std::size_t start = prompt.rfind(kStart);
    if (start == std::string_view::npos) return;
    const std::string_view tail = prompt.substr(start + kStart.size());
    const std::size_t message = tail.find(kMessage);
    if (message != std::string_view::npos) {
      if (tail.find(kEnd) == std::string_view::npos) open_message(tail.substr(0, message));
    } else if (tail.find(kChannel) != std::string_view::npos) {
      header_ = tail;
    }
  }

  Step step(Input& input, EventSink& sink) override {
    switch (state_) {
      case State::kHeader:
        return read_header(input, sink);
      case State::kBodyStart:
        return start_body(input, sink);
      case State::kCall: {
        const Step result = call_.step(input, sink);
        if (result == Step::kDone) {
          state_ = State::kBody;
          body_ = Body::kNone;
          return Step::kAgain;
        }
        return result;
      }
      case State::kBody:
        break;
    }
    return read_body(input, sink);
  }

 private:
  enum class State : std::uint8_t { kHeader, kBodyStart, kBody, kCall };
  enum class Body : std::uint8_t { kText, kReasoning, kNone };
  static constexpr std::string_view kStart = "<|start|>", kMessage = "<|message|>",
                                    kChannel = "<|channel|>", kEnd = "<|end|>",
                                    kReturn = "<|return|>", kCallEnd = "<|call|>";

  /// The word after `label` in a header.
  static std::string_view field(std::string_view header, std::string_view label) {
    const std::size_t at = header.find(label);
    if (at == std::string_view::npos) return {};
    const std::string_view value = header.substr(at + label.size());
    return value.substr(0, std::min(value.find_first_of(" <\n\t"), value.size()));
  }

  void open_message(std::string_view header) {
    const std::string_view recipient = field(header, "to=");
    body_ = field(header, kChannel) == "analysis" ? Body::kReasoning : Body::kText;
    recipient_ = recipient == "assistant" || recipient == "user" || recipient == "all"
                     ? std::string_view()
                     : recipient;
    if (recipient_.starts_with("functions.")) recipient_.erase(0, 10);
    state_ = State::kBodyStart;
  }

  Step read_header(Input& input, EventSink& sink) {
    const std::string_view rest = input.rest();
    if (rest.empty()) return Step::kMore;
    if (!in_header_ && header_.empty()) {
      const Step begin = begin_header(input);
      if (begin != Step::kDone) return begin;
    }
    in_header_ = true;
    const std::size_t at = input.rest().find(kMessage);
    if (at != std::string_view::npos && at <= kMaxHeader) {
      header_ += input.rest().substr(0, at);
      open_message(header_);
      header_.clear();
      in_header_ = false;
      input.consume(at + kMessage.size());
      return Step::kAgain;
    }
    if (input.rest().size() > kMaxHeader + kMessage.size()) return plain_text();
    if (!input.final()) return Step::kMore;
    sink.problem("The reply ends inside the header of a message.");
    input.consume(input.rest().size());
    return Step::kMore;
  }

  Step plain_text() {
    header_.clear();
    in_header_ = false;
    body_ = Body::kText;
    recipient_.clear();
    state_ = State::kBodyStart;
    return Step::kAgain;
  }

  /// What may stand where a header begins; a reply that starts with anything else is plain text.
  /// kDone: a header.
  Step begin_header(Input& input) {
    if (!skip_space(input)) return Step::kMore;
    bool maybe = false;
    for (std::string_view stop : {kReturn, kCallEnd, kEnd, kStart}) {
      const Match found = match(input.rest(), stop, input.final());
      maybe |= found == Match::kPartial;
      if (found != Match::kYes) continue;
      if (stop == kReturn || stop == kCallEnd) return stop_at(input, stop);
      input.consume(stop.size());
      in_header_ = stop == kStart;
      return Step::kAgain;
    }
    for (std::string_view opening :
         {kChannel, kMessage, std::string_view("to="), std::string_view("<|constrain|>")}) {
      const Match found = match(input.rest(), opening, input.final());
      if (found == Match::kYes) return Step::kDone;
      maybe |= found == Match::kPartial;
    }
    return maybe ? Step::kMore : plain_text();
  }

  Step stop_at(Input& input, std::string_view marker) {
    input.consume(marker.size());
    stopped_ = true;
    state_ = State::kBody;
    return Step::kAgain;
  }

  Step start_body(Input& input, EventSink& sink) {
    state_ = State::kBody;
    if (!recipient_.empty()) {
      if (sink.begin(recipient_)) {
        call_.start(input);
        state_ = State::kCall;
        return Step::kAgain;
      }
      sink.problem("The reply addresses a recipient that is not a tool of this request.");
      static_cast<void>(sink.take_refused());
      body_ = Body::kText;
    }
    separate_ =
        body_ == Body::kText ? sink.wrote_text() : body_ == Body::kReasoning && wrote_reasoning_;
    return Step::kAgain;
  }

  Step read_body(Input& input, EventSink& sink) {
    if (stopped_) return Step::kDone;
    static const std::vector<std::string> kMarkers = {std::string(kEnd), std::string(kReturn),
                                                      std::string(kCallEnd), std::string(kStart),
                                                      std::string(kChannel)};
    if (input.final() &&
        body_ == Body::kNone) {  // a marker that was cut, after a complete call, is no text
      const std::string_view rest = input.rest();
      const bool cut =
          std::any_of(kMarkers.begin(), kMarkers.end(),
                      [rest](const std::string& marker) { return marker.starts_with(rest); });
      if (cut && scan_markers(rest, kMarkers, true).found < 0) input.consume(rest.size());
    }
    const MarkerScan scan = scan_markers(input.rest(), kMarkers, input.final());
    give(input.rest().substr(0, scan.safe), sink);
    input.consume(scan.safe);
    if (scan.found < 0) return Step::kMore;
    state_ = State::kHeader;
    if (scan.found == 1 || scan.found == 2) return Step::kDone;
    if (scan.found == 0) input.consume(kEnd.size());
    return Step::kAgain;
  }

  /// Messages of one kind are kept apart by an empty line.
  void give(std::string_view text, EventSink& sink) {
    if (body_ == Body::kNone) {  // after the arguments of a call: only white space is expected
      text.remove_prefix(count_space(text));
      if (text.empty()) return;
      body_ = Body::kText;
    }
    if (text.empty()) return;
    if (body_ == Body::kText) {
      if (std::exchange(separate_, false)) sink.text("\n\n");
      sink.text(text);
    } else {
      if (std::exchange(separate_, false)) sink.reasoning("\n\n");
      sink.reasoning(text);
      wrote_reasoning_ = true;
    }
  }

  CallBody call_;
  State state_ = State::kHeader;
  Body body_ = Body::kText;
  std::string header_, recipient_;
  bool in_header_ = false;
  bool separate_ = false;
  bool wrote_reasoning_ = false;
  bool stopped_ = false;
};

/// RECIPIENT\nCONTENT>>>RECIPIENT\nCONTENT…; the first ">>>" stands in the prompt.
class RecipientsReader : public FrameReader {
 public:
  explicit RecipientsReader(const std::vector<std::string>& stops) : marks_(stops) {
    marks_.insert(marks_.begin(), std::string(kNext));
  }

  Step step(Input& input, EventSink& sink) override {
    switch (state_) {
      case State::kRecipient:
        return read_recipient(input, sink);
      case State::kCallStart:
        return start_call(input, sink);
      case State::kCall: {
        const Step result = call_.step(input, sink);
        if (result != Step::kDone) return result;
        state_ = State::kText;
        skip_ = true;
        return Step::kAgain;
      }
      case State::kCode:
        return read_code(input, sink);
      case State::kText:
        break;
    }
    return read_text(input, sink);
  }

 private:
  enum class State : std::uint8_t { kRecipient, kText, kCallStart, kCall, kCode };
  static constexpr std::string_view kNext = ">>>";

  /// A recipient line at the start of `text`. kYes sets `name` and `consumed`.
  static Match recipient_line(std::string_view text, bool final, const EventSink& sink,
                              std::string& name, std::size_t& consumed) {
    const std::size_t end =
        std::find_if(text.begin(), text.end(),
                     [](char c) {
                       return !is_letter(c) && !is_digit(c) && c != '_' && c != '.' && c != '-';
                     }) -
        text.begin();
    if (end > kMaxField) return Match::kNo;
    if (end == text.size()) return final ? Match::kNo : Match::kPartial;
    if (end == 0 || text[end] != '\n') return Match::kNo;
    name = text.substr(0, end);
    consumed = end + 1;
    return name == "all" || sink.tools().allows(name) ? Match::kYes : Match::kNo;
  }

  Step read_recipient(Input& input, EventSink& sink) {
    std::string name;
    std::size_t consumed = 0;
    if (input.rest().empty()) return Step::kMore;
    const Match next = match(input.rest(), kNext, input.final());
    if (next == Match::kPartial) return Step::kMore;
    const std::size_t mark = next == Match::kYes ? kNext.size() : 0;
    const Match found =
        recipient_line(input.rest().substr(mark), input.final(), sink, name, consumed);
    if (found == Match::kPartial) return Step::kMore;
    state_ = State::kText;
    skip_ = false;
    if (found == Match::kNo) return Step::kAgain;  // no recipient: everything is text
    input.consume(mark + consumed);
    if (name != "all") {
      name_ = name;
      state_ = State::kCallStart;
    }
    return Step::kAgain;
  }

  Step start_call(Input& input, EventSink& sink) {
    if (name_ == "python" && !input.final() && input.rest().empty()) return Step::kMore;
    const bool code = name_ == "python" && !input.rest().starts_with('{');
    if (!sink.begin(name_)) {
      state_ = State::kText;
      return Step::kAgain;
    }
    if (code) {
      sink.arguments("{\"code\":\"");
      state_ = State::kCode;
    } else {
      call_.start(input);
      state_ = State::kCall;
    }
    return Step::kAgain;
  }

  /// Finds the end of a message: a stop marker, or ">>>" with a recipient after it. False: more
  /// input is needed.
  bool find_end(const Input& input, const EventSink& sink, std::size_t& safe, bool& stop,
                bool& next) {
    const std::string_view rest = input.rest();
    stop = next = false;
    for (std::size_t from = 0;;) {
      const MarkerScan scan = scan_markers(rest.substr(from), marks_, input.final());
      safe = from + scan.safe;
      if (scan.found < 0) return false;
      stop = scan.found > 0;
      if (stop) return true;
      std::string name;
      std::size_t consumed = 0;
      const Match line =
          recipient_line(rest.substr(safe + kNext.size()), input.final(), sink, name, consumed);
      if (line == Match::kPartial) return false;
      next = line == Match::kYes;
      if (next) return true;
      from = safe + 1;
    }
  }

  Step read_text(Input& input, EventSink& sink) {
    std::size_t safe = 0;
    bool stop = false;
    bool next = false;
    const bool ended = find_end(input, sink, safe, stop, next);
    std::string_view text = input.rest().substr(0, safe);
    if (skip_) text.remove_prefix(count_space(text));
    if (!text.empty()) skip_ = false;
    sink.text(text);
    input.consume(safe);
    if (stop) return Step::kDone;
    if (next) state_ = State::kRecipient;
    return ended ? Step::kAgain : Step::kMore;
  }

  Step read_code(Input& input, EventSink& sink) {
    std::size_t safe = 0;
    bool stop = false;
    bool next = false;
    const bool ended = find_end(input, sink, safe, stop, next);
    std::string escaped;
    append_json_string(escaped, input.rest().substr(0, safe));
    sink.arguments(std::string_view(escaped).substr(1, escaped.size() - 2));
    input.consume(safe);
    if (!ended && !input.final()) return Step::kMore;
    sink.arguments("\"}");
    sink.end();
    if (stop) return Step::kDone;
    state_ = next ? State::kRecipient : State::kText;
    return Step::kAgain;
  }

  std::vector<std::string> marks_;
  CallBody call_;
  State state_ = State::kRecipient;
  std::string name_;
  bool skip_ = false;
};

}  // namespace

std::unique_ptr<FrameReader> make_harmony_reader(std::string_view prompt) {
  return std::make_unique<HarmonyReader>(prompt);
}

std::unique_ptr<FrameReader> make_recipients_reader(const std::vector<std::string>& stops) {
  return std::make_unique<RecipientsReader>(stops);
}

}  // namespace hearth::text
