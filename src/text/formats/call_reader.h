// What the readers of call markup share: the input they read from, the sink they report to, and
// their interface.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "text/chat_format.h"
#include "text/formats/scan.h"
#include "text/formats/tool_schema.h"
#include "text/formats/value_reader.h"
#include "text/reply_reader.h"

namespace hearth::text {

/// Text that was pushed and not read yet. Well-formed UTF-8, never cut inside a character.
class Input {
 public:
  void append(std::string_view text, PieceKind kind) {
    if (position_ > 4096 && position_ > text_.size() / 2) compact();
    text_ += text;
    kinds_.append(text.size(), static_cast<char>(kind));
  }
  void finish() { final_ = true; }

  [[nodiscard]] std::string_view rest() const { return std::string_view(text_).substr(position_); }
  [[nodiscard]] bool final() const { return final_; }
  /// Kind of the byte at `offset` of rest().
  [[nodiscard]] PieceKind kind(std::size_t offset) const {
    return static_cast<PieceKind>(kinds_[position_ + offset]);
  }
  void consume(std::size_t count) {
    if (recording_) record_.append(text_, position_, count);
    position_ += count;
  }

  /// From here on what is consumed is remembered, until it is forgotten or taken back as text.
  void start_record() { recording_ = true; }
  void forget_record() { record_.clear(); }
  [[nodiscard]] std::string take_record() {
    recording_ = false;
    return std::exchange(record_, std::string());
  }
  [[nodiscard]] std::size_t record_size() const { return record_.size(); }

 private:
  void compact() {
    text_.erase(0, position_);
    kinds_.erase(0, position_);
    position_ = 0;
  }
  std::string text_, kinds_, record_;
  std::size_t position_ = 0;
  bool final_ = false;
  bool recording_ = false;
};

/// Collects events; checks names, numbers calls and makes ids.
class EventSink {
 public:
  EventSink(const ChatFormat& format, const ReplyOptions& options)
      : tools_(options.tools),
        ids_(format.ids),
        no_call_tool_(format.no_call_tool),
        earlier_calls_(options.earlier_calls) {}

  void text(std::string_view delta) { delta_event(ReplyEvent::Kind::kText, -1, delta); }
  void reasoning(std::string_view delta) { delta_event(ReplyEvent::Kind::kReasoning, -1, delta); }
  void problem(std::string note);

  /// Begins a call. False when no such tool is declared: the markup is text then, and
  /// take_refused() says which name it was. `id`: what the model has written so far; may be empty.
  [[nodiscard]] bool begin(std::string_view name, std::string_view id = {});
  void arguments(std::string_view delta);
  /// Completes the call. `id` may be empty; arguments that were never given are {}.
  void end(std::string_view id = {});
  /// The call that has begun, if any, is not to be.
  void drop();

  [[nodiscard]] std::string take_refused() { return std::exchange(refused_, {}); }
  [[nodiscard]] bool in_call() const { return in_call_; }
  /// Complete calls, silent ones ("directly-answer") included.
  [[nodiscard]] int ended() const { return ended_; }
  [[nodiscard]] int reported() const { return reported_; }
  [[nodiscard]] bool wrote_text() const { return wrote_text_; }
  [[nodiscard]] const DeclaredTools& tools() const { return tools_; }
  [[nodiscard]] std::vector<ReplyEvent> take() { return std::exchange(events_, {}); }

 private:
  void delta_event(ReplyEvent::Kind kind, int index, std::string_view delta);
  [[nodiscard]] std::string make_id(std::string_view given) const;

