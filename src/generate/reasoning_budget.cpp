#include "generate/reasoning_budget.h"

namespace hearth::generate {
namespace {

/// A model opens its reasoning at the start of the answer or not at all.
constexpr std::size_t kBeginningBytes = 4096;

}  // namespace

ReasoningBudget::ReasoningBudget(const text::ChatFormat& format, std::optional<int> budget,
                                 std::string_view prompt)
    : format_(format), budget_(budget) {
  std::size_t marker = 0;
  reasoning_ = text::reasoning_state(format, prompt, &marker) == text::ReasoningState::kOpened;
  if (reasoning_ && marker < format.reasoning.size()) marker_ = marker;
}

void ReasoningBudget::event(const text::ReplyEvent& event) {
  switch (event.kind) {
    case text::ReplyEvent::Kind::kText:
      answered_ = answered_ || !event.text.empty();
      reasoning_ = false;
      break;
    case text::ReplyEvent::Kind::kReasoning:
      reasoning_ = true;
      break;
    case text::ReplyEvent::Kind::kToolCallStart:
      reasoning_ = false;
      break;
    default:
      break;
  }
}

std::optional<std::string> ReasoningBudget::piece(std::string_view text, std::int64_t tokens) {
  if (!budget_) return std::nullopt;
  if (!marker_) find_marker(text);
  if (!reasoning_ && !marker_) {
    before_ = tokens;
    return std::nullopt;
  }
  if (cut_ || !open() || tokens - before_ < *budget_) return std::nullopt;
  cut_ = true;
  // Models are used to an empty line after it.
  return format_.reasoning[*marker_].close + "\n\n";
}

bool ReasoningBudget::open() const {
  return marker_ && !format_.reasoning[*marker_].close.empty() && !answered_;
}

void ReasoningBudget::find_marker(std::string_view text) {
  if (beginning_.size() > kBeginningBytes) return;
  beginning_ += text;
  for (std::size_t index = 0; index < format_.reasoning.size(); ++index) {
    const std::string& marker = format_.reasoning[index].open;
    if (!marker.empty() && beginning_.find(marker) != std::string::npos) marker_ = index;
  }
}

}  // namespace hearth::generate
