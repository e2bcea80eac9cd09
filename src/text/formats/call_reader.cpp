#include "text/formats/call_reader.h"

#include <algorithm>

namespace hearth::text {

using Kind = ReplyEvent::Kind;

void EventSink::delta_event(Kind kind, int index, std::string_view delta) {
  if (delta.empty()) return;
  if (kind == Kind::kText) wrote_text_ = true;
  if (!events_.empty() && events_.back().kind == kind && events_.back().index == index) {
    events_.back().text += delta;
    return;
  }
  events_.push_back(
      {.kind = kind, .index = index, .text = std::string(delta), .name = {}, .id = {}});
}

void EventSink::problem(std::string note) {
  events_.push_back(
      {.kind = Kind::kProblem, .index = -1, .text = std::move(note), .name = {}, .id = {}});
}

bool EventSink::begin(std::string_view name, std::string_view id) {
  silent_ = !no_call_tool_.empty() && name == no_call_tool_;
  if (!silent_ && !tools_.allows(name)) {
    refused_ = name;
    return false;
  }
  name_ = name;
  arguments_.clear();
  in_call_ = true;
  if (!silent_) {
    // Templates of these formats read the id back, so that it cannot be just any.
    const bool prescribed = !id.empty() || ids_ == IdStyle::kCounter || ids_ == IdStyle::kKimi;
    events_.push_back({.kind = Kind::kToolCallStart,
                       .index = next_index_++,
                       .text = {},
                       .name = name_,
                       .id = prescribed ? make_id(id) : std::string()});
  }
  return true;
}

void EventSink::arguments(std::string_view delta) {
  arguments_ += delta;
  if (!silent_) delta_event(Kind::kToolCallArguments, next_index_ - 1, delta);
}

void EventSink::end(std::string_view id) {
  if (!in_call_) return;
  if (arguments_.empty()) arguments("{}");
  in_call_ = false;
  ++ended_;
  if (silent_) return;
  events_.push_back({.kind = Kind::kToolCallEnd,
                     .index = next_index_ - 1,
                     .text = std::exchange(arguments_, {}),
                     .name = name_,
                     .id = make_id(id)});
  ++reported_;
}

void EventSink::drop() {
  if (!in_call_) return;
  in_call_ = false;
  if (!silent_) {
    events_.push_back({.kind = Kind::kToolCallDropped,
                       .index = next_index_ - 1,
                       .text = {},
                       .name = {},
                       .id = {}});
  }
}

std::string EventSink::make_id(std::string_view given) const {
  const int number = earlier_calls_ + reported_;  // from 0
  const bool nine_alphanumerics =
      given.size() == 9 &&
      std::all_of(given.begin(), given.end(), [](char c) { return is_letter(c) || is_digit(c); });
  if (!given.empty() && (ids_ != IdStyle::kNineAlphanumerics || nine_alphanumerics))
    return std::string(given);
  switch (ids_) {
    case IdStyle::kNineAlphanumerics: {
      std::string digits = std::to_string((number + 1) % 100000);
      return "call" + std::string(5 - digits.size(), '0') + digits;
    }
    case IdStyle::kCounter:
      return std::to_string(number);
    case IdStyle::kKimi:
      return "functions." + name_ + ":" + std::to_string(number);
    case IdStyle::kNumbered:
      break;
  }
  return "call_" + std::to_string(number + 1);
}

std::optional<std::string> as_arguments(std::string_view value) {
  if (value.starts_with('{')) return std::string(value);
  if (value == "null" || value == "\"\"") return "{}";
  const std::optional<std::string> content = json_string_content(value);
  if (!content) return std::nullopt;
  ValueReader::Shape shape = ValueReader::Shape::kNone;
  std::optional<std::string> inner = read_whole_value(*content, &shape);
  if (!inner || shape != ValueReader::Shape::kObject) return std::nullopt;
  return inner;
}

Step ArgumentsReader::step(Input& input, EventSink& sink) {
  if (!started_) {
    if (!skip_space(input)) return Step::kMore;
    started_ = true;
    streaming_ = input.rest().front() == '{';
  }
  std::string out;
  std::size_t consumed = 0;
  const ValueReader::Status status = reader_.read(input.rest(), input.final(), consumed, out);
  input.consume(consumed);
  if (streaming_) {
    sink.arguments(out);
  } else {
    pending_ += out;
  }
  if (status == ValueReader::Status::kBroken) return Step::kBroken;
  if (status == ValueReader::Status::kMore) return Step::kMore;
  if (!streaming_) {
    const std::optional<std::string> arguments = as_arguments(pending_);
    if (!arguments) return Step::kBroken;
    sink.arguments(*arguments);
  }
  return Step::kDone;
}

bool skip_space(Input& input) {
  input.consume(count_space(input.rest()));
  return !input.rest().empty();
}

Match skip_marker(Input& input, std::string_view wanted) {
  skip_space(input);
  const Match found = match(input.rest(), wanted, input.final());
  if (found == Match::kYes) input.consume(wanted.size());
  return found;
}

Step skip_fence(Input& input, bool opening) {
  skip_space(input);
  const Match found = match(input.rest(), "```", input.final());
  if (found != Match::kYes) return found == Match::kPartial ? Step::kMore : Step::kDone;
  std::size_t end = 3;
  if (opening) {
    const std::string_view rest = input.rest();
    while (end < rest.size() && is_letter(rest[end])) ++end;
    if (end == rest.size() && !input.final()) return Step::kMore;
    if (end > 16) return Step::kBroken;
  }
  input.consume(end);
  return Step::kDone;
}

MarkerScan scan_markers(std::string_view text, const std::vector<std::string>& markers,
                        bool final) {
  MarkerScan scan{text.size(), -1};
  for (std::size_t index = 0; index < markers.size(); ++index) {
    const std::size_t at = text.find(markers[index]);
    if (at < scan.safe) scan = {at, static_cast<int>(index)};
  }
  if (scan.found >= 0 || final) return scan;
  for (const std::string& marker : markers)
    scan.safe = std::min(scan.safe, text.size() - partial_suffix(text, marker));
  return scan;
}

Step read_call_name(Input& input, const std::vector<NameEnd>& ends, std::string& name,
                    std::string_view* end) {
  if (!skip_space(input)) return Step::kMore;
  const std::string_view rest = input.rest();
  std::size_t at = std::string_view::npos;
  const NameEnd* found = nullptr;
  std::size_t held = 0;
  for (const NameEnd& candidate : ends) {
    const std::size_t position = rest.find(candidate.text);
    if (position != std::string_view::npos && position <= at) {
      at = position;
      found = &candidate;
    }
    held = std::max(held, partial_suffix(rest, candidate.text));
  }
  if (found == nullptr) {
    // Only what can become a name is waited for, so that text is not held back.
    const std::string_view so_far = trim(rest.substr(0, rest.size() - held));
    const bool hopeless =
        rest.size() > kMaxField + kMaxMarker || (!so_far.empty() && !is_tool_name(so_far));
    return hopeless ? Step::kBroken : Step::kMore;
  }
  const std::string_view word = trim(rest.substr(0, at));
  if (at > kMaxField || !is_tool_name(word)) return Step::kBroken;
  name = word;
  if (end != nullptr) *end = found->text;
  input.consume(at + (found->consume ? found->text.size() : 0));
  return Step::kDone;
}

bool is_tool_name(std::string_view name) {
  static constexpr std::string_view kForbidden = "\"'`<>{}[]()|,;=";
  if (name.empty() || name.size() > 256) return false;
  return std::none_of(name.begin(), name.end(), [](char c) {
    return is_space(c) || kForbidden.find(c) != std::string_view::npos;
  });
}

}  // namespace hearth::text
