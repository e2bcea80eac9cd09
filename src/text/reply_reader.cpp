#include "text/reply_reader.h"

#include <algorithm>
#include <array>

#include "support/error.h"
#include "support/utf8.h"
#include "text/formats/call_reader.h"

namespace hearth::text {
namespace {

constexpr std::size_t kMaxHeldSpace = 4096;

/// Text of the answer: white space is held back until it is known that no markup follows it.
class AnswerText {
 public:
  explicit AnswerText(EventSink& sink) : sink_(&sink) {}

  /// White space that comes next belongs to markup.
  void drop_space() { dropping_ = true; }

  void write(std::string_view text) {
    if (dropping_) {
      text.remove_prefix(count_space(text));
      if (text.empty()) return;
      dropping_ = false;
    }
    const std::size_t end = trimmed_size(text);
    if (end > 0) {
      sink_->text(held_);
      held_.clear();
      sink_->text(text.substr(0, end));
    }
    held_ += text.substr(end);
    while (held_.size() > kMaxHeldSpace) {  // whatever the pieces: the same bytes are given
      sink_->text(std::string_view(held_).substr(0, kMaxHeldSpace));
      held_.erase(0, kMaxHeldSpace);
    }
  }

  void finish() {
    if (sink_->ended() == 0) sink_->text(held_);
    held_.clear();
  }

 private:
  static std::size_t trimmed_size(std::string_view text) {
    std::size_t size = text.size();
    while (size > 0 && is_space(text[size - 1])) --size;
    return size;
  }

  EventSink* sink_;
  std::string held_;
  bool dropping_ = false;
};

/// Text of the reasoning without one newline at its start and one at its end.
class ReasoningText {
 public:
  explicit ReasoningText(EventSink& sink) : sink_(&sink) {}

  void start() {
    at_start_ = true;
    newline_ = false;
  }
  void write(std::string_view text) {
    if (text.empty()) return;
    if (std::exchange(at_start_, false) && text.front() == '\n') text.remove_prefix(1);
    if (text.empty()) return;
    if (newline_) sink_->reasoning("\n");
    newline_ = text.back() == '\n';
    if (newline_) text.remove_suffix(1);
    sink_->reasoning(text);
  }
  void cut() {
    if (std::exchange(newline_, false)) sink_->reasoning("\n");
  }

 private:
  EventSink* sink_;
  bool at_start_ = true;
  bool newline_ = false;
};

enum class Action : std::uint8_t {
  kCall,
  kInnerCall,
  kReasoningOpen,
  kReasoningClose,
  kIgnore,
  kStop
};

struct Marker {
  std::string text;
  Action action;
  std::size_t index;
};

}  // namespace

class ReplyReader::Impl {
 public:
  Impl(ChatFormat format, const ReplyOptions& options)
      : format_(std::move(format)), sink_(format_, options), answer_(sink_), reasoning_(sink_) {
    if (format_.frame == ReplyFrame::kHarmony) frame_ = make_harmony_reader(options.prompt);
    if (format_.frame == ReplyFrame::kRecipients) frame_ = make_recipients_reader(format_.stops);
    collect_markers();
    if (format_.trim_start) answer_.drop_space();
    if (reasoning_state(format_, options.prompt, &reasoning_index_) == ReasoningState::kOpened)
      open_reasoning();
  }

  std::vector<ReplyEvent> push(std::string_view piece, PieceKind kind) {
    if (finished_ || stopped_) return sink_.take();
    if (kind == PieceKind::kControl && ends_reply(piece)) {
      end_input();
      stopped_ = true;
      return sink_.take();
    }
    unfinished_ += piece;
    const std::size_t tail = incomplete_utf8_tail(unfinished_);
    const std::size_t whole = unfinished_.size() - tail;
    input_.append(to_valid_utf8(std::string_view(unfinished_).substr(0, whole)), kind);
    unfinished_.erase(0, whole);
    run();
    return sink_.take();
  }

  std::vector<ReplyEvent> finish(bool cut) {
    if (!finished_ && !stopped_) end_input();
    finished_ = true;
    std::vector<ReplyEvent> events = sink_.take();
    if (cut) fold_markup(events);
    return events;
  }

  [[nodiscard]] bool stopped() const { return stopped_; }
  [[nodiscard]] int complete_calls() const { return sink_.reported(); }

 private:
  /// The markup of a call that was dropped becomes a part of the event that says so.
  static void fold_markup(std::vector<ReplyEvent>& events) {
    using EventKind = ReplyEvent::Kind;
    const auto dropped = std::find_if(events.begin(), events.end(), [](const ReplyEvent& event) {
      return event.kind == EventKind::kToolCallDropped;
    });
    if (dropped == events.end()) return;
    const auto is_text = [](const ReplyEvent& event) { return event.kind == EventKind::kText; };
    for (auto event = dropped; event != events.end(); ++event) {
      if (is_text(*event)) dropped->text += event->text;
    }
    events.erase(std::remove_if(dropped, events.end(), is_text), events.end());
  }

