// Filters on lists, dicts and other sequences.
#include <algorithm>
#include <unordered_set>

#include "support/utf8.h"
#include "text/jinja/builtins.h"
#include "text/jinja/format.h"
#include "text/jinja/interpreter.h"
#include "text/jinja/operations.h"
#include "text/jinja/strings.h"

namespace hearth::text::jinja {
namespace {

/// Gets "a.b.0" of an item.
class AttributeGetter {
 public:
  AttributeGetter(Interpreter& context, const Value& attribute, Value fallback = Value())
      : fallback_(std::move(fallback)) {
    if (attribute.is(Kind::kInt)) {
      path_.push_back(attribute);
    } else if (attribute.is_string()) {
      std::string_view rest = attribute.str().bytes;
      while (true) {
        const std::size_t dot = rest.find('.');
        path_.push_back(step(context, rest.substr(0, dot)));
        if (dot == std::string_view::npos) break;
        rest.remove_prefix(dot + 1);
      }
    } else if (attribute.is_undefined() || attribute.is_none()) {
      return;
    } else {
      context.fail("an attribute must be a string or an integer");
    }
  }

  Value operator()(Interpreter& context, Value item) const {
    for (const Value& step : path_) {
      item = context.get_item(item, step);
      if (item.is_undefined() && !fallback_.is_undefined()) item = fallback_;
    }
    return item;
  }

 private:
  static Value step(Interpreter& context, std::string_view text) {
    const bool index = !text.empty() && text.size() < 10 &&
                       text.find_first_not_of("0123456789") == std::string_view::npos;
    return index ? Value::integer(std::stoll(std::string(text)))
                 : context.string(std::string(text), Origin::kTemplate);
  }

