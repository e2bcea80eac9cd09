// Writing a reply to stdout as it is generated.
#pragma once

#include <string>
#include <string_view>

namespace hearth::cli {

/// Writes out what is buffered for stdout. Throws Error when it could not all be written (a full
/// disk, say); that its reader went away is no error.
void flush_stdout();

/// The shape of all text that `run` prints: the leading space of the first piece is left out
/// (SentencePiece models begin with one), newlines at the end are held back so that finish() ends
/// the output with exactly one, and on a terminal nothing can be printed that controls it.
/// Reasoning is shown on terminals only, dimmed where colours are allowed.
class ReplyPrinter {
 public:
  ReplyPrinter();

  void text(std::string_view text);
  void reasoning(std::string_view text);
  /// Ends the reply with one newline.
  void finish();

  /// Whoever read the output went away; nothing more can be written.
  [[nodiscard]] bool broken() const noexcept { return broken_; }

 private:
  enum class Mode { kNone, kReasoning, kText };
  void enter(Mode mode);
  void write(std::string_view text);
  void put(std::string_view text);
  void flush();

  bool terminal_;
  bool styled_;
  Mode mode_ = Mode::kNone;
  bool started_ = false;  // of the current mode: something was printed
  std::string newlines_;  // held back
  bool broken_ = false;
};

}  // namespace hearth::cli
