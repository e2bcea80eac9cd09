// Methods of lists, dicts, numbers, bytes and the like, and str.is…().
#include <algorithm>
#include <cmath>

#include "support/utf8.h"
#include "text/jinja/builtins.h"
#include "text/jinja/format.h"
#include "text/jinja/interpreter.h"
#include "text/jinja/operations.h"
#include "text/jinja/unicode.h"

namespace hearth::text::jinja {
namespace {

// str.is…
// ------------------------------------------------------------------------------------------------------------

template <bool (*property)(char32_t) noexcept, bool empty>
Value method_all(Interpreter& context, const Value& self, Arguments& arguments) {
  const Bound bound(context, "is...", arguments, {});
  const std::string& text = self.str().bytes;
  context.work(text.size());
  if (text.empty()) return Value::boolean(empty);
  for (std::size_t i = 0; i < text.size();) {
    const Utf8Decoded next = decode_utf8(std::string_view(text).substr(i));
    if (!property(next.code_point)) return Value::boolean(false);
    i += next.length;
  }
  return Value::boolean(true);
}

bool is_ascii(char32_t c) noexcept { return c < 0x80; }

template <bool upper>
Value method_case(Interpreter& context, const Value& self, Arguments& arguments) {
  return Value::boolean(context.test(upper ? "upper" : "lower", self, arguments));
}

Value method_istitle(Interpreter& context, const Value& self, Arguments& arguments) {
  const Bound bound(context, "istitle", arguments, {});
  const std::string& text = self.str().bytes;
  bool cased = false;
  bool inside = false;
  for (std::size_t i = 0; i < text.size();) {
    const Utf8Decoded next = decode_utf8(std::string_view(text).substr(i));
    i += next.length;
    const bool capital = is_upper(next.code_point) || is_title(next.code_point);
    if ((capital && inside) || (is_lower(next.code_point) && !inside)) return Value::boolean(false);
    inside = capital || is_lower(next.code_point);
    cased |= inside;
  }
  return Value::boolean(cased);
}

Value method_isidentifier(Interpreter& context, const Value& self, Arguments& arguments) {
  const Bound bound(context, "isidentifier", arguments, {});
  const std::string& text = self.str().bytes;
  if (text.empty() || is_numeric(decode_utf8(text).code_point)) return Value::boolean(false);
  return method_all<is_word, false>(context, self, arguments);
}

constexpr NamedFunction<MethodFunction> kStringProperties[] = {
    {"isalnum", method_all<is_alphanumeric, false>},
    {"isalpha", method_all<is_alpha, false>},
    {"isascii", method_all<is_ascii, true>},
    {"isdecimal", method_all<is_decimal, false>},
    {"isdigit", method_all<is_digit, false>},
    {"isidentifier", method_isidentifier},
    {"islower", method_case<false>},
    {"isnumeric", method_all<is_numeric, false>},
    {"isprintable", method_all<is_printable, true>},
    {"isspace", method_all<is_space, false>},
    {"istitle", method_istitle},
    {"isupper", method_case<true>},
};

// dict
// ---------------------------------------------------------------------------------------------------------------

template <View::What what>
Value dict_view(Interpreter& context, const Value& self, Arguments& arguments) {
  const Bound bound(context, "items", arguments, {});
  return Value::object(Kind::kView, std::make_shared<View>(context.heap(), self, what),
                       self.origin());
}

Value dict_get(Interpreter& context, const Value& self, Arguments& arguments) {
  const Bound bound(context, "get", arguments, {"key", "default"}, 1);
  if (const Value* found = self.as<Dict>().find(bound[0])) return *found;
  return bound.has(1) ? bound[1] : Value::none();
}

Value dict_copy(Interpreter& context, const Value& self, Arguments& arguments) {
  const Bound bound(context, "copy", arguments, {});
  const auto copy = std::make_shared<Dict>(context.heap());
  for (const Dict::Entry& entry : self.as<Dict>().entries()) {
    context.work(64);
    copy->set(entry.key, entry.value);
  }
  return Value::object(Kind::kDict, copy, self.origin());
}

Value dict_pop(Interpreter& context, const Value& self, Arguments& arguments) {
  const Bound bound(context, "pop", arguments, {"key", "default"}, 1);
  Dict& dict = self.as<Dict>();
  const Value* found = dict.find(bound[0]);
  if (found == nullptr) {
    if (!bound.has(1)) context.fail("the dict has no key " + to_repr(context, bound[0])->bytes);
    return bound[1];
  }
  Value value = *found;
  context.work(64 * dict.entries().size());
  dict.erase(bound[0]);
  return value;
}

Value dict_popitem(Interpreter& context, const Value& self, Arguments& arguments) {
  const Bound bound(context, "popitem", arguments, {});
  Dict& dict = self.as<Dict>();
  if (dict.entries().empty()) context.fail("popitem(): dictionary is empty");
  const Dict::Entry last = dict.entries().back();
  context.work(64 * dict.entries().size());
  dict.erase(last.key);
  return context.tuple({last.key, last.value});
}

Value dict_setdefault(Interpreter& context, const Value& self, Arguments& arguments) {
  const Bound bound(context, "setdefault", arguments, {"key", "default"}, 1);
  Dict& dict = self.as<Dict>();
  if (const Value* found = dict.find(bound[0])) return *found;
  const Value value = bound.has(1) ? bound[1] : Value::none();
  dict.set(bound[0], value);
  return value;
}

Value dict_update(Interpreter& context, const Value& self, Arguments& arguments) {
  const Value source = find_global("dict")(context, arguments);
  for (const Dict::Entry& entry : source.as<Dict>().entries())
    self.as<Dict>().set(entry.key, entry.value);
  return Value::none();
}

Value dict_clear(Interpreter& context, const Value& self, Arguments& arguments) {
  const Bound bound(context, "clear", arguments, {});
  self.as<Dict>().clear();
  return Value::none();
}

Value dict_fromkeys(Interpreter& context, const Value&, Arguments& arguments) {
  const Bound bound(context, "fromkeys", arguments, {"iterable", "value"}, 1);
  const auto dict = std::make_shared<Dict>(context.heap());
  for (const Value& key : context.to_vector(bound[0]))
    dict->set(key, bound.has(1) ? bound[1] : Value::none());
  return Value::object(Kind::kDict, dict);
}

constexpr NamedFunction<MethodFunction> kDictMethods[] = {
    {"items", dict_view<View::What::kItems>},
    {"keys", dict_view<View::What::kKeys>},
    {"values", dict_view<View::What::kValues>},
    {"get", dict_get},
    {"copy", dict_copy},
    {"pop", dict_pop},
    {"popitem", dict_popitem},
    {"setdefault", dict_setdefault},
    {"update", dict_update},
    {"clear", dict_clear},
    {"fromkeys", dict_fromkeys},
};

// list and tuple
// -----------------------------------------------------------------------------------------------------

Value list_append(Interpreter& context, const Value& self, Arguments& arguments) {
  const Bound bound(context, "append", arguments, {"object"}, 1);
  self.as<List>().push(bound[0]);
  return Value::none();
}

Value list_extend(Interpreter& context, const Value& self, Arguments& arguments) {
  const Bound bound(context, "extend", arguments, {"iterable"}, 1);
  for (Value& item : context.to_vector(bound[0])) self.as<List>().push(std::move(item));
  return Value::none();
}

Value list_insert(Interpreter& context, const Value& self, Arguments& arguments) {
  const Bound bound(context, "insert", arguments, {"index", "object"}, 2);
  List& list = self.as<List>();
  const auto size = static_cast<std::int64_t>(list.items.size());
  std::int64_t index = bound.integer(0, 0);
  if (index < 0) index += size;
  index = std::clamp<std::int64_t>(index, 0, size);
  context.work(64 * list.items.size());
  list.push(bound[1]);
  std::rotate(list.items.begin() + index, list.items.end() - 1, list.items.end());
  return Value::none();
}

Value list_pop(Interpreter& context, const Value& self, Arguments& arguments) {
  const Bound bound(context, "pop", arguments, {"index"});
  List& list = self.as<List>();
  const auto size = static_cast<std::int64_t>(list.items.size());
  std::int64_t index = bound.integer(0, -1);
  if (size == 0) context.fail("pop from empty list");
  if (index < 0) index += size;
  if (index < 0 || index >= size) context.fail("pop index out of range");
  context.work(64 * static_cast<std::size_t>(size - index));
  Value value = std::move(list.items[static_cast<std::size_t>(index)]);
  list.items.erase(list.items.begin() + index);
  return value;
}

/// Index of an element equal to `wanted`, or the size.
std::size_t position_of(Interpreter& context, const std::vector<Value>& items,
                        const Value& wanted) {
  std::size_t i = 0;
  while (i < items.size() && !equal(context, items[i], wanted)) {
    context.work(64);
    ++i;
  }
  return i;
}

Value list_remove(Interpreter& context, const Value& self, Arguments& arguments) {
  const Bound bound(context, "remove", arguments, {"value"}, 1);
  List& list = self.as<List>();
  const std::size_t at = position_of(context, list.items, bound[0]);
  if (at == list.items.size()) context.fail("list.remove(x): x not in list");
  const Value removed = std::move(list.items[at]);
  list.items.erase(list.items.begin() + static_cast<std::ptrdiff_t>(at));
  return Value::none();
}

Value list_index(Interpreter& context, const Value& self, Arguments& arguments) {
  const Bound bound(context, "index", arguments, {"value"}, 1);
  const std::size_t at = position_of(context, self.as<List>().items, bound[0]);
  if (at == self.as<List>().items.size())
    context.fail(to_repr(context, bound[0])->bytes + " is not in the list");
  return Value::integer(static_cast<std::int64_t>(at));
}

Value list_count(Interpreter& context, const Value& self, Arguments& arguments) {
  const Bound bound(context, "count", arguments, {"value"}, 1);
  std::int64_t count = 0;
  for (const Value& item : self.as<List>().items) count += equal(context, item, bound[0]) ? 1 : 0;
  return Value::integer(count);
}

Value list_clear(Interpreter& context, const Value& self, Arguments& arguments) {
  const Bound bound(context, "clear", arguments, {});
  self.as<List>().clear();
  return Value::none();
}

Value list_copy(Interpreter& context, const Value& self, Arguments& arguments) {
  const Bound bound(context, "copy", arguments, {});
  Value copy = context.list(context.to_vector(self));
  copy.set_origin(self.origin());
  return copy;
}

Value list_reverse(Interpreter& context, const Value& self, Arguments& arguments) {
  const Bound bound(context, "reverse", arguments, {});
  auto& items = self.as<List>().items;
  context.work(64 * items.size());
  std::reverse(items.begin(), items.end());
  return Value::none();
}

Value list_sort(Interpreter& context, const Value& self, Arguments& arguments) {
  const Bound bound(context, "sort", arguments, {"key", "reverse"});
  if (bound.has(0) && !bound[0].is_none()) context.fail("sort() with a key is not supported");
  Arguments sorting;
  sorting.positional = {Value::boolean(bound.flag(1, false)), Value::boolean(true)};
  const Value sorted = context.filter("sort", self, sorting);
  self.as<List>().items = sorted.as<List>().items;
  self.as<List>().resized();
  return Value::none();
}

constexpr NamedFunction<MethodFunction> kListMethods[] = {
    {"append", list_append},   {"extend", list_extend}, {"insert", list_insert},
    {"pop", list_pop},         {"remove", list_remove}, {"index", list_index},
    {"count", list_count},     {"clear", list_clear},   {"copy", list_copy},
    {"reverse", list_reverse}, {"sort", list_sort},
};
constexpr NamedFunction<MethodFunction> kTupleMethods[] = {{"index", list_index},
                                                           {"count", list_count}};

// Others
// -------------------------------------------------------------------------------------------------------------

Value bytes_decode(Interpreter& context, const Value& self, Arguments& arguments) {
  const Bound bound(context, "decode", arguments, {"encoding", "errors"});
  const std::string& bytes = self.as<Bytes>().bytes;
  if (find_invalid_utf8(bytes) != std::string_view::npos)
    context.fail("the bytes are not valid UTF-8");
  return context.string(bytes, Origin::kData);
}

Value bytes_hex(Interpreter& context, const Value& self, Arguments& arguments) {
  const Bound bound(context, "hex", arguments, {});
  std::string text;
  for (const char c : self.as<Bytes>().bytes) {
    const auto byte = static_cast<unsigned char>(c);
    text += "0123456789abcdef"[byte >> 4];
    text += "0123456789abcdef"[byte & 15];
  }
  return context.string(std::move(text), Origin::kData);
}

constexpr NamedFunction<MethodFunction> kBytesMethods[] = {{"decode", bytes_decode},
                                                           {"hex", bytes_hex}};

Value int_bit_length(Interpreter& context, const Value& self, Arguments& arguments) {
  const Bound bound(context, "bit_length", arguments, {});
  return Value::integer(static_cast<std::int64_t>(to_big(self).bits()), self.origin());
}

Value number_conjugate(Interpreter& context, const Value& self, Arguments& arguments) {
  const Bound bound(context, "conjugate", arguments, {});
  return positive(context, self);
}

Value float_is_integer(Interpreter& context, const Value& self, Arguments& arguments) {
  const Bound bound(context, "is_integer", arguments, {});
  return Value::boolean(std::isfinite(self.as_float()) &&
                        self.as_float() == std::trunc(self.as_float()));
}

constexpr NamedFunction<MethodFunction> kIntMethods[] = {{"bit_length", int_bit_length},
                                                         {"conjugate", number_conjugate}};
constexpr NamedFunction<MethodFunction> kFloatMethods[] = {{"is_integer", float_is_integer},
                                                           {"conjugate", number_conjugate}};

Value cycler_next(Interpreter& context, const Value& self, Arguments& arguments) {
  const Bound bound(context, "next", arguments, {});
  Cycler& cycler = self.as<Cycler>();
  if (cycler.items.empty()) context.fail("the cycler is empty");
  Value item = cycler.items[cycler.position];
  cycler.position = (cycler.position + 1) % cycler.items.size();
  return item;
}

Value cycler_reset(Interpreter& context, const Value& self, Arguments& arguments) {
  const Bound bound(context, "reset", arguments, {});
  self.as<Cycler>().position = 0;
  return Value::none();
}

constexpr NamedFunction<MethodFunction> kCyclerMethods[] = {{"next", cycler_next},
                                                            {"reset", cycler_reset}};

Value loop_cycle(Interpreter& context, const Value& self, Arguments& arguments) {
  if (arguments.positional.empty()) context.fail("no items for cycling given");
  const auto count = static_cast<std::int64_t>(arguments.positional.size());
  return arguments.positional[static_cast<std::size_t>(
      std::max<std::int64_t>(0, self.as<Loop>().index0) % count)];
}

Value loop_changed(Interpreter& context, const Value& self, Arguments& arguments) {
  Loop& loop = self.as<Loop>();
  const Value now = context.tuple(arguments.positional);
  if (loop.last_changed.is(Kind::kTuple) && equal(context, loop.last_changed, now))
    return Value::boolean(false);
  loop.last_changed = now;
  return Value::boolean(true);
}

constexpr NamedFunction<MethodFunction> kLoopMethods[] = {{"cycle", loop_cycle},
                                                          {"changed", loop_changed}};

}  // namespace

MethodFunction find_string_property_method(std::string_view name) noexcept {
  return find_named(kStringProperties, name);
}

MethodFunction find_method(const Value& self, std::string_view name) noexcept {
  switch (self.kind()) {
    case Kind::kString:
      return find_string_method(name);
    case Kind::kDict:
      return find_named(kDictMethods, name);
    case Kind::kList:
      return find_named(kListMethods, name);
    case Kind::kTuple:
      return find_named(kTupleMethods, name);
    case Kind::kBytes:
      return find_named(kBytesMethods, name);
    case Kind::kBool:
    case Kind::kInt:
    case Kind::kBigInt:
      return find_named(kIntMethods, name);
    case Kind::kFloat:
      return find_named(kFloatMethods, name);
    case Kind::kCycler:
      return find_named(kCyclerMethods, name);
    case Kind::kLoop:
      return find_named(kLoopMethods, name);
    default:
      return nullptr;
  }
}

}  // namespace hearth::text::jinja