  std::vector<Value> path_;
  Value fallback_;
};

Value ignore_case(Interpreter& context, const Value& value) {
  return value.is_string() ? lower(context, value.str()) : value;
}

/// Sorts by precomputed keys, stably. Comparisons may fail (throw), so this is a merge sort of our
/// own: std::stable_sort promises nothing about an order that is inconsistent (NaN, mixed data).
void merge_sort(Interpreter& context, std::vector<std::pair<Value, Value>>& items, bool reverse) {
  const auto before = [&](const Value& a, const Value& b) {
    context.work(64);
    return reverse ? compare(context, b, a) < 0 : compare(context, a, b) < 0;
  };
  std::vector<std::pair<Value, Value>> merged(items.size());
  for (std::size_t width = 1; width < items.size(); width *= 2) {
    for (std::size_t begin = 0; begin < items.size(); begin += 2 * width) {
      const std::size_t middle = std::min(begin + width, items.size());
      const std::size_t end = std::min(begin + 2 * width, items.size());
      std::size_t left = begin;
      std::size_t right = middle;
      for (std::size_t i = begin; i < end; ++i) {
        const bool take_right =
            left == middle || (right < end && before(items[right].first, items[left].first));
        merged[i] = std::move(items[take_right ? right++ : left++]);
      }
    }
    items.swap(merged);
  }
}

std::vector<std::pair<Value, Value>> with_keys(std::vector<Value> items,
                                               const std::function<Value(const Value&)>& key) {
  std::vector<std::pair<Value, Value>> pairs;
  pairs.reserve(items.size());
  for (Value& item : items) {
    Value sort_key = key(item);
    pairs.emplace_back(std::move(sort_key), std::move(item));
  }
  return pairs;
}

Value list_of_seconds(Interpreter& context, std::vector<std::pair<Value, Value>>& pairs) {
  std::vector<Value> items;
  items.reserve(pairs.size());
  for (auto& pair : pairs) items.push_back(std::move(pair.second));
  return context.list(std::move(items));
}

Value filter_length(Interpreter& context, const Value& input, Arguments& arguments) {
  const Bound bound(context, "length", arguments, {});
  return Value::integer(context.length(input));
}

Value filter_list(Interpreter& context, const Value& input, Arguments& arguments) {
  const Bound bound(context, "list", arguments, {});
  return context.list(context.to_vector(input));
}

Value filter_first(Interpreter& context, const Value& input, Arguments& arguments) {
  const Bound bound(context, "first", arguments, {});
  Iterator iterator = context.iterate(input);
  Value item;
  return iterator.next(context, item) ? item
                                      : context.undefined("no first item, sequence was empty");
}

Value filter_last(Interpreter& context, const Value& input, Arguments& arguments) {
  const Bound bound(context, "last", arguments, {});
  Iterator iterator = context.iterate_backwards(input);
  Value item;
  return iterator.next(context, item) ? item
                                      : context.undefined("no last item, sequence was empty");
}

Value filter_reverse(Interpreter& context, const Value& input, Arguments& arguments) {
  const Bound bound(context, "reverse", arguments, {});
  if (input.is_string()) {
    return context.slice(input, Value::none(), Value::none(), Value::integer(-1));
  }
  if (!context.has_length(input)) {
    std::vector<Value> items = context.to_vector(input);
    std::reverse(items.begin(), items.end());
    return context.list(std::move(items));
  }
  auto iterator = std::make_shared<Iterator>(context.iterate_backwards(input));
  return context.generator(
      [&context, iterator](Value& out) { return iterator->next(context, out); });
}

Value filter_join(Interpreter& context, const Value& input, Arguments& arguments) {
  const Bound bound(context, "join", arguments, {"d", "attribute"});
  std::vector<Value> items = context.to_vector(input);
  if (bound.has(1) && !bound[1].is_none()) {
    const AttributeGetter get(context, bound[1]);
    for (Value& item : items) item = get(context, item);
  }
  StringBuilder builder = context.builder();
  if (bound.has(0)) builder.append(*to_str(context, bound[0]));
  bool markup = false;
  if (context.autoescape()) {
    const auto is_markup = [](const Value& value) {
      return value.is_string() && value.str().markup;
    };
    markup =
        (bound.has(0) && is_markup(bound[0])) || std::any_of(items.begin(), items.end(), is_markup);
  }
  const StringPtr separator = builder.finish(markup);
  return join(context, *separator, items);
}

Value filter_map(Interpreter& context, const Value& input, Arguments& arguments) {
  auto iterator = std::make_shared<Iterator>();
  const bool empty = !input.is(Kind::kGenerator) && !context.truthy(input);
  const bool by_attribute =
      arguments.positional.empty() &&
      std::any_of(arguments.keyword.begin(), arguments.keyword.end(),
                  [](const auto& entry) { return entry.first == "attribute"; });
  if (empty) return context.generator([](Value&) { return false; });
  if (by_attribute) {
    const Bound bound(context, "map", arguments, {"attribute", "default"});
    auto get = std::make_shared<AttributeGetter>(context, bound[0], bound[1]);
    *iterator = context.iterate(input);
    return context.generator([&context, iterator, get](Value& out) {
      Value item;
      if (!iterator->next(context, item)) return false;
      out = (*get)(context, item);
      return true;
    });
  }
  if (arguments.positional.empty() || !arguments.positional[0].is_string()) {
    context.fail("map requires a filter argument");
  }
  const std::string name = arguments.positional[0].str().bytes;
  if (find_filter(name) == nullptr) context.fail("no filter named '" + name + "'");
  auto rest = std::make_shared<Arguments>(arguments);
  rest->positional.erase(rest->positional.begin());
  *iterator = context.iterate(input);
  return context.generator([&context, iterator, rest, name](Value& out) {
    Value item;
    if (!iterator->next(context, item)) return false;
    Arguments copy = *rest;
    out = context.filter(name, item, copy);
    return true;
  });
}

/// select, reject, selectattr and rejectattr.
template <bool keep, bool by_attribute>
Value filter_select(Interpreter& context, const Value& input, Arguments& arguments) {
  std::size_t used = 0;
  std::shared_ptr<AttributeGetter> get;
  if (by_attribute) {
    if (arguments.positional.empty()) context.fail("missing parameter for attribute name");
    get = std::make_shared<AttributeGetter>(context, arguments.positional[0]);
    used = 1;
  }
  std::string name;
  if (arguments.positional.size() > used) {
    if (!arguments.positional[used].is_string())
      context.fail("the name of a test must be a string");
    name = arguments.positional[used].str().bytes;
    if (find_test(name) == nullptr) context.fail("no test named '" + name + "'");
    ++used;
  }
  auto rest = std::make_shared<Arguments>(arguments);
  rest->positional.erase(rest->positional.begin(),
                         rest->positional.begin() + static_cast<std::ptrdiff_t>(used));
  if (!input.is(Kind::kGenerator) && !context.truthy(input))
    return context.generator([](Value&) { return false; });
  auto iterator = std::make_shared<Iterator>(context.iterate(input));
  return context.generator([&context, iterator, rest, name, get](Value& out) {
    Value item;
    while (iterator->next(context, item)) {
      const Value subject = get == nullptr ? item : (*get)(context, item);
      Arguments copy = *rest;
      const bool holds = name.empty() ? context.truthy(subject) : context.test(name, subject, copy);
      if (holds == keep) {
        out = item;
        return true;
      }
    }
    return false;
  });
}

Value filter_items(Interpreter& context, const Value& input, Arguments& arguments) {
  const Bound bound(context, "items", arguments, {});
  if (!input.is_undefined() && !input.is(Kind::kDict)) {
    return context.generator(
        [&context](Value&) -> bool { context.fail("can only get item pairs from a mapping"); });
  }
  if (input.is_undefined()) return context.generator([](Value&) { return false; });
  const Value view =
      Value::object(Kind::kView, std::make_shared<View>(context.heap(), input, View::What::kItems),
                    input.origin());
  auto iterator = std::make_shared<Iterator>(context.iterate(view));
  return context.generator(
      [&context, iterator](Value& out) { return iterator->next(context, out); });
}

Value filter_sort(Interpreter& context, const Value& input, Arguments& arguments) {
  const Bound bound(context, "sort", arguments, {"reverse", "case_sensitive", "attribute"});
  const bool case_sensitive = bound.flag(1, false);
  // Several attributes may be given, separated by commas: their values are compared in turn.
  std::vector<AttributeGetter> getters;
  const bool several = bound[2].is_string() && bound[2].str().bytes.find(',') != std::string::npos;
  if (several) {
    const std::string& names = bound[2].str().bytes;
    for (std::size_t begin = 0; begin <= names.size();) {
      const std::size_t end = std::min(names.find(',', begin), names.size());
      getters.emplace_back(context,
                           context.string(names.substr(begin, end - begin), Origin::kTemplate));
      begin = end + 1;
    }
  } else {
    getters.emplace_back(context, bound[2]);
  }
  auto pairs = with_keys(context.to_vector(input), [&](const Value& item) {
    std::vector<Value> keys;
    for (const AttributeGetter& get : getters) {
      const Value key = get(context, item);
      keys.push_back(case_sensitive ? key : ignore_case(context, key));
    }
    return several ? context.tuple(std::move(keys)) : keys.front();
  });
  merge_sort(context, pairs, bound.flag(0, false));
  return list_of_seconds(context, pairs);
}

Value filter_dictsort(Interpreter& context, const Value& input, Arguments& arguments) {
  const Bound bound(context, "dictsort", arguments, {"case_sensitive", "by", "reverse"});
  const StringPtr by = bound.string(1);
  const bool by_value = by != nullptr && by->bytes == "value";
  if (by != nullptr && !by_value && by->bytes != "key")
    context.fail("you can only sort by either 'key' or 'value'");
  context.require_defined(input);
  if (!input.is(Kind::kDict))
    context.fail("dictsort needs a mapping, not '" + std::string(type_name(input)) + "'");
  std::vector<Value> items;
  for (const Dict::Entry& entry : input.as<Dict>().entries())
    items.push_back(context.tuple({entry.key, entry.value}));
  auto pairs = with_keys(std::move(items), [&](const Value& item) {
    const Value& key = item.as<List>().items[by_value ? 1 : 0];
    return bound.flag(0, false) ? key : ignore_case(context, key);
  });
  merge_sort(context, pairs, bound.flag(2, false));
  return list_of_seconds(context, pairs);
}

Value filter_unique(Interpreter& context, const Value& input, Arguments& arguments) {
  const Bound bound(context, "unique", arguments, {"case_sensitive", "attribute"});
  const bool case_sensitive = bound.flag(0, false);
  auto get = std::make_shared<AttributeGetter>(context, bound[1]);
  auto iterator = std::make_shared<Iterator>(context.iterate(input));
  auto seen = std::make_shared<Dict>(context.heap());
  return context.generator([&context, case_sensitive, get, iterator, seen](Value& out) {
    Value item;
    while (iterator->next(context, item)) {
      const Value key = (*get)(context, item);
      const Value compared = case_sensitive ? key : ignore_case(context, key);
      if (seen->find(compared) != nullptr) continue;
      seen->set(compared, Value::none());
      out = item;
      return true;
    }
    return false;
  });
}

template <bool largest>
Value filter_extreme(Interpreter& context, const Value& input, Arguments& arguments) {
  const Bound bound(context, "min", arguments, {"case_sensitive", "attribute"});
  const AttributeGetter get(context, bound[1]);
  Iterator iterator = context.iterate(input);
  Value best = context.undefined("no aggregated item, sequence was empty");
  Value best_key;
  Value item;
  bool first = true;
  while (iterator.next(context, item)) {
    Value key = get(context, item);
    if (!bound.flag(0, false)) key = ignore_case(context, key);
    const bool better = first || (largest ? compare(context, key, best_key, ">") == 1
                                          : compare(context, key, best_key) == -1);
    first = false;
    if (!better) continue;
    best = item;
    best_key = key;
  }
  return best;
}

Value filter_sum(Interpreter& context, const Value& input, Arguments& arguments) {
  const Bound bound(context, "sum", arguments, {"attribute", "start"});
  const AttributeGetter get(context, bound[0]);
  Value total = bound.has(1) ? bound[1] : Value::integer(0);
  if (total.is_string()) context.fail("sum() can't sum strings, use join instead");
  Iterator iterator = context.iterate(input);
  Value item;
  while (iterator.next(context, item))
    total = arithmetic(context, Arithmetic::kAdd, total, get(context, item));
  return total;
}

Value filter_batch(Interpreter& context, const Value& input, Arguments& arguments) {
  const Bound bound(context, "batch", arguments, {"linecount", "fill_with"}, 1);
  const std::int64_t size = bound.integer(0, 0);
  const Value fill = bound.has(1) ? bound[1] : Value::none();
  auto iterator = std::make_shared<Iterator>(context.iterate(input));
  auto pending =
      std::make_shared<std::vector<Value>>();  // the element that did not fit the previous batch
  return context.generator([&context, size, fill, iterator, pending](Value& out) {
    std::vector<Value> batch = std::move(*pending);
    pending->clear();
    Value item;
    while (iterator->next(context, item)) {
      if (static_cast<std::int64_t>(batch.size()) == size) {
        pending->push_back(item);
        break;
      }
      batch.push_back(item);
    }
    if (batch.empty() && pending->empty()) return false;
    if (!fill.is_none() && pending->empty() && static_cast<std::int64_t>(batch.size()) < size) {
      context.require_elements(static_cast<std::size_t>(size));
      context.work(64 * static_cast<std::size_t>(size));
      batch.resize(static_cast<std::size_t>(size), fill);
    }
    out = context.list(std::move(batch));
    return true;
  });
}

Value filter_slice(Interpreter& context, const Value& input, Arguments& arguments) {
  const Bound bound(context, "slice", arguments, {"slices", "fill_with"}, 1);
  const std::int64_t slices = bound.integer(0, 0);
  if (slices == 0) context.fail("integer division or modulo by zero");
  const Value fill = bound.has(1) ? bound[1] : Value::none();
  auto items = std::make_shared<std::vector<Value>>(context.to_vector(input));
  auto number = std::make_shared<std::int64_t>(0);
  auto position = std::make_shared<std::size_t>(0);
  return context.generator([&context, slices, fill, items, number, position](Value& out) {
    if (*number >= slices) return false;
    const auto count = static_cast<std::int64_t>(items->size());
    const bool extra = *number < count % slices;
    const auto size = static_cast<std::size_t>(count / slices + (extra ? 1 : 0));
    const auto begin = items->begin() + static_cast<std::ptrdiff_t>(*position);
    std::vector<Value> part(begin, begin + static_cast<std::ptrdiff_t>(size));
    if (!fill.is_none() && !extra) part.push_back(fill);
    *position += size;
    ++*number;
    out = context.list(std::move(part));
    return true;
  });
}

Value filter_groupby(Interpreter& context, const Value& input, Arguments& arguments) {
  const Bound bound(context, "groupby", arguments, {"attribute", "default", "case_sensitive"}, 1);
  const AttributeGetter get(context, bound[0], bound[1].is_none() ? Value() : bound[1]);
  const bool case_sensitive = bound.flag(2, false);
  auto pairs = with_keys(context.to_vector(input), [&](const Value& item) {
    const Value key = get(context, item);
    return case_sensitive ? key : ignore_case(context, key);
  });
  merge_sort(context, pairs, false);
  std::vector<Value> groups;
  for (std::size_t i = 0; i < pairs.size();) {
    std::vector<Value> members;
    const std::size_t first = i;
    while (i < pairs.size() && equal(context, pairs[i].first, pairs[first].first))
      members.push_back(pairs[i++].second);
    const Value key = case_sensitive ? pairs[first].first : get(context, members.front());
    Value group = context.tuple({key, context.list(std::move(members))});
    group.as<List>().group = true;
    groups.push_back(std::move(group));
  }
  return context.list(std::move(groups));
}

Value filter_random(Interpreter& context, const Value& input, Arguments& arguments) {
  // Renderings are reproducible: always the first element is chosen.
  const Bound bound(context, "random", arguments, {});
  if (context.length(input) == 0) return context.undefined("no random item, sequence was empty");
  return context.get_item(input, Value::integer(0));
}

Value filter_attr(Interpreter& context, const Value& input, Arguments& arguments) {
  const Bound bound(context, "attr", arguments, {"name"}, 1);
  const StringPtr name = to_str(context, bound[0]);
  Value out;
  if (!name->bytes.starts_with("__") && context.find_attribute(input, name->bytes, out)) return out;
  return context.undefined("'" + std::string(type_name(input)) + " object' has no attribute '" +
                           name->bytes + "'");
}

Value filter_default(Interpreter& context, const Value& input, Arguments& arguments) {
  const Bound bound(context, "default", arguments, {"default_value", "boolean"});
  const bool replaced = input.is_undefined() || (bound.flag(1, false) && !context.truthy(input));
  if (!replaced) return input;
  return bound.has(0) ? bound[0] : context.string({}, Origin::kTemplate);
}

constexpr NamedFunction<FilterFunction> kSequenceFilters[] = {
    {"length", filter_length},
    {"count", filter_length},
    {"list", filter_list},
    {"first", filter_first},
    {"last", filter_last},
    {"reverse", filter_reverse},
    {"join", filter_join},
    {"map", filter_map},
    {"select", filter_select<true, false>},
    {"reject", filter_select<false, false>},
    {"selectattr", filter_select<true, true>},
    {"rejectattr", filter_select<false, true>},
    {"items", filter_items},
    {"sort", filter_sort},
    {"dictsort", filter_dictsort},
    {"unique", filter_unique},
    {"min", filter_extreme<false>},
    {"max", filter_extreme<true>},
    {"sum", filter_sum},
    {"batch", filter_batch},
    {"slice", filter_slice},
    {"groupby", filter_groupby},
    {"random", filter_random},
    {"attr", filter_attr},
    {"default", filter_default},
    {"d", filter_default},
};

}  // namespace

FilterFunction find_sequence_filter(std::string_view name) noexcept {
  return find_named(kSequenceFilters, name);
}

}  // namespace hearth::text::jinja
