// The budget of a model's reasoning: when it is used up, the closing marker is written for it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "text/chat_format.h"
#include "text/reply_reader.h"

namespace hearth::generate {

/// Watches one reply. Formats without a closing marker cannot be cut.
class ReasoningBudget {
 public:
  /// `prompt`: the rendered one (its end will do). `budget`: most tokens of reasoning; nothing: any
  /// number. `format` must outlive this.
  ReasoningBudget(const text::ChatFormat& format, std::optional<int> budget,
                  std::string_view prompt);

  /// Everything that the reply's reader found, in order.
  void event(const text::ReplyEvent& event);
  /// After the events of a piece: its text and how many tokens were generated so far. Returns what
  /// is to be written for the model now (control tokens included), at most once.
  [[nodiscard]] std::optional<std::string> piece(std::string_view text, std::int64_t tokens);

  /// What comes is reasoning.
  [[nodiscard]] bool reasoning() const noexcept { return reasoning_; }

 private:
  void find_marker(std::string_view text);
  [[nodiscard]] bool open() const;

  const text::ChatFormat& format_;
  std::optional<int> budget_;
  std::optional<std::size_t> marker_;  // in format_.reasoning: the one that is open
  std::string beginning_;
  std::int64_t before_ = 0;  // tokens before the reasoning
  bool reasoning_ = false;
  bool answered_ = false;  // text came
  bool cut_ = false;
};

}  // namespace hearth::generate
