// The tests after "is".
#include "support/utf8.h"
#include "text/jinja/builtins.h"
#include "text/jinja/format.h"
#include "text/jinja/interpreter.h"
#include "text/jinja/operations.h"
#include "text/jinja/unicode.h"

namespace hearth::text::jinja {
namespace {

void no_arguments(Interpreter& context, Arguments& arguments) {
  const Bound bound(context, "test", arguments, {});
}

template <Kind kind>
bool is_kind(Interpreter& context, const Value& input, Arguments& arguments) {
  no_arguments(context, arguments);
  return input.is(kind);
}

bool test_defined(Interpreter& context, const Value& input, Arguments& arguments) {
  no_arguments(context, arguments);
  return !input.is_undefined();
}

bool test_integer(Interpreter& context, const Value& input, Arguments& arguments) {
  no_arguments(context, arguments);
  return input.is(Kind::kInt) || input.is(Kind::kBigInt);
}

bool test_number(Interpreter& context, const Value& input, Arguments& arguments) {
  no_arguments(context, arguments);
  return input.is_number();
}

template <bool wanted>
bool test_is_bool(Interpreter& context, const Value& input, Arguments& arguments) {
  no_arguments(context, arguments);
  return input.is(Kind::kBool) && input.as_bool() == wanted;
}

bool test_sequence(Interpreter& context, const Value& input, Arguments& arguments) {
  no_arguments(context, arguments);
  return context.has_length(input) && !input.is(Kind::kView) && !input.is(Kind::kLoop);
}

bool test_iterable(Interpreter& context, const Value& input, Arguments& arguments) {
  no_arguments(context, arguments);
  return context.has_length(input) || input.is(Kind::kGenerator);
}

bool test_callable(Interpreter& context, const Value& input, Arguments& arguments) {
  no_arguments(context, arguments);
  return input.is(Kind::kFunction) || input.is(Kind::kMacro) || input.is(Kind::kLoop) ||
         input.is_undefined();
}

bool test_escaped(Interpreter& context, const Value& input, Arguments& arguments) {
  no_arguments(context, arguments);
  return input.is_string() && input.str().markup;
}

bool same_case(Interpreter& context, const Value& input, bool upper) {
  const StringPtr text = to_str(context, input);
  bool cased = false;
  for (std::size_t i = 0; i < text->bytes.size();) {
    const Utf8Decoded next = decode_utf8(std::string_view(text->bytes).substr(i));
    i += next.length;
    if (is_title(next.code_point) ||
        (upper ? is_lower(next.code_point) : is_upper(next.code_point)))
      return false;
    cased |= is_cased(next.code_point);
  }
  return cased;
}

template <bool upper>
bool test_case(Interpreter& context, const Value& input, Arguments& arguments) {
  no_arguments(context, arguments);
  return same_case(context, input, upper);
}

template <std::int64_t parity>
bool test_parity(Interpreter& context, const Value& input, Arguments& arguments) {
  no_arguments(context, arguments);
  return equal(context, arithmetic(context, Arithmetic::kModulo, input, Value::integer(2)),
               Value::integer(parity));
}

bool test_divisible_by(Interpreter& context, const Value& input, Arguments& arguments) {
  const Bound bound(context, "divisibleby", arguments, {"num"}, 1);
  return equal(context, arithmetic(context, Arithmetic::kModulo, input, bound[0]),
               Value::integer(0));
}

bool test_equal(Interpreter& context, const Value& input, Arguments& arguments) {
  const Bound bound(context, "eq", arguments, {"other"}, 1);
  return equal(context, input, bound[0]);
}

bool test_not_equal(Interpreter& context, const Value& input, Arguments& arguments) {
  const Bound bound(context, "ne", arguments, {"other"}, 1);
  return !equal(context, input, bound[0]);
}

template <int order, bool or_equal>
bool test_order(Interpreter& context, const Value& input, Arguments& arguments) {
  const Bound bound(context, "comparison", arguments, {"other"}, 1);
  const int found = compare(context, input, bound[0], order < 0 ? "<" : ">");
  return found == order || (or_equal && found == 0);
}

bool test_in(Interpreter& context, const Value& input, Arguments& arguments) {
  const Bound bound(context, "in", arguments, {"seq"}, 1);
  return contains(context, bound[0], input);
}

bool test_same_as(Interpreter& context, const Value& input, Arguments& arguments) {
  const Bound bound(context, "sameas", arguments, {"other"}, 1);
  const Value& other = bound[0];
  if (input.kind() != other.kind()) return false;
  // Python's identity is not defined for equal numbers and texts; small ones are shared, so
  // equality is the best answer.
  if (input.is_number() || input.is_string() || input.is_none())
    return equal(context, input, other);
  return input.identity() == other.identity();
}

bool test_filter(Interpreter& context, const Value& input, Arguments& arguments) {
  no_arguments(context, arguments);
  return input.is_string() && find_filter(input.str().bytes) != nullptr;
}

bool test_test(Interpreter& context, const Value& input, Arguments& arguments) {
  no_arguments(context, arguments);
  return input.is_string() && find_test(input.str().bytes) != nullptr;
}

constexpr NamedFunction<TestFunction> kTests[] = {
    {"defined", test_defined},
    {"undefined", is_kind<Kind::kUndefined>},
    {"none", is_kind<Kind::kNone>},
    {"boolean", is_kind<Kind::kBool>},
    {"float", is_kind<Kind::kFloat>},
    {"string", is_kind<Kind::kString>},
    {"mapping", is_kind<Kind::kDict>},
    {"integer", test_integer},
    {"number", test_number},
    {"true", test_is_bool<true>},
    {"false", test_is_bool<false>},
    {"sequence", test_sequence},
    {"iterable", test_iterable},
    {"callable", test_callable},
    {"escaped", test_escaped},
    {"upper", test_case<true>},
    {"lower", test_case<false>},
    {"even", test_parity<0>},
    {"odd", test_parity<1>},
    {"divisibleby", test_divisible_by},
    {"eq", test_equal},
    {"equalto", test_equal},
    {"==", test_equal},
    {"ne", test_not_equal},
    {"!=", test_not_equal},
    {"lt", test_order<-1, false>},
    {"lessthan", test_order<-1, false>},
    {"<", test_order<-1, false>},
    {"le", test_order<-1, true>},
    {"<=", test_order<-1, true>},
    {"gt", test_order<1, false>},
    {"greaterthan", test_order<1, false>},
    {">", test_order<1, false>},
    {"ge", test_order<1, true>},
    {">=", test_order<1, true>},
    {"in", test_in},
    {"sameas", test_same_as},
    {"filter", test_filter},
    {"test", test_test},
};

}  // namespace

TestFunction find_test(std::string_view name) noexcept { return find_named(kTests, name); }

}  // namespace hearth::text::jinja
