// The parsed form of a template. Nodes live in the Program's deques and refer to each other by
// plain pointers, so that destroying a tree never recurses.
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "text/jinja/value.h"

namespace hearth::text::jinja {

/// A variable name, interned per template.
using Symbol = std::uint32_t;

enum class ExprKind : std::uint8_t {
  kConstant,
  kName,
  kTuple,
  kList,
  kDict,
  kAttribute,
  kItem,
  kSlice,
  kCall,
  kFilter,
  kTest,
  kConcat,
  kAdd,
  kSubtract,
  kMultiply,
  kDivide,
  kFloorDivide,
  kModulo,
  kPower,
  kNegate,
  kPlus,
  kNot,
  kAnd,
  kOr,
  kCompare,
  kConditional,
};

enum class CompareOp : std::uint8_t {
  kEqual,
  kNotEqual,
  kLess,
  kLessEqual,
  kGreater,
  kGreaterEqual,
  kIn,
  kNotIn
};

struct Expr {
  ExprKind kind = ExprKind::kConstant;
  std::uint32_t line = 0;
  Symbol symbol = 0;      // kName
  bool negated = false;   // kTest: "is not"
  std::string name;       // attribute, filter or test
  Value constant;         // kConstant
  Expr* left = nullptr;   // operand; object of an access or call; condition of kConditional
  Expr* right = nullptr;  // second operand; index; value if true
  Expr* third = nullptr;  // value if false
  std::vector<Expr*>
      items;  // elements; arguments; dict keys and values alternating; slice bounds (may be null)
  std::vector<std::pair<std::string, Expr*>> keywords;
  Expr* star = nullptr;         // f(*star)
  Expr* double_star = nullptr;  // f(**double_star)
  std::vector<CompareOp> operators;
};

enum class StmtKind : std::uint8_t {
  kText,
  kOutput,
  kIf,
  kFor,
  kSet,
  kSetBlock,
  kWith,
  kMacro,
  kCallBlock,
  kFilterBlock,
  kBreak,
  kContinue,
  kScope,
  kAutoescape,
  kBlock,
  kRefused,
};

struct Stmt;
using Body = std::vector<Stmt*>;

/// Parameters and body of a macro or call block.
struct MacroInfo {
  std::string name;
  std::vector<Symbol> parameters;
  std::vector<std::string> parameter_names;
  std::vector<Expr*> defaults;  // of the last parameters
  Body body;
  bool uses_caller = false, uses_varargs = false, uses_kwargs = false;
  bool explicit_caller = false;  // a parameter is called "caller"
};

struct Stmt {
  StmtKind kind = StmtKind::kText;
  std::uint32_t line = 0;
  bool recursive = false;      // kFor
  Value text;                  // kText
  std::string name;            // kBlock; kRefused: the statement
  std::vector<Expr*> exprs;    // kOutput; kWith: values; kIf: conditions
  std::vector<Expr*> targets;  // kWith
  Expr* target = nullptr;      // kFor, kSet, kSetBlock; kMacro: the name
  Expr* expr = nullptr;  // kFor: sequence; kSet: value; kSetBlock and kFilterBlock: filter chain
                         // over null; kCallBlock: call
  Expr* condition = nullptr;  // kFor
  Body body;
  std::vector<Body> branches;  // kIf
  Body otherwise;              // kIf, kFor
  MacroInfo* macro = nullptr;  // kMacro, kCallBlock
};

/// A parsed template. Immutable after parsing; may be evaluated by several threads at once.
struct Program {
  std::string name;
  std::deque<Expr> exprs;
  std::deque<Stmt> stmts;
  std::deque<MacroInfo> macros;
  Body body;
  std::vector<std::string> symbols;
  std::unordered_map<std::string, Symbol> symbol_ids;
  std::unordered_map<std::string, const Stmt*> blocks;

  Symbol intern(const std::string& symbol_name) {
    const auto [entry, inserted] =
        symbol_ids.emplace(symbol_name, static_cast<Symbol>(symbols.size()));
    if (inserted) symbols.push_back(symbol_name);
    return entry->second;
  }
};

}  // namespace hearth::text::jinja
