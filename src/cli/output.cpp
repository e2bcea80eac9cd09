#include "cli/output.h"

#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "cli/terminal.h"
#include "support/error.h"

namespace hearth::cli {
namespace {

[[noreturn]] void throw_unwritable(int reason) {
  const std::string why = reason != 0 ? std::string(": ") + std::strerror(reason) : std::string();
  throw Error("cannot write to standard output" + why);
}

}  // namespace

void flush_stdout() {
  const bool failed_before = std::ferror(stdout) != 0;
  errno = 0;
  const bool fails_now = std::fflush(stdout) != 0;
  if (!failed_before && !fails_now) return;
  if (errno == EPIPE) return;
  throw_unwritable(errno);
}

ReplyPrinter::ReplyPrinter()
    : terminal_(is_terminal(STDOUT_FILENO)), styled_(may_style(STDOUT_FILENO)) {}

void ReplyPrinter::text(std::string_view text) {
  if (text.empty()) return;
  enter(Mode::kText);
  write(text);
}

void ReplyPrinter::reasoning(std::string_view text) {
  if (text.empty() || !terminal_) return;
  enter(Mode::kReasoning);
  write(text);
}

void ReplyPrinter::enter(Mode mode) {
  if (mode == mode_) return;
  if (mode_ == Mode::kReasoning) put(styled_ ? "\x1b[0m\n\n" : "\n(end of reasoning)\n\n");
  if (mode == Mode::kReasoning) put(styled_ ? "\x1b[2m" : "(reasoning)\n");
  newlines_.clear();
  started_ = false;
  mode_ = mode;
}

void ReplyPrinter::write(std::string_view text) {
  const std::string safe = terminal_ ? without_controls(text) : std::string();
  if (terminal_) text = safe;
  if (!started_ && text.starts_with(' ')) text.remove_prefix(1);
  if (!text.empty()) started_ = true;
  const std::size_t last = text.find_last_not_of('\n');
  if (last == std::string_view::npos) {
    newlines_ += text;
    return;
  }
  put(newlines_);
  put(text.substr(0, last + 1));
  newlines_ = text.substr(last + 1);
  flush();
}

void ReplyPrinter::put(std::string_view text) {
  if (broken_ || text.empty()) return;
  if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size()) broken_ = true;
  if (broken_ && errno != EPIPE) throw_unwritable(errno);
}

void ReplyPrinter::flush() {
  if (broken_ || std::fflush(stdout) == 0) return;
  broken_ = true;
  if (errno != EPIPE) throw_unwritable(errno);
}

void ReplyPrinter::finish() {
  if (mode_ == Mode::kReasoning && styled_) put("\x1b[0m");
  put("\n");
  flush();
}

}  // namespace hearth::cli
