#include "cli/terminal.h"

#include <sys/ioctl.h>
#include <unistd.h>
#include <utf8proc.h>

#include <cstdio>
#include <cstdlib>

#include "support/utf8.h"

namespace hearth::cli {

bool is_terminal(int descriptor) noexcept { return isatty(descriptor) == 1; }

int terminal_columns(int descriptor) noexcept {
  winsize size{};
  if (ioctl(descriptor, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return 80;
  return size.ws_col;
}

bool may_style(int descriptor) noexcept {
  const char* no_color = std::getenv("NO_COLOR");
  const char* kind = std::getenv("TERM");
  const bool dumb = kind == nullptr || std::string_view(kind) == "dumb";
  return is_terminal(descriptor) && !dumb && (no_color == nullptr || *no_color == '\0');
}

int display_width(char32_t code_point) noexcept {
  return utf8proc_charwidth(static_cast<utf8proc_int32_t>(code_point));
}

std::size_t next_character(std::string_view text, std::size_t offset) noexcept {
  if (offset >= text.size()) return text.size();
  Utf8Decoded decoded = decode_utf8(text.substr(offset));
  utf8proc_int32_t state = 0;
  auto before = static_cast<utf8proc_int32_t>(decoded.code_point);
  for (offset += decoded.length; offset < text.size(); offset += decoded.length) {
    decoded = decode_utf8(text.substr(offset));
    const auto after = static_cast<utf8proc_int32_t>(decoded.code_point);
    if (utf8proc_grapheme_break_stateful(before, after, &state)) break;
    before = after;
  }
  return offset;
}

std::size_t previous_character(std::string_view text, std::size_t offset) noexcept {
  std::size_t begin = 0;
  for (std::size_t end = next_character(text, 0); end < offset; end = next_character(text, end))
    begin = end;
  return begin;
}

std::string without_controls(std::string_view text) {
  std::string result;
  result.reserve(text.size());
  while (!text.empty()) {
    const Utf8Decoded decoded = decode_utf8(text);
    const char32_t point = decoded.code_point;
    const bool control =
        (point < 0x20 && point != '\n' && point != '\t') || (point >= 0x7f && point < 0xa0);
    if (!decoded.valid) {
      append_utf8(result, 0xFFFD);
    } else if (!control) {
      result.append(text.substr(0, decoded.length));
    }
    text.remove_prefix(decoded.length);
  }
  return result;
}

TerminalMode::TerminalMode(int descriptor, Kind kind) : descriptor_(descriptor) {
  if (tcgetattr(descriptor, &previous_) != 0) return;
  termios mode = previous_;
  mode.c_lflag &= ~static_cast<tcflag_t>(ECHO);
  if (kind == Kind::kRaw) {
    mode.c_iflag &= ~static_cast<tcflag_t>(BRKINT | ICRNL | INPCK | ISTRIP | IXON);
    mode.c_lflag &= ~static_cast<tcflag_t>(ICANON | IEXTEN | ISIG);
    mode.c_cflag |= CS8;
    mode.c_cc[VMIN] = 1;
    mode.c_cc[VTIME] = 0;
  }
  changed_ = tcsetattr(descriptor, TCSADRAIN, &mode) == 0;
}

TerminalMode::~TerminalMode() {
  if (changed_) tcsetattr(descriptor_, TCSADRAIN, &previous_);
}

ProgressLine::ProgressLine() : enabled_(is_terminal(STDERR_FILENO)) {}

void ProgressLine::show(const std::string& text) {
  if (!enabled_ || text == shown_) return;
  std::fprintf(stderr, "\r%s\x1b[K", text.c_str());
  std::fflush(stderr);
  shown_ = text;
}

void ProgressLine::clear() {
  if (shown_.empty()) return;
  std::fputs("\r\x1b[K", stderr);
  std::fflush(stderr);
  shown_.clear();
}

}  // namespace hearth::cli
