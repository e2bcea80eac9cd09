#include "plan/csv.h"

#include <gtest/gtest.h>

#include <string>

#include "support/error.h"

namespace hearth::plan {
namespace {

std::string problem(std::string_view text) {
  try {
    const CsvTable table(text, "t.csv");
  } catch (const Error& error) {
    EXPECT_FALSE(error.hint().empty());
    return error.what();
  }
  return {};
}

TEST(Csv, ReadsQuotesCommasAndLineEnds) {
  const CsvTable table("a,b,c\r\n1,\"x, \"\"y\"\"\nz\",\r\n\n,,\" 3\"", "t.csv");
  ASSERT_EQ(table.rows(), 2U);
  EXPECT_EQ(table.field(0, "a"), "1");
  EXPECT_EQ(table.field(0, "b"), "x, \"y\"\nz");
  EXPECT_EQ(table.field(0, "c"), "");
  EXPECT_EQ(table.field(1, "c"), " 3");
  EXPECT_EQ(table.field(1, "d"), "");
  EXPECT_TRUE(table.has("c"));
  EXPECT_FALSE(table.has("d"));
}

TEST(Csv, AByteOrderMarkIsNoPartOfTheFirstName) {
  EXPECT_TRUE(CsvTable("\xEF\xBB\xBFrow_id\n1\n", "t.csv").has("row_id"));
}

TEST(Csv, AHeaderAloneIsATable) { EXPECT_EQ(CsvTable("a,b", "t.csv").rows(), 0U); }

TEST(Csv, SaysWhereItIsMalformed) {
  EXPECT_EQ(problem(""), "t.csv is empty");
  EXPECT_EQ(problem("\n\n"), "t.csv is empty");
  EXPECT_EQ(problem("a,b,a\n"), "t.csv: line 1 names the column 'a' twice");
  EXPECT_EQ(problem("a,b\n1,2\n\n1\n"),
            "t.csv: line 4 has 1 fields where the header has 2 columns");
  EXPECT_EQ(problem("a\n1,2\n"), "t.csv: line 2 has 2 fields where the header has 1 columns");
  EXPECT_EQ(problem("a\n\"1\n2\n"), "t.csv: line 2 opens a quote that is never closed");
  EXPECT_EQ(problem("a\n\"1\n\"2\n"), "t.csv: line 2 has text after a closing quote");
  EXPECT_EQ(problem("a\n1\"2\"\n"),
            "t.csv: line 2 has a quote inside a field that does not begin with one");
  EXPECT_NE(problem(std::string(10000, ',')), "");
}

TEST(Csv, QuotesWhatNeedsIt) {
  for (const std::string text : {"", "plain", "a,b", "\"", "two\nlines", "\r"}) {
    const CsvTable table("a,b\n1," + csv_field(text) + "\n", "t.csv");
    EXPECT_EQ(table.field(0, "b"), text);
  }
  EXPECT_EQ(csv_field("plain"), "plain");
}

}  // namespace
}  // namespace hearth::plan