  enum class Mode : std::uint8_t { kStart, kText, kReasoning, kIgnored, kChoose, kCall };

  void end_input() {
    input_.append(to_valid_utf8(unfinished_), PieceKind::kUnknown);
    unfinished_.clear();
    input_.finish();
    if (mode_ == Mode::kText && sink_.ended() > 0)
      drop_cut_marker({&syntax_.close, &syntax_.call_close});
    run();
    if (mode_ == Mode::kReasoning) reasoning_.cut();
    answer_.finish();
  }

  void run() {
    while (!stopped_) {
      const Step result = frame_ ? frame_->step(input_, sink_) : step();
      if (result == Step::kMore) break;
      if (result == Step::kDone) {
        stopped_ = true;
        if (!frame_) answer_.finish();
      }
    }
  }

  /// kDone: a stop marker.
  Step step() {
    switch (mode_) {
      case Mode::kStart:
        return read_start();
      case Mode::kText:
        return read_text();
      case Mode::kReasoning:
        return read_reasoning();
      case Mode::kIgnored:
        return skip_ignored();
      case Mode::kChoose:
        return choose_reader();
      case Mode::kCall:
        break;
    }
    return read_call();
  }

  void collect_markers() {
    const auto add = [this](const std::string& text, Action action, std::size_t index) {
      if (text.empty()) return;
      const auto same = [&](const Marker& marker) {
        return marker.text == text && marker.action == action;
      };
      if (std::any_of(markers_.begin(), markers_.end(), same)) return;
      markers_.push_back({text, action, index});
      starts_marker_[static_cast<unsigned char>(text.front())] = true;
    };
    for (std::size_t i = 0; i < format_.calls.size(); ++i) {
      add(format_.calls[i].open, Action::kCall, i);
      if (format_.calls[i].bare_call_open) add(format_.calls[i].call_open, Action::kInnerCall, i);
    }
    for (std::size_t i = 0; i < format_.reasoning.size(); ++i) {
      add(format_.reasoning[i].open, Action::kReasoningOpen, i);
      add(format_.reasoning[i].close, Action::kReasoningClose, i);
    }
    for (std::size_t i = 0; i < format_.ignored.size(); ++i)
      add(format_.ignored[i].open, Action::kIgnore, i);
    for (std::size_t i = 0; i < format_.stops.size(); ++i) add(format_.stops[i], Action::kStop, i);
  }

  /// Whether a control token is a stop marker, and nothing longer that means something else can
  /// begin with it.
  bool ends_reply(std::string_view piece) const {
    if (std::find(format_.stops.begin(), format_.stops.end(), piece) == format_.stops.end())
      return false;
    return std::none_of(markers_.begin(), markers_.end(), [&](const Marker& marker) {
      return marker.text.size() > piece.size() && marker.text.starts_with(piece);
    });
  }

  bool active(const Marker& marker, Mode mode, std::size_t offset) const {
    switch (marker.action) {
      case Action::kStop:
        break;
      case Action::kReasoningOpen:
        return mode == Mode::kStart;
      case Action::kReasoningClose:
        return mode == Mode::kStart || (mode == Mode::kReasoning &&
                                        format_.reasoning[reasoning_index_].close == marker.text);
      case Action::kIgnore:
        return mode != Mode::kReasoning;
      case Action::kCall:
      case Action::kInnerCall:
        return mode != Mode::kReasoning || format_.calls_end_reasoning;
    }
    // A stop marker that the model spelled out with ordinary tokens is text.
    const std::size_t length = std::min(marker.text.size(), input_.rest().size() - offset);
    for (std::size_t i = 0; i < length; ++i) {
      if (input_.kind(offset + i) == PieceKind::kText) return false;
    }
    return true;
  }

  /// The marker at `offset`, the longest one; nullptr and `partial` when that cannot be told yet.
  const Marker* marker_at(std::size_t offset, Mode mode, bool& partial) const {
    partial = false;
    const std::string_view here = input_.rest().substr(offset);
    if (!starts_marker_[static_cast<unsigned char>(here.front())]) return nullptr;
    const Marker* longest = nullptr;
    for (const Marker& marker : markers_) {
      const Match found = match(here, marker.text, input_.final());
      if (found == Match::kNo || !active(marker, mode, offset)) continue;
      partial |= found == Match::kPartial;
      if (found == Match::kYes && (longest == nullptr || marker.text.size() > longest->text.size()))
        longest = &marker;
    }
    return partial ? nullptr : longest;
  }

