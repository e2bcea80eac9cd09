#include "cli/line_editor.h"

#include <gtest/gtest.h>

#include "cli/terminal.h"
#include "temporary_folder.h"

namespace hearth::cli {
namespace {

using Outcome = EditBuffer::Outcome;

/// What stands in the line after these keys, the cursor as |.
std::string edited(std::string_view keys, const History& history = {}) {
  EditBuffer buffer(history);
  EXPECT_EQ(buffer.push(keys), Outcome::kContinue);
  std::string text = buffer.text();
  return text.insert(buffer.cursor(), "|");
}

TEST(EditBuffer, Editing) {
  EXPECT_EQ(edited("abc"), "abc|");
  EXPECT_EQ(edited("abc\x1b[D\x1b[DX"), "aX|bc");
  EXPECT_EQ(edited("abc\x01X\x05Y"),
            "Xabc"
            "Y|");
  EXPECT_EQ(edited("abc\x1b[HX\x1b[FY"), "XabcY|");
  EXPECT_EQ(edited("abc\x7f"), "ab|");
  EXPECT_EQ(edited("abc\x01\x1b[3~"), "|bc");
  EXPECT_EQ(edited("abc\x01\x04"), "|bc");
  EXPECT_EQ(edited("one two\x17"), "one |");
  EXPECT_EQ(edited("one two\x15"), "|");
  EXPECT_EQ(edited("one two\x1b[D\x1b[D\x0b"), "one t|");
  EXPECT_EQ(edited("one two\x17\x01\x19"), "two|one ");
  EXPECT_EQ(edited("one two\x1b"
                   "b\x1b"
                   "bX"),
            "X|one two");
  EXPECT_EQ(edited("ab\x1b\rcd"), "ab\ncd|");
  EXPECT_EQ(edited("a\x1b[99~b\x1b[1;2Qc"), "abc|");  // unknown keys do nothing
  EXPECT_EQ(edited("\x1b[D\x7f\x1b[C\x0b"), "|");     // and nothing happens at the edges
}

TEST(EditBuffer, WholeCharacters) {
  EXPECT_EQ(edited("a\xc3\xa9\x7f"), "a|");  // é
  EXPECT_EQ(edited("ae\xcc\x81\x1b[Dx"),
            "ax|e\xcc\x81");  // e with a combining accent is one character
  EXPECT_EQ(edited("\xf0\x9f\x91\xa9\xe2\x80\x8d\xf0\x9f\x92\xbb\x7f"),
            "|");  // woman, joiner, laptop
  EXPECT_EQ(edited("a\xff"
                   "b"),
            "ab|");  // not UTF-8
}

TEST(EditBuffer, KeysMayArriveInPieces) {
  const History history;
  EditBuffer buffer(history);
  const std::string keys = "h\xc3\xa9\x1b[D\x1b[200~x\ry\x1b[201~z\r";
  Outcome last = Outcome::kContinue;
  for (const char byte : keys) last = buffer.push(std::string_view(&byte, 1));
  EXPECT_EQ(last, Outcome::kAccepted);
  EXPECT_EQ(buffer.text(), "hx\nyz\xc3\xa9");
}

TEST(EditBuffer, PastedTextIsTextOnly) {
  EXPECT_EQ(edited("\x1b[200~a\x03\x04\x1b[31mb\r\x1b[201~"), "a[31mb\n|");
}

TEST(EditBuffer, Outcomes) {
  const History history;
  EditBuffer accepted(history);
  EXPECT_EQ(accepted.push("abc\rnext"), Outcome::kAccepted);
  EXPECT_EQ(accepted.text(), "abc");
  EXPECT_EQ(accepted.take_rest(), "next");
  EXPECT_EQ(EditBuffer(history).push("abc\x03"), Outcome::kInterrupted);
  EXPECT_EQ(EditBuffer(history).push("\x04"), Outcome::kEnd);
  EXPECT_EQ(EditBuffer(history).push("\x0c"), Outcome::kRedrawScreen);
}

TEST(EditBuffer, ControlKeysEndUnfinishedSequences) {
  for (const char* keys : {"\x1b\x1b\x1b[\x04", "\x1b[1;\x04", "\x1bO\x04", "\x1b\x04"}) {
    const History history;
    EXPECT_EQ(EditBuffer(history).push(keys), Outcome::kEnd) << keys + 1;
  }
}

TEST(EditBuffer, HistoryKeepsTheNewLine) {
  History history;
  history.add("first");
  history.add("second");
  EXPECT_EQ(edited("new\x1b[A", history), "second|");
  EXPECT_EQ(edited("new\x1b[A\x1b[A\x1b[A", history), "first|");
  EXPECT_EQ(edited("new\x1b[A\x1b[A\x1b[B\x1b[B\x1b[B", history), "new|");
  EXPECT_EQ(edited("\x10!\x0e", history), "|");
}

TEST(ScreenPosition, WrapsAndKnowsWideCharacters) {
  const auto place = [](std::string_view text) {
    const ScreenPosition position = screen_position(text, {0, 2}, 10, 2);
    return std::pair(position.row, position.column);
  };
  EXPECT_EQ(place(""), std::pair(0, 2));
  EXPECT_EQ(place("abc"), std::pair(0, 5));
  EXPECT_EQ(place("abcdefgh"), std::pair(1, 0));
  EXPECT_EQ(place("abcdefghi"), std::pair(1, 1));
  EXPECT_EQ(place("\xe6\xbc\xa2"), std::pair(0, 4));         // 漢 takes two columns
  EXPECT_EQ(place("abcdefg\xe6\xbc\xa2"), std::pair(1, 2));  // and does not fit into one
  EXPECT_EQ(place("e\xcc\x81"), std::pair(0, 3));
  EXPECT_EQ(place("ab\nc"), std::pair(1, 3));
  EXPECT_EQ(place("abcdefgh\nc"), std::pair(1, 3));
}

TEST(History, IsKeptInAFile) {
  const testing::TemporaryFolder folder;
  const auto path = folder.path() / "state" / "history";
  {
    History history(path);
    history.add("one");
    history.add("two\nlines \\ and a backslash");
    history.add("two\nlines \\ and a backslash");
    history.add("");
  }
  const History again(path);
  EXPECT_EQ(again.entries(), (std::vector<std::string>{"one", "two\nlines \\ and a backslash"}));
  EXPECT_EQ(std::filesystem::status(path).permissions() & std::filesystem::perms::others_all,
            std::filesystem::perms::none);
}

TEST(History, IsBounded) {
  const testing::TemporaryFolder folder;
  const auto path = folder.path() / "history";
  {
    History history(path);
    for (int index = 0; index < 2500; ++index) history.add(std::to_string(index));
    EXPECT_EQ(history.entries().size(), History::kMaxEntries);
  }
  EXPECT_EQ(History(path).entries().front(), "1500");
  EXPECT_LT(std::filesystem::file_size(path), 6000U);  // rewritten with the entries that are kept
}

TEST(Terminal, ControlsAreTakenOut) {
  EXPECT_EQ(without_controls("a\x1b[31mb\tc\n\x07\xc2\x9b"
                             "d\x7f\xff"),
            "a[31mb\tc\nd\xef\xbf\xbd");
}

}  // namespace
}  // namespace hearth::cli
