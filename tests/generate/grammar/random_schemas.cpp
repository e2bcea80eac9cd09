#include "generate/grammar/random_schemas.h"

#include <algorithm>
#include <cmath>
#include <ctime>
#include <random>
#include <vector>

namespace hearth::testing {
namespace {

class Generator {
 public:
  explicit Generator(std::uint64_t seed) : random_(seed) {}

  Json document() {
    Json schema = value(0);
    if (!uses_node_ || !schema.is_object()) return schema;
    uses_node_ = false;  // its own use of itself needs no second definition
    schema["$defs"]["node"] = {
        {"type", "object"},
        {"properties",
         {{"v", leaf()}, {"next", {{"anyOf", {{{"$ref", "#/$defs/node"}}, {{"type", "null"}}}}}}}},
        {"required", {"v", "next"}}};
    return schema;
  }

 private:
  int below(int end) { return static_cast<int>(random_() % static_cast<std::uint64_t>(end)); }
  bool chance(int percent) { return below(100) < percent; }
  template <std::size_t count>
  const char* pick(const char* const (&choices)[count]) {
    return choices[below(static_cast<int>(count))];
  }

  Json value(int depth) {
    const int kind = below(depth >= 4 ? 55 : 100);
    if (kind < 55) return leaf();
    if (kind < 72) return object(depth);
    if (kind < 82) return array(depth);
    if (kind < 87) return Json{{"anyOf", {value(depth + 1), value(depth + 1)}}};
    if (kind < 91) return one_of(depth);
    if (kind < 95) return all_of(depth);
    if (kind < 97) return map(depth);
    uses_node_ = true;
    return Json{{"$ref", "#/$defs/node"}};
  }

  Json leaf() {
    switch (below(9)) {
      case 0:
        return Json{{"type", pick({"boolean", "null", "integer", "number", "string"})}};
      case 1:
        return string();
      case 2:
        return integer();
      case 3:
        return number();
      case 4:
        return Json{{"enum", enumeration()}};
      case 5:
        return Json{{"const", constant()}};
      case 6:
        return Json{{"type", {"null", pick({"string", "integer", "boolean"})}}};
      case 7:
        return Json{{"type", "string"},
                    {"format", pick({"date", "time", "date-time", "uuid", "email", "ipv4", "ipv6",
                                     "hostname", "uri", "duration"})}};
      default:
        return Json{{"type", "string"}, {"pattern", pattern()}};
    }
  }

  Json string() {
    const int minimum = below(6);
    Json schema{{"type", "string"}};
    if (chance(60)) schema["minLength"] = minimum;
    if (chance(80)) schema["maxLength"] = minimum + below(chance(20) ? 200 : 12);
    if (chance(20)) schema["pattern"] = pick({"^[a-z ]*$", "^[^x]*$", "^[\\w-]+$|^$"});
    if (schema.contains("pattern")) schema["minLength"] = std::min(minimum, 3);
    if (schema.contains("pattern")) schema["maxLength"] = 4 + below(20);
    return schema;
  }

  std::string pattern() {
    static constexpr const char* kParts[] = {"[a-z]+",   "\\d{2,4}", "(foo|bar)?", "[A-F0-9]{3}",
                                             "x*",       "[^\\s\"]", "é",          "[α-ω]{1,3}",
                                             "(?:a|bc)", "\\.",      "_",          "😀?",
                                             "\\w{0,5}", "-?",       "[ \\t]{1,2}"};
    std::string text = chance(85) ? "^" : "";
    const int parts = 1 + below(5);
    for (int i = 0; i < parts; ++i) text += pick(kParts);
    return chance(85) ? text + "$" : text;
  }

  Json integer() {
    const int minimum = below(2000) - 1000;
    Json schema{{"type", "integer"}};
    if (chance(60)) schema[chance(80) ? "minimum" : "exclusiveMinimum"] = minimum;
    if (chance(60))
      schema[chance(80) ? "maximum" : "exclusiveMaximum"] = minimum + 30 + below(100000);
    if (chance(25)) schema["multipleOf"] = 1 + below(25);
    return schema;
  }

  Json number() {
    const double minimum = (below(20000) - 10000) / 100.0;
    Json schema{{"type", "number"}};
    if (chance(60)) schema[chance(70) ? "minimum" : "exclusiveMinimum"] = minimum;
    if (chance(60))
      schema[chance(70) ? "maximum" : "exclusiveMaximum"] = minimum + 2 + below(1000) / 8.0;
    if (chance(15)) schema["multipleOf"] = pick_number({0.5, 0.25, 1, 2, 5});
    return schema;
  }
  double pick_number(std::initializer_list<double> list) {
    return list.begin()[below(static_cast<int>(list.size()))];
  }

  Json constant() {
    switch (below(6)) {
      case 0:
        return below(1000);
      case 1:
        return pick({"x", "größe", "日本", "a\"b", "tab\t", "😀", ""});
      case 2:
        return nullptr;
      case 3:
        return chance(50);
      case 4:
        return Json{{"a", 1}, {"b", {1, 2, nullptr}}};
      default:
        return below(100) / 4.0;
    }
  }

  Json enumeration() {
    Json values = Json::array();
    const int count = 1 + below(6);
    for (int i = 0; i < count; ++i) {
      const Json value = constant();
      if (std::find(values.begin(), values.end(), value) == values.end()) values.push_back(value);
    }
    return values;
  }