  /// Finds the next marker; `safe` bytes before it (or before what may become one) are none.
  const Marker* find_marker(Mode mode, std::size_t& safe) const {
    const std::size_t size = input_.rest().size();
    for (safe = 0; safe < size; ++safe) {
      bool partial = false;
      const Marker* marker = marker_at(safe, mode, partial);
      if (marker != nullptr || partial) return marker;
    }
    return nullptr;
  }

  /// Before the first word of the answer: reasoning, or calls without a marker.
  Step read_start() {
    const std::size_t space = count_space(input_.rest());
    if (space > kMaxHeldSpace) {
      mode_ = Mode::kText;
      return Step::kAgain;
    }
    if (space == input_.rest().size()) {
      if (!input_.final()) return Step::kMore;
      mode_ = Mode::kText;
      return input_.rest().empty() ? Step::kMore : Step::kAgain;
    }
    bool partial = false;
    const Marker* marker = marker_at(space, Mode::kStart, partial);
    if (partial) return Step::kMore;
    if (marker == nullptr) return start_answer(space);
    if (marker->action == Action::kCall || marker->action == Action::kInnerCall ||
        marker->action == Action::kStop) {
      mode_ = Mode::kText;
      return Step::kAgain;
    }
    input_.consume(space + marker->text.size());
    answer_.drop_space();
    if (marker->action == Action::kReasoningOpen) {
      reasoning_index_ = marker->index;
      open_reasoning();
    } else if (marker->action == Action::kIgnore) {
      return ignore(*marker, Mode::kStart);
    }
    return Step::kAgain;
  }

  Step start_answer(std::size_t space) {
    const std::string_view rest = input_.rest().substr(space);
    for (const CallSyntax& syntax : format_.calls) {
      if (!syntax.open.empty()) continue;
      const Match fits = fits_block(syntax, rest, input_.final());
      if (fits == Match::kPartial) return Step::kMore;
      if (fits == Match::kNo) continue;
      input_.start_record();
      start_reader(syntax, false);
      unmarked_ = true;
      return Step::kAgain;
    }
    mode_ = Mode::kText;
    return Step::kAgain;
  }

  void open_reasoning() {
    mode_ = Mode::kReasoning;
    reasoning_.start();
    answer_.drop_space();
  }

  Step read_reasoning() {
    std::size_t safe = 0;
    const Marker* marker = find_marker(Mode::kReasoning, safe);
    reasoning_.write(input_.rest().substr(0, safe));
    input_.consume(safe);
    if (marker == nullptr) return Step::kMore;
    if (marker->action == Action::kReasoningClose) {
      input_.consume(marker->text.size());
      mode_ = Mode::kStart;
    } else {
      mode_ = Mode::kText;  // a stop marker, or a call that ends the reasoning
    }
    return Step::kAgain;
  }

  /// Gives the next `size` bytes as text, except control tokens that mean nothing here.
  void give_text(std::size_t size) {
    const std::string_view rest = input_.rest();
    for (std::size_t at = 0; at < size;) {
      const bool control = input_.kind(at) == PieceKind::kControl;
      std::size_t end = at;
      while (end < size && (input_.kind(end) == PieceKind::kControl) == control) ++end;
      if (!control) answer_.write(rest.substr(at, end - at));
      at = end;
    }
    input_.consume(size);
  }

  Step read_text() {
    std::size_t safe = 0;
    const Marker* marker = find_marker(Mode::kText, safe);
    give_text(safe);
    if (marker == nullptr) return Step::kMore;
    switch (marker->action) {
      case Action::kStop:
        return Step::kDone;
      case Action::kIgnore:
        input_.consume(marker->text.size());
        return ignore(*marker, Mode::kText);
      default:
        break;
    }
    input_.start_record();
    input_.consume(marker->text.size());
    unmarked_ = false;
    if (marker->action == Action::kInnerCall) {
      start_reader(format_.calls[marker->index], true);
    } else {
      open_ = marker->text;
      mode_ = Mode::kChoose;
    }
    return Step::kAgain;
  }

  Step ignore(const Marker& marker, Mode next) {
    ignored_close_ = format_.ignored[marker.index].close;
    after_ignored_ = next;
    mode_ = ignored_close_.empty() ? next : Mode::kIgnored;
    return Step::kAgain;
  }

  /// Drops what stands up to the closing text of ignored markup, which is never far.
  Step skip_ignored() {
    const std::size_t at = input_.rest().substr(0, kMaxMarker).find(ignored_close_);
    if (at == std::string_view::npos && input_.rest().size() < kMaxMarker && !input_.final())
      return Step::kMore;
    if (at != std::string_view::npos) input_.consume(at + ignored_close_.size());
    mode_ = after_ignored_;
    return Step::kAgain;
  }

