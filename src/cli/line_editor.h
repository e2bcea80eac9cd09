// Editing a line on a terminal: UTF-8, wide characters, history, pasted text of several lines. Own
// code, because the well-known library is under the GPL and others do not know wide characters.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>

#include "cli/history.h"

namespace hearth::cli {

/// The text being edited, and what keys do to it. Knows nothing of terminals.
class EditBuffer {
 public:
  explicit EditBuffer(const History& history)
      : history_(&history), place_(history.entries().size()) {}

  enum class Outcome { kContinue, kRedrawScreen, kAccepted, kInterrupted, kEnd };

  /// Takes the next bytes from the terminal; keys may arrive in pieces. Returns at the first
  /// outcome that is not kContinue; bytes after it are kept for the next call of resume().
  Outcome push(std::string_view bytes);

  [[nodiscard]] const std::string& text() const noexcept { return text_; }
  /// Byte offset of the cursor in text().
  [[nodiscard]] std::size_t cursor() const noexcept { return cursor_; }
  /// Bytes that came after the outcome (typed ahead).
  [[nodiscard]] std::string take_rest() { return std::exchange(pending_, {}); }

 private:
  Outcome take_key();
  void take_pasted();
  Outcome control(char byte);
  void escape_sequence(std::string_view sequence);
  void insert(std::string_view text);
  void erase(std::size_t begin, std::size_t end);
  void move_word(bool forward);
  void recall(bool older);

  const History* history_;
  std::string text_;
  std::size_t cursor_ = 0;
  std::string pending_;  // bytes of an unfinished key
  bool pasting_ = false;
  std::string killed_;    // what Ctrl-K, Ctrl-U or Ctrl-W took, for Ctrl-Y
  std::size_t place_;     // in the history; its size: the new line
  std::string new_line_;  // kept while an older one is shown
};

/// Rows and columns that text takes on a terminal, for drawing and for placing the cursor.
struct ScreenPosition {
  int row = 0;
  int column = 0;
};

/// Where the cursor stands after `text` was written beginning at `from`. Newlines begin a row at
/// column `indent`.
[[nodiscard]] ScreenPosition screen_position(std::string_view text, ScreenPosition from,
                                             int columns, int indent);

class LineEditor {
 public:
  /// Reads from and writes to terminals; `history` must outlive the editor.
  LineEditor(int input, int output, const History& history)
      : input_(input), output_(output), history_(&history) {}

  enum class Kind { kLine, kInterrupted, kEnd };
  struct Result {
    Kind kind = Kind::kEnd;
    std::string text;
  };
  /// Edits one line after `prompt` (one column per byte). Enter ends it; Alt-Enter and pasted
  /// newlines are part of it. kInterrupted: Ctrl-C, `text` is what had been typed. kEnd: Ctrl-D on
  /// an empty line, or the input is closed.
  [[nodiscard]] Result read(std::string_view prompt, std::string_view continuation_prompt);

 private:
  void draw(const EditBuffer& buffer, std::string_view prompt, std::string_view continuation);
  void write(std::string_view text) const;

  int input_;
  int output_;
  const History* history_;
  int cursor_row_ = 0;  // of the drawn lines, where the cursor was left
  std::string typed_ahead_;
};

}  // namespace hearth::cli