  DeclaredTools tools_;
  IdStyle ids_;
  std::string no_call_tool_;
  int earlier_calls_;
  std::vector<ReplyEvent> events_;
  std::string name_, arguments_, refused_;
  int next_index_ = 0;
  int ended_ = 0;
  int reported_ = 0;
  bool in_call_ = false;
  bool silent_ = false;
  bool wrote_text_ = false;
};

/// What became of a step of a reader.
enum class Step : std::uint8_t {
  kMore,    ///< needs more input (when the input is final: the block is unfinished)
  kAgain,   ///< got on; call again
  kDone,    ///< the block is over; text follows
  kBroken,  ///< this is no block of calls: what was read since the last complete call is text
};

/// Reads one block of calls. `input` stands behind the block's opening marker, or at it for
/// syntaxes without one.
class CallReader {
 public:
  virtual ~CallReader() = default;
  virtual Step step(Input& input, EventSink& sink) = 0;
};

[[nodiscard]] std::unique_ptr<CallReader> make_json_reader(const CallSyntax& syntax);
[[nodiscard]] std::unique_ptr<CallReader> make_marked_reader(const CallSyntax& syntax);
[[nodiscard]] std::unique_ptr<CallReader> make_element_reader(const CallSyntax& syntax,
                                                              bool call_is_open);
[[nodiscard]] std::unique_ptr<CallReader> make_nested_element_reader(const CallSyntax& syntax);
[[nodiscard]] std::unique_ptr<CallReader> make_generic_reader();
[[nodiscard]] std::unique_ptr<CallReader> make_python_reader(const CallSyntax& syntax);
[[nodiscard]] std::unique_ptr<CallReader> make_code_reader(const CallSyntax& syntax,
                                                           const std::vector<std::string>& stops);

/// Whether a block of `syntax` can start with `rest`, which has no leading white space and is not
/// empty: for blocks without a marker, and to choose between syntaxes that share one. kPartial when
/// more has to be seen.
[[nodiscard]] Match fits_block(const CallSyntax& syntax, std::string_view rest, bool final);

/// Reads a reply whose frame is not plain text with markers in it.
class FrameReader {
 public:
  virtual ~FrameReader() = default;
  /// kAgain while it gets on, kMore when it needs more input, kDone at a stop marker.
  virtual Step step(Input& input, EventSink& sink) = 0;
};
[[nodiscard]] std::unique_ptr<FrameReader> make_harmony_reader(std::string_view prompt);
[[nodiscard]] std::unique_ptr<FrameReader> make_recipients_reader(
    const std::vector<std::string>& stops);

/// Reads the arguments of one call, an object in JSON or a dialect, into the sink: an object given
/// as a JSON string is unpacked, null and an empty string stand for {}.
class ArgumentsReader {
 public:
  explicit ArgumentsReader(std::string_view quote_token = {}) : reader_(quote_token) {}
  /// kDone when the value was read; kMore, kBroken as for CallReader.
  Step step(Input& input, EventSink& sink);

 private:
  ValueReader reader_;
  std::string pending_;
  bool started_ = false;
  bool streaming_ = false;
};

/// `value` (strict JSON of any shape) as arguments: an object stays, a string holding an object is
/// unpacked.
[[nodiscard]] std::optional<std::string> as_arguments(std::string_view value);

/// Reads an opening or closing code fence (three backquotes, a language word, a newline) if one
/// stands here. kDone also when there is none; kMore when not known.
Step skip_fence(Input& input, bool opening);

/// Skips white space and then `wanted` if it stands there. kYes: skipped; kNo: another text stands
/// there.
Match skip_marker(Input& input, std::string_view wanted);

/// Consumes white space; true when something follows it.
bool skip_space(Input& input);

/// Where the first of `markers` stands in `text`, if one does (`found` is its index, `safe` its
/// position). Otherwise `safe` bytes hold no marker whatever follows, and after them one may begin.
struct MarkerScan {
  std::size_t safe = 0;
  int found = -1;
};
[[nodiscard]] MarkerScan scan_markers(std::string_view text,
                                      const std::vector<std::string>& markers, bool final);

constexpr std::size_t kMaxCallBytes = std::size_t{8} << 20;
constexpr std::size_t kMaxField = 512;  ///< longest name or id field
constexpr std::size_t kMaxMarker = 64;  ///< no marker of any format is longer

/// A text that ends a name; `consume`: it belongs to the name.
struct NameEnd {
  std::string_view text;
  bool consume;
};
/// Reads a name up to the first of `ends` (the later one in the list where two begin together).
/// kDone, kMore, or kBroken as soon as what stands there cannot be a name. `end`, if not null,
/// receives the text that ended it.
Step read_call_name(Input& input, const std::vector<NameEnd>& ends, std::string& name,
                    std::string_view* end = nullptr);

/// A plausible tool name: not empty, at most 256 bytes, no white space, quotes or brackets.
[[nodiscard]] bool is_tool_name(std::string_view name);

}  // namespace hearth::text