  void start_reader(const CallSyntax& syntax, bool call_is_open) {
    mode_ = Mode::kCall;
    syntax_ = syntax;
    switch (syntax.kind) {
      case CallKind::kJson:
        reader_ = make_json_reader(syntax);
        break;
      case CallKind::kMarked:
        reader_ = make_marked_reader(syntax);
        break;
      case CallKind::kElements:
        reader_ = make_element_reader(syntax, call_is_open || syntax.open == syntax.call_open);
        break;
      case CallKind::kNestedElements:
        reader_ = make_nested_element_reader(syntax);
        break;
      case CallKind::kGeneric:
        reader_ = make_generic_reader();
        break;
      case CallKind::kPython:
        reader_ = make_python_reader(syntax);
        break;
      case CallKind::kCode:
        reader_ = make_code_reader(syntax, format_.stops);
        break;
    }
  }

  /// Several syntaxes may share a marker: what follows it decides.
  Step choose_reader() {
    std::vector<const CallSyntax*> choices;
    for (const CallSyntax& syntax : format_.calls) {
      if (syntax.open == open_) choices.push_back(&syntax);
    }
    if (choices.size() == 1) {
      start_reader(*choices.front(), false);
      return Step::kAgain;
    }
    if (!skip_space(input_)) {
      return input_.final() || input_.record_size() > kMaxCallBytes ? give_up() : Step::kMore;
    }
    for (const CallSyntax* syntax : choices) {
      const Match fits = fits_block(*syntax, input_.rest(), input_.final());
      if (fits == Match::kPartial) return Step::kMore;
      if (fits == Match::kNo) continue;
      start_reader(*syntax, false);
      return Step::kAgain;
    }
    return give_up();
  }

  Step read_call() {
    const Step result = reader_->step(input_, sink_);
    switch (result) {
      case Step::kAgain:
        return result;
      case Step::kMore:
        if (!input_.final() && input_.record_size() + input_.rest().size() < kMaxCallBytes)
          return result;
        return give_up();
      case Step::kBroken:
        return give_up();
      case Step::kDone:
        break;
    }
    (void)input_.take_record();
    mode_ = Mode::kText;
    answer_.drop_space();
    drop_cut_marker({&syntax_.close, &syntax_.call_close});
    return Step::kAgain;
  }

  /// When the reply was cut inside the markup that closes a complete call, that is no text.
  void drop_cut_marker(std::initializer_list<const std::string*> markers) {
    if (!input_.final()) return;
    const std::string_view rest = input_.rest();
    const auto cut = [rest](std::string_view marker) {
      return marker.size() > rest.size() && marker.starts_with(rest);
    };
    bool drop = cut("```");
    for (const std::string* marker : markers) drop |= cut(*marker);
    for (const IgnoredMarkup& markup : format_.ignored) drop |= cut(markup.open);
    for (const std::string& stop : format_.stops) drop |= cut(stop);
    if (drop) input_.consume(rest.size());
  }

  /// The block is not what it seemed: its markup is text.
  Step give_up() {
    const std::string record = input_.take_record();
    const std::string refused = sink_.take_refused();
    sink_.drop();
    mode_ = Mode::kText;
    if (!trim(record).empty()) {
      if (!unmarked_) {
        sink_.problem(refused.empty()
                          ? "The reply holds a tool call that is malformed or unfinished."
                          : "The reply calls \"" + printable(refused) +
                                "\", which is not a tool of this request.");
      }
      answer_.write(record);
    }
    return Step::kAgain;
  }

  ChatFormat format_;
  EventSink sink_;
  AnswerText answer_;
  ReasoningText reasoning_;
  Input input_;
  std::vector<Marker> markers_;
  std::array<bool, 256> starts_marker_{};
  std::unique_ptr<FrameReader> frame_;
  std::unique_ptr<CallReader> reader_;
  CallSyntax syntax_;       // of reader_
  std::string unfinished_;  // bytes of a character that is not complete
  std::string open_, ignored_close_;
  std::size_t reasoning_index_ = 0;
  Mode mode_ = Mode::kStart;
  Mode after_ignored_ = Mode::kText;
  bool unmarked_ = false;
  bool stopped_ = false;
  bool finished_ = false;
};

ReplyReader::ReplyReader(ChatFormat format, const ReplyOptions& options)
    : impl_(std::make_unique<Impl>(std::move(format), options)) {}
ReplyReader::~ReplyReader() = default;
ReplyReader::ReplyReader(ReplyReader&&) noexcept = default;
ReplyReader& ReplyReader::operator=(ReplyReader&&) noexcept = default;

std::vector<ReplyEvent> ReplyReader::push(std::string_view piece, PieceKind kind) {
  return impl_->push(piece, kind);
}
std::vector<ReplyEvent> ReplyReader::finish(bool cut) { return impl_->finish(cut); }
bool ReplyReader::stopped() const noexcept { return impl_->stopped(); }
int ReplyReader::complete_calls() const noexcept { return impl_->complete_calls(); }

}  // namespace hearth::text
