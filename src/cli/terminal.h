// Facts about the terminal, its modes, and how wide text is on it.
#pragma once

#include <termios.h>

#include <cstddef>
#include <string>
#include <string_view>

namespace hearth::cli {

[[nodiscard]] bool is_terminal(int descriptor) noexcept;
/// Columns of the terminal, 80 when it does not say.
[[nodiscard]] int terminal_columns(int descriptor) noexcept;
/// Whether colours and dimming may be used on `descriptor`: a terminal that is not "dumb", and
/// NO_COLOR is not set.
[[nodiscard]] bool may_style(int descriptor) noexcept;

/// Columns that a code point takes: 0 for combining marks and controls, 2 for wide characters.
[[nodiscard]] int display_width(char32_t code_point) noexcept;
/// Where the character (grapheme cluster) that begins at `offset` ends, and where the one before
/// `offset` begins.
[[nodiscard]] std::size_t next_character(std::string_view text, std::size_t offset) noexcept;
[[nodiscard]] std::size_t previous_character(std::string_view text, std::size_t offset) noexcept;

/// `text` without what could make a terminal do things: control characters (escape sequences begin
/// with one) except newline and tab, in C0 and C1.
[[nodiscard]] std::string without_controls(std::string_view text);

/// Terminal settings changed for as long as this exists; nothing happens when `descriptor` is no
/// terminal.
class TerminalMode {
 public:
  enum class Kind {
    kRaw,    ///< every key is given as it comes, nothing is echoed, Ctrl-C is a key
    kQuiet,  ///< as usual, but nothing is echoed
  };
  TerminalMode(int descriptor, Kind kind);
  TerminalMode(const TerminalMode&) = delete;
  TerminalMode& operator=(const TerminalMode&) = delete;
  ~TerminalMode();

 private:
  int descriptor_;
  bool changed_ = false;
  termios previous_{};
};

/// A line on stderr that is rewritten in place, when stderr is a terminal; otherwise nothing.
class ProgressLine {
 public:
  ProgressLine();
  ProgressLine(const ProgressLine&) = delete;
  ProgressLine& operator=(const ProgressLine&) = delete;
  ~ProgressLine() { clear(); }
  void show(const std::string& text);
  void clear();

 private:
  bool enabled_;
  std::string shown_;
};

}  // namespace hearth::cli