  std::string name(int index) {
    static constexpr const char* kNames[] = {"id",    "name", "größe", "タグ", "a b", "x\"y",
                                             "value", "sort", "_k",    "😀",    "n\n", "zip"};
    return index < 12 ? kNames[index] : "p" + std::to_string(index);
  }

  Json object(int depth) {
    Json properties = Json::object();
    Json required = Json::array();
    const int count = below(7);
    const int first = below(8);
    for (int i = 0; i < count; ++i) {
      const std::string key = name(first + i);
      properties[key] = value(depth + 1);
      if (chance(55)) required.push_back(key);
    }
    Json schema{{"type", "object"}, {"properties", properties}};
    if (chance(80)) schema["required"] = required;
    if (chance(40))
      schema["additionalProperties"] = false;
    else if (chance(15))
      schema["additionalProperties"] = leaf();
    const auto demanded = static_cast<int>(schema.contains("required") ? required.size() : 0);
    if (chance(10)) schema["maxProperties"] = demanded + below(3);
    return schema;
  }

  Json map(int depth) {
    Json schema{{"type", "object"}};
    if (chance(50)) {
      schema["additionalProperties"] = value(depth + 1);
      schema["maxProperties"] = 1 + below(4);
    } else {
      schema["patternProperties"] = {{"^[a-z]{1,4}$", value(depth + 1)}, {"^\\d+$", leaf()}};
      schema["additionalProperties"] = false;
      schema["maxProperties"] = 3;
    }
    return schema;
  }

  Json array(int depth) {
    Json schema{{"type", "array"}};
    const int minimum = below(3);
    if (chance(20)) {
      schema["prefixItems"] = {value(depth + 1), leaf()};
      schema["items"] = chance(50) ? Json(false) : leaf();
      schema["maxItems"] = 4;
      if (chance(50)) schema["minItems"] = below(3);
      return schema;
    }
    if (chance(15)) {
      schema["items"] = {{"enum", {"a", "b", 1, nullptr}}};
      schema["uniqueItems"] = true;
      schema["minItems"] = minimum;
      return schema;
    }
    schema["items"] = value(depth + 1);
    schema["maxItems"] = minimum + below(4);
    if (chance(60)) schema["minItems"] = minimum;
    return schema;
  }

  Json one_of(int depth) {
    if (chance(40))
      return Json{{"oneOf",
                   {Json{{"type", "integer"}}, Json{{"type", "string"}, {"maxLength", 9}},
                    array(depth + 1)}}};
    Json list = Json::array();
    for (const char* kind : {"one", "two", "three"}) {
      Json part = object(depth + 1);
      part["properties"]["kind"] = {{"const", kind}};
      if (!part.contains("required")) part["required"] = Json::array();
      part["required"].push_back("kind");
      part.erase("maxProperties");
      list.push_back(part);
    }
    return Json{{"oneOf", list}};
  }

  Json all_of(int depth) {
    Json left{{"type", "object"},
              {"properties", {{"l", value(depth + 1)}, {"both", {{"type", "integer"}}}}},
              {"required", {"l"}}};
    Json right{{"properties", {{"both", {{"minimum", 0}, {"maximum", below(500)}}}, {"r", leaf()}}},
               {"required", {"both"}}};
    return Json{{"allOf", {left, right}}};
  }

  std::mt19937_64 random_;
  bool uses_node_ = false;
};

}  // namespace

Json random_schema(std::uint64_t seed) { return Generator(seed).document(); }

Sample sample(const std::shared_ptr<const generate::grammar::Grammar>& grammar,
              const std::shared_ptr<const generate::grammar::TokenTrie>& trie,
              const text::Tokenizer& tokenizer, std::uint64_t seed, std::int64_t max_tokens) {
  const auto constraint = generate::grammar::constrain(grammar, trie);
  std::mt19937_64 random(seed);
  Sample result;
  while (result.tokens < max_tokens) {
    const std::clock_t begin = std::clock();
    const std::span<const std::uint64_t> mask = constraint->allowed();
    const double took = static_cast<double>(std::clock() - begin) / CLOCKS_PER_SEC;
    ++result.masks;
    result.mask_seconds += took;
    result.slowest_mask = std::max(result.slowest_mask, took);
    // The largest of many independent random logits is any of them with equal chances.
    std::uint64_t allowed = 0;
    for (const std::uint64_t word : mask)
      allowed += static_cast<std::uint64_t>(__builtin_popcountll(word));
    std::uint64_t chosen = random() % allowed;
    text::TokenId token = 0;
    for (std::size_t word = 0; word < mask.size(); ++word) {
      const auto count = static_cast<std::uint64_t>(__builtin_popcountll(mask[word]));
      if (chosen >= count) {
        chosen -= count;
        continue;
      }
      std::uint64_t bits = mask[word];
      for (; chosen > 0; --chosen) bits &= bits - 1;
      token =
          static_cast<text::TokenId>(word * 64 + static_cast<std::size_t>(__builtin_ctzll(bits)));
      break;
    }
    if (tokenizer.ends_generation(token)) {
      result.complete = true;
      break;
    }
    constraint->accept(token);
    result.chosen.push_back(token);
    result.text += tokenizer.piece(token, true);
    ++result.tokens;
  }
  return result;
}

}  // namespace hearth::testing
