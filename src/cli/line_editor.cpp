#include "cli/line_editor.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "cli/terminal.h"
#include "support/utf8.h"

namespace hearth::cli {
namespace {

constexpr char kEscape = '\x1b';
constexpr std::string_view kPasteBegin = "\x1b[200~";
constexpr std::string_view kPasteEnd = "\x1b[201~";
constexpr std::size_t kMaxLineBytes = std::size_t{1} << 20;

constexpr char ctrl(char letter) { return static_cast<char>(letter & 0x1f); }

bool is_control(char byte) { return static_cast<unsigned char>(byte) < 0x20; }

/// Length of the escape sequence at the start of `bytes`; 0 when it is not complete. Escape alone
/// counts with the following character (Alt). A control character ends an unfinished sequence and
/// is not part of it, so that Ctrl-C and Ctrl-D are never swallowed.
std::size_t escape_length(std::string_view bytes) {
  if (bytes.size() < 2) return 0;
  if (is_control(bytes[1]) && bytes[1] != '\r' && bytes[1] != '\n') return 1;
  if (bytes[1] == 'O') return bytes.size() < 3 ? 0 : is_control(bytes[2]) ? 2 : 3;
  if (bytes[1] != '[') return 2;
  for (std::size_t index = 2; index < bytes.size(); ++index) {
    if (is_control(bytes[index])) return index;
    if (bytes[index] >= 0x40 && bytes[index] <= 0x7e) return index + 1;
    if (index > 32) return index;  // not a sequence that any key sends
  }
  return 0;
}

bool is_space(char character) { return character == ' ' || character == '\t' || character == '\n'; }

}  // namespace

EditBuffer::Outcome EditBuffer::push(std::string_view bytes) {
  pending_ += bytes;
  while (!pending_.empty()) {
    const std::size_t before = pending_.size();
    const Outcome outcome = take_key();
    if (outcome != Outcome::kContinue) return outcome;
    if (pending_.size() == before) break;  // an unfinished key
  }
  return Outcome::kContinue;
}

/// Takes one key from the pending bytes, or nothing when it is not complete.
EditBuffer::Outcome EditBuffer::take_key() {
  if (pasting_) {
    take_pasted();
    return Outcome::kContinue;
  }
  const char first = pending_.front();
  if (first == kEscape) {
    const std::size_t length = escape_length(pending_);
    if (length == 0) return Outcome::kContinue;
    const std::string sequence = pending_.substr(0, length);
    pending_.erase(0, length);
    escape_sequence(sequence);
    return Outcome::kContinue;
  }
  if ((static_cast<unsigned char>(first) < 0x20) || first == 0x7f) {
    pending_.erase(0, 1);
    return control(first);
  }
  if (incomplete_utf8_tail(pending_) == pending_.size()) return Outcome::kContinue;
  const Utf8Decoded decoded = decode_utf8(pending_);
  const std::string character = pending_.substr(0, decoded.length);
  pending_.erase(0, decoded.length);
  if (decoded.valid) insert(without_controls(character));
  return Outcome::kContinue;
}

/// Takes pasted text up to the end marker, keeping back what may be the beginning of the marker or
/// of a character.
void EditBuffer::take_pasted() {
  const std::size_t end = pending_.find(kPasteEnd);
  const bool done = end != std::string::npos;
  std::size_t length = done ? end : pending_.size();
  if (!done) {
    for (std::size_t kept = std::min(length, kPasteEnd.size() - 1); kept > 0; --kept) {
      if (!pending_.ends_with(kPasteEnd.substr(0, kept))) continue;
      length -= kept;
      break;
    }
    length -= incomplete_utf8_tail(std::string_view(pending_).substr(0, length));
  }
  std::string pasted = pending_.substr(0, length);
  pending_.erase(0, length + (done ? kPasteEnd.size() : 0));
  pasting_ = !done;
  std::replace(pasted.begin(), pasted.end(), '\r', '\n');  // terminals send newlines as Enter
  insert(without_controls(pasted));
}

EditBuffer::Outcome EditBuffer::control(char byte) {
  switch (byte) {
    case '\r':
    case '\n':
      return Outcome::kAccepted;
    case ctrl('C'):
      return Outcome::kInterrupted;
    case ctrl('D'):
      if (text_.empty()) return Outcome::kEnd;
      erase(cursor_, next_character(text_, cursor_));
      break;
    case ctrl('A'):
      cursor_ = 0;
      break;
    case ctrl('E'):
      cursor_ = text_.size();
      break;
    case ctrl('B'):
      cursor_ = previous_character(text_, cursor_);
      break;
    case ctrl('F'):
      cursor_ = next_character(text_, cursor_);
      break;
    case ctrl('H'):
    case 0x7f:
      if (cursor_ > 0) erase(previous_character(text_, cursor_), cursor_);
      break;
    case ctrl('K'):
      killed_ = text_.substr(cursor_);
      erase(cursor_, text_.size());
      break;
    case ctrl('U'):
      killed_ = text_.substr(0, cursor_);
      erase(0, cursor_);
      break;
    case ctrl('W'): {
      const std::size_t end = cursor_;
      move_word(false);
      killed_ = text_.substr(cursor_, end - cursor_);
      erase(cursor_, end);
      break;
    }
    case ctrl('Y'):
      insert(killed_);
      break;
    case ctrl('P'):
      recall(true);
      break;
    case ctrl('N'):
      recall(false);
      break;
    case ctrl('L'):
      return Outcome::kRedrawScreen;
    case '\t':
      insert("    ");
      break;
    default:
      break;
  }
  return Outcome::kContinue;
}

void EditBuffer::escape_sequence(std::string_view sequence) {
  if (sequence == kPasteBegin) {
    pasting_ = true;
  } else if (sequence == "\x1b[A" || sequence == "\x1bOA") {
    recall(true);
  } else if (sequence == "\x1b[B" || sequence == "\x1bOB") {
    recall(false);
  } else if (sequence == "\x1b[C" || sequence == "\x1bOC") {
    cursor_ = next_character(text_, cursor_);
  } else if (sequence == "\x1b[D" || sequence == "\x1bOD") {
    cursor_ = previous_character(text_, cursor_);
  } else if (sequence == "\x1b[H" || sequence == "\x1bOH" || sequence == "\x1b[1~" ||
             sequence == "\x1b[7~") {
    cursor_ = 0;
  } else if (sequence == "\x1b[F" || sequence == "\x1bOF" || sequence == "\x1b[4~" ||
             sequence == "\x1b[8~") {
    cursor_ = text_.size();
  } else if (sequence == "\x1b[3~") {
    erase(cursor_, next_character(text_, cursor_));
  } else if (sequence == "\x1b[1;5C" || sequence == "\x1b[1;3C" ||
             sequence ==
                 "\x1b"
                 "f") {
    move_word(true);
  } else if (sequence == "\x1b[1;5D" || sequence == "\x1b[1;3D" ||
             sequence ==
                 "\x1b"
                 "b") {
    move_word(false);
  } else if (sequence == "\x1b\r" || sequence == "\x1b\n") {
    insert("\n");
  }
}

void EditBuffer::insert(std::string_view text) {
  if (text_.size() + text.size() > kMaxLineBytes) return;
  text_.insert(cursor_, text);
  cursor_ += text.size();
}

void EditBuffer::erase(std::size_t begin, std::size_t end) {
  text_.erase(begin, end - begin);
  cursor_ = begin;
}

void EditBuffer::move_word(bool forward) {
  if (forward) {
    while (cursor_ < text_.size() && is_space(text_[cursor_])) ++cursor_;
    while (cursor_ < text_.size() && !is_space(text_[cursor_])) ++cursor_;
  } else {
    while (cursor_ > 0 && is_space(text_[cursor_ - 1])) --cursor_;
    while (cursor_ > 0 && !is_space(text_[cursor_ - 1])) --cursor_;
  }
}

void EditBuffer::recall(bool older) {
  const std::vector<std::string>& entries = history_->entries();
  if (older ? place_ == 0 : place_ >= entries.size()) return;
  if (place_ == entries.size()) new_line_ = text_;
  place_ = older ? place_ - 1 : place_ + 1;
  text_ = place_ == entries.size() ? new_line_ : entries[place_];
  cursor_ = text_.size();
}

ScreenPosition screen_position(std::string_view text, ScreenPosition from, int columns,
                               int indent) {
  ScreenPosition position = from;
  while (!text.empty()) {
    const Utf8Decoded decoded = decode_utf8(text);
    text.remove_prefix(decoded.length);
    if (decoded.code_point == '\n') {
      ++position.row;
      position.column = indent;
      continue;
    }
    const int width = display_width(decoded.code_point);
    if (position.column + width > columns) {  // what does not fit goes to the next row
      ++position.row;
      position.column = 0;
    }
    position.column += width;
  }
  if (position.column >= columns) {
    ++position.row;
    position.column = 0;
  }
  return position;
}

LineEditor::Result LineEditor::read(std::string_view prompt, std::string_view continuation_prompt) {
  const TerminalMode raw(input_, TerminalMode::Kind::kRaw);
  EditBuffer buffer(*history_);
  cursor_row_ = 0;
  write("\x1b[?2004h");  // pasted text comes marked
  Result result;
  std::string bytes = std::exchange(typed_ahead_, {});
  while (true) {
    const EditBuffer::Outcome outcome = buffer.push(bytes);
    if (outcome == EditBuffer::Outcome::kRedrawScreen) {
      write("\x1b[H\x1b[2J");
      cursor_row_ = 0;
      bytes.clear();
      draw(buffer, prompt, continuation_prompt);
      continue;
    }
    if (outcome != EditBuffer::Outcome::kContinue) {
      result.kind = outcome == EditBuffer::Outcome::kAccepted      ? Kind::kLine
                    : outcome == EditBuffer::Outcome::kInterrupted ? Kind::kInterrupted
                                                                   : Kind::kEnd;
      break;
    }
    draw(buffer, prompt, continuation_prompt);
    char read_bytes[4096];
    const ssize_t count = ::read(input_, read_bytes, sizeof read_bytes);
    if (count < 0 && errno == EINTR) {
      bytes.clear();
      continue;
    }
    if (count <= 0) {
      result.kind = Kind::kEnd;
      break;
    }
    bytes.assign(read_bytes, static_cast<std::size_t>(count));
  }
  result.text = buffer.text();
  typed_ahead_ = buffer.take_rest();
  draw(buffer, prompt, continuation_prompt);
  const int columns = terminal_columns(output_);
  const ScreenPosition start{0, static_cast<int>(prompt.size())};
  const int indent = static_cast<int>(continuation_prompt.size());
  const int last = screen_position(buffer.text(), start, columns, indent).row;
  if (last > cursor_row_) write("\x1b[" + std::to_string(last - cursor_row_) + "B");
  write("\x1b[?2004l\r\n");
  return result;
}

void LineEditor::draw(const EditBuffer& buffer, std::string_view prompt,
                      std::string_view continuation) {
  const int columns = terminal_columns(output_);
  const int indent = static_cast<int>(continuation.size());
  const ScreenPosition start{0, static_cast<int>(prompt.size())};
  std::string out;
  if (cursor_row_ > 0) out += "\x1b[" + std::to_string(cursor_row_) + "A";
  out += "\r\x1b[J";
  out += prompt;
  for (const char character : buffer.text()) {
    if (character == '\n') {
      out += "\r\n";
      out += continuation;
    } else {
      out += character;
    }
  }
  const ScreenPosition end = screen_position(buffer.text(), start, columns, indent);
  // A terminal wraps only when the next character comes; the cursor is to stand on the next row
  // already.
  if (end.column == 0 && end.row > 0) out += "\r\n";
  const std::string_view before = std::string_view(buffer.text()).substr(0, buffer.cursor());
  const ScreenPosition cursor = screen_position(before, start, columns, indent);
  if (end.row > cursor.row) out += "\x1b[" + std::to_string(end.row - cursor.row) + "A";
  out += "\r";
  if (cursor.column > 0) out += "\x1b[" + std::to_string(cursor.column) + "C";
  cursor_row_ = cursor.row;
  write(out);
}

void LineEditor::write(std::string_view text) const {
  while (!text.empty()) {
    const ssize_t count = ::write(output_, text.data(), text.size());
    if (count < 0 && errno != EINTR) return;
    if (count > 0) text.remove_prefix(static_cast<std::size_t>(count));
  }
}

}  // namespace hearth::cli
