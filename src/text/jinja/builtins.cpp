// Binding arguments, joining the tables, and the global functions.
#include "text/jinja/builtins.h"

#include <algorithm>

#include "text/jinja/format.h"
#include "text/jinja/interpreter.h"
#include "text/jinja/operations.h"

namespace hearth::text::jinja {
namespace {

const Value kAbsent{};

constexpr std::int64_t kMaxRange = 100'000;  // as Jinja's sandbox

Value global_range(Interpreter& context, Arguments& arguments) {
  const Bound bound(context, "range", arguments, {"start", "stop", "step"}, 1);
  std::int64_t start = bound.integer(0, 0);
  std::int64_t stop = bound.integer(1, 0);
  const std::int64_t step = bound.integer(2, 1);
  if (!bound.has(1)) {
    stop = start;
    start = 0;
  }
  if (step == 0) context.fail("range() arg 3 must not be zero");
  auto range = std::make_shared<Range>(&context.heap(), start, stop, step);
  if (range->length > kMaxRange) {
    context.fail("range too big, the sandbox blocks ranges larger than " +
                 std::to_string(kMaxRange));
  }
  return Value::object(Kind::kRange, std::move(range));
}

/// dict(mapping or pairs, **keywords), shared by dict() and namespace().
std::shared_ptr<Dict> make_dict(Interpreter& context, Arguments& arguments) {
  const auto dict = std::make_shared<Dict>(context.heap());
  if (arguments.positional.size() > 1) context.fail("dict expected at most 1 argument");
  for (const Value& source : arguments.positional) {
    context.require_defined(source);
    if (source.is(Kind::kDict)) {
      for (const Dict::Entry& entry : source.as<Dict>().entries())
        dict->set(entry.key, entry.value);
      continue;
    }
    Iterator iterator = context.iterate(source);
    Value item;
    while (iterator.next(context, item)) {
      const std::vector<Value> pair = context.to_vector(item);
      if (pair.size() != 2)
        context.fail("dictionary update sequence element has a length other than 2");
      dict->set(pair[0], pair[1]);
    }
  }
  for (auto& [name, value] : arguments.keyword)
    dict->set(context.string(name, Origin::kTemplate), std::move(value));
  return dict;
}

Value global_dict(Interpreter& context, Arguments& arguments) {
  return Value::object(Kind::kDict, make_dict(context, arguments));
}

Value global_namespace(Interpreter& context, Arguments& arguments) {
  return Value::object(Kind::kNamespace,
                       std::make_shared<Namespace>(context.heap(), make_dict(context, arguments)));
}

Value global_cycler(Interpreter& context, Arguments& arguments) {
  if (arguments.positional.empty()) context.fail("cycler: at least one item has to be provided");
  return Value::object(Kind::kCycler,
                       std::make_shared<Cycler>(context.heap(), std::move(arguments.positional)));
}

Value global_joiner(Interpreter& context, Arguments& arguments) {
  const Bound bound(context, "joiner", arguments, {"sep"});
  const Value separator = bound.has(0) ? bound[0] : context.string(", ", Origin::kTemplate);
  const auto used = std::make_shared<bool>(false);
  auto body = [separator, used](Interpreter& caller, Arguments&) {
    if (std::exchange(*used, true)) return separator;
    return caller.string({}, Origin::kTemplate);
  };
  return Value::object(Kind::kFunction,
                       std::make_shared<Function>(context.heap(), "joiner", std::move(body)));
}

Value global_lipsum(Interpreter& context, Arguments& arguments) {
  // Placeholder text; Jinja's is random, this one always the same.
  const Bound bound(context, "lipsum", arguments, {"n", "html", "min", "max"});
  const std::int64_t count = std::clamp<std::int64_t>(bound.integer(0, 5), 0, 1000);
  const bool html = bound.flag(1, true);
  constexpr std::string_view kText =
      "Lorem ipsum dolor sit amet, consectetur adipiscing elit, sed do eiusmod tempor incididunt "
      "ut labore et dolore "
      "magna aliqua.";
  std::string text;
  for (std::int64_t i = 0; i < count; ++i) {
    if (i > 0) text += html ? "\n" : "\n\n";
    text += html ? "<p>" + std::string(kText) + "</p>" : std::string(kText);
  }
  StringBuilder builder = context.builder();
  builder.append(text, Origin::kTemplate);
  return Value::string(builder.finish(html));
}

Value global_raise_exception(Interpreter& context, Arguments& arguments) {
  const Bound bound(context, "raise_exception", arguments, {"message"}, 1);
  context.raise(to_str(context, bound[0])->bytes);
}

Value global_strftime_now(Interpreter& context, Arguments& arguments) {
  const Bound bound(context, "strftime_now", arguments, {"format"}, 1);
  const StringPtr format = bound.string(0);
  if (format == nullptr) context.fail("strftime_now needs a format");
  try {
    return context.string(context.now().format(format->bytes), Origin::kTemplate);
  } catch (const Error& error) {
    context.fail(error.what());
  }
}

constexpr NamedFunction<GlobalFunction> kGlobals[] = {
    {"range", global_range},
    {"dict", global_dict},
    {"namespace", global_namespace},
    {"cycler", global_cycler},
    {"joiner", global_joiner},
    {"lipsum", global_lipsum},
    {"raise_exception", global_raise_exception},
    {"strftime_now", global_strftime_now},
};

}  // namespace

GlobalFunction find_global(std::string_view name) noexcept { return find_named(kGlobals, name); }

FilterFunction find_filter(std::string_view name) noexcept {
  for (const auto find :
       {find_text_filter, find_sequence_filter, find_number_filter, find_markup_filter}) {
    if (const FilterFunction function = find(name)) return function;
  }
  return nullptr;
}

Bound::Bound(Interpreter& context, std::string_view function, const Arguments& arguments,
             std::initializer_list<std::string_view> names, std::size_t required)
    : context_(context), function_(function) {
  const std::string called(function);
  if (arguments.positional.size() > names.size()) {
    context.fail(called + "() takes at most " + std::to_string(names.size()) +
                 " argument(s), got " + std::to_string(arguments.positional.size()));
  }
  for (std::size_t i = 0; i < arguments.positional.size(); ++i)
    values_[i] = &arguments.positional[i];
  for (const auto& [name, value] : arguments.keyword) {
    const auto found = std::find(names.begin(), names.end(), name);
    if (found == names.end())
      context.fail(called + "() got an unexpected keyword argument '" + name + "'");
    const auto index = static_cast<std::size_t>(found - names.begin());
    if (values_[index] != nullptr)
      context.fail(called + "() got multiple values for argument '" + name + "'");
    values_[index] = &value;
  }
  for (std::size_t i = 0; i < required; ++i) {
    if (values_[i] == nullptr) {
      context.fail(called + "() is missing its argument '" + std::string(names.begin()[i]) + "'");
    }
  }
}

const Value& Bound::operator[](std::size_t index) const {
  return values_[index] == nullptr ? kAbsent : *values_[index];
}

bool Bound::flag(std::size_t index, bool fallback) const {
  return has(index) ? context_.truthy(*values_[index]) : fallback;
}

std::int64_t Bound::integer(std::size_t index, std::int64_t fallback) const {
  return has(index) ? to_index(context_, *values_[index],
                               "an argument of " + std::string(function_) + "()")
                    : fallback;
}

StringPtr Bound::string(std::size_t index) const {
  const Value& value = (*this)[index];
  if (!has(index) || value.is_none()) return nullptr;
  context_.require_defined(value);
  if (!value.is_string()) {
    context_.fail(std::string(function_) + "() needs a string, not '" +
                  std::string(type_name(value)) + "'");
  }
  return value.string_ptr();
}

}  // namespace hearth::text::jinja
