// Grammars in GBNF and in Lark's EBNF.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "generate/grammar/grammar.h"
#include "support/error.h"

namespace hearth::generate::grammar {
namespace {

void check(const Grammar& grammar, const std::vector<std::string>& right,
           const std::vector<std::string>& wrong) {
  for (const std::string& text : right) EXPECT_TRUE(matches(grammar, text)) << text;
  for (const std::string& text : wrong) EXPECT_FALSE(matches(grammar, text)) << text;
}

TEST(Gbnf, Arithmetic) {
  const auto grammar = compile_gbnf(R"~(
# sums of products
root  ::= (expr "=" ws term "\n")+
expr  ::= term ([-+*/] term)*
term  ::= ident | num | "(" ws expr ")" ws
ident ::= [a-z] [a-z0-9_]* ws
num   ::= [0-9]+ ws
ws    ::= [ \t\n]*
)~");
  check(*grammar, {"a=1\n", "a +(b*2) = 7\nx=y\n"}, {"a=1", "=1\n", "a==1\n", "(a=1\n"});
}

TEST(Gbnf, Notation) {
  check(*compile_gbnf("root ::= \"a\" | \"b\"\n  | \"c\" \"d\"?"), {"a", "b", "c", "cd"},
        {"", "d"});
  check(*compile_gbnf("root ::= [^\"\\\\\\n]{2,3}"), {"ab", "é😀x"}, {"a", "abcd", "a\"", "a\n"});
  check(*compile_gbnf("root ::= x{2} y{,2} z{1,}\nx ::= \"x\"\ny ::= \"y\"\nz ::= \"z\""),
        {"xxz", "xxyyzz"}, {"xz", "xxyyyz", "xx"});
  check(*compile_gbnf("root ::= \"\\x41\\u00e9\\U0001F600\\t\\\"\""), {"Aé😀\t\""}, {"A"});
  check(*compile_gbnf("root ::= . .\n"), {"aé", "\n😀"}, {"a", "abc"});
  check(*compile_gbnf("root ::= (\n  \"a\"\n  \"b\"\n)*\n"), {"", "abab"}, {"a"});
  check(*compile_gbnf("root ::= \"\""), {""}, {"a"});
}

TEST(Gbnf, RecursionOfAllKinds) {
  check(*compile_gbnf("root ::= \"(\" root \")\" | \"\""), {"", "(())"}, {"(", "())"});
  check(*compile_gbnf("root ::= root \"+\" num | num\nnum ::= [0-9]"), {"1", "1+2+3"},
        {"+1", "1+"});
  check(*compile_gbnf("root ::= root root | \"a\""), {"a", "aaaa"}, {"", "b"});
  // Ambiguous as can be; still bounded.
  check(*compile_gbnf("root ::= (\"a\"? \"a\"?)*"), {"", "aaaaa"}, {"b"});
  check(*compile_gbnf("root ::= ((\"a\" | \"\"){0,50} \"b\"?){2,70}"), {"", "aab", "bab"}, {"c"});
  EXPECT_THROW((void)compile_gbnf("root ::= x\nx ::= y \"a\"\ny ::= x \"b\" | \"c\""), Error);
  EXPECT_THROW((void)compile_gbnf("root ::= root"), Error);
  EXPECT_THROW((void)compile_gbnf("root ::= \"a\" root"), Error);
}

TEST(Gbnf, RepetitionIsCountedNotCopied) {
  const auto grammar = compile_gbnf("root ::= (\"ab\" | [0-9]){3,90000}");
  EXPECT_LT(size(*grammar).nodes, 40U);
  check(*grammar, {"ab1ab", "111"}, {"ab1", "11"});
  const auto exact = compile_gbnf("root ::= ([a-z]{2} \",\"){400}");
  std::string text;
  for (int i = 0; i < 400; ++i) text += "xy,";
  check(*exact, {text}, {text + "xy,", text.substr(3)});
}

TEST(Gbnf, MistakesAreNamedWithTheirLine) {
  for (const char* source :
       {"", "root", "root ::=", "x ::= \"a\"", "root ::= missing", "root ::= \"a", "root ::= [a",
        "root ::= (\"a\"", "root ::= \"a\")", "root ::= [b-a]", "root ::= \"a\"{2,1}",
        "root ::= \"\\q\"", "root ::= \"a\"\nroot ::= \"b\"", "root ::= \"a\" other ::= \"b\"",
        "root ::= \"\\ud800\"", "root ::= \"\xff\"", "root ::= \"a\"{999999999}"}) {
    // An empty alternative is the empty text: not a mistake.
    if (std::string(source) == "root ::=") continue;
    EXPECT_THROW((void)compile_gbnf(source), Error) << source;
  }
  try {
    (void)compile_gbnf("root ::= a\na ::= \"x\"\nb ::= [");
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("line 3"), std::string::npos) << error.what();
  }
  std::string deep = "root ::= ";
  for (int i = 0; i < 5000; ++i) deep += '(';
  EXPECT_THROW((void)compile_gbnf(deep), Error);
}

TEST(Lark, Calculator) {
  const auto grammar = compile_lark(R"~(
    ?start: sum
          | NAME "=" sum    -> assign_var
    ?sum: product
        | sum "+" product   -> add
        | sum "-" product   -> sub
    ?product: atom
        | product "*" atom  -> mul
    ?atom: NUMBER           -> number
         | "-" atom         -> neg
         | NAME             -> var
         | "(" sum ")"

    %import common.CNAME -> NAME
    %import common.NUMBER
    %import common.WS_INLINE
    %ignore WS_INLINE
)~");
  check(*grammar, {"1+2", "x = 1 + 2*(3 - y)", "-1.5"}, {"1+", "(1", "=1", "1 2", ""});
}

TEST(Lark, Notation) {
  check(*compile_lark("start: \"a\"~2..3 [\"b\"] (\"c\" | \"d\")+ // comment\n"), {"aac", "aaabcd"},
        {"ac", "aab"});
  check(*compile_lark("start: \"select\"i WS ID\nID: /[a-z_]\\w*/i\nWS: \" \"+\n"),
        {"SELECT x", "Select  _Y1"}, {"selectx", "select 1"});
  check(*compile_lark("start: \"a\"..\"f\" DIGIT\nDIGIT: \"0\"..\"9\"\n"), {"a1", "f9"}, {"g1"});
  check(*compile_lark("start: /a.c/s /\\/x[/]/\n"), {"a\nc/x/"}, {"ac/x/"});
  check(*compile_lark("start: item (\",\" item)*\nitem.2: ESCAPED_STRING\n%import common "
                      "(ESCAPED_STRING, WS)\n%ignore WS"),
        {"\"a\"", "\"a\", \"b\\\"\""}, {"\"a", "a"});
  check(*compile_lark("!start: (\"x\"\n  | \"y\"\n  )~2\n"), {"xy"}, {"x"});
}

TEST(Lark, MistakesAndWhatIsNotSupported) {
  for (const char* source :
       {"", "start", "other: \"a\"", "start: missing", "start: \"a", "start: /a", "start: (\"a\"",
        "%declare X\nstart: X", "%import other.X\nstart: X", "%import common.NOPE\nstart: NOPE",
        "start: tmpl{\"a\"}", "start: /a/x", "start: /(?=a)b/", "start: \"b\"..\"a\"",
        "start: \"a\"~3..2", "start: a\na: b \"x\"\nb: a \"y\" | \"z\"",
        "start: \"a\"\nstart: \"b\""})
    EXPECT_THROW((void)compile_lark(source), Error) << source;
}

TEST(Notation, IsToldApart) {
  EXPECT_TRUE(matches(*compile_grammar("root ::= \"a\""), "a"));
  EXPECT_TRUE(matches(*compile_grammar("start: \"a\""), "a"));
  // By the first statement: the other notation's sign may be in a text or a remark.
  EXPECT_TRUE(matches(*compile_grammar("start: \"x ::= \" /[a-z]::=/"), "x ::= y::="));
  EXPECT_TRUE(matches(*compile_grammar("// name ::= text\n\nstart: \"a\""), "a"));
  EXPECT_TRUE(matches(*compile_grammar("%ignore \"::=\"\n?start: \"a\""), "a"));
  EXPECT_TRUE(
      matches(*compile_grammar("# start: x\n\n root-1 ::= \"a: \"\nroot ::= root-1"), "a: "));
}

}  // namespace
}  // namespace hearth::generate::grammar
