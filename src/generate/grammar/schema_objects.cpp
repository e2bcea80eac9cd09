// Objects of a schema. Declared members come in the order of their declaration, then the others,
// where there may be any.
#include <algorithm>
#include <deque>
#include <map>
#include <set>
#include <tuple>

#include "generate/grammar/regex.h"
#include "generate/grammar/schema_compiler.h"
#include "support/error.h"

namespace hearth::generate::grammar {
namespace {

constexpr std::size_t kMaxMembers = 5000;
constexpr std::size_t kMaxPatterns = 4;  // their combinations are told apart

class ObjectWriter {
 public:
  ObjectWriter(SchemaCompiler& compiler, const Alternative& alternative, ObjectForm form)
      : compiler_(compiler),
        json_(compiler.json()),
        syntax_(json_.syntax()),
        alternative_(alternative),
        form_(form),
        range_(SchemaReader::counts(alternative.sources, "minProperties", "maxProperties")) {}

  Expression write() {
    if (is_free() && form_ == ObjectForm::kObject) return json_.any_object();
    find_declared();
    find_others();
    const bool counted = range_.minimum > 0 || range_.maximum != kUnlimited;
    if (counted &&
        declared_.size() * std::min<std::size_t>(declared_.size(), range_.maximum) > 50'000)
      refuse_schema("\"minProperties\" or \"maxProperties\" beside too many properties",
                    "leave it out");
    counts_ = counted;
    const Expression members = syntax_.use(rule(0, 0, false));
    if (form_ == ObjectForm::kObject) return json_.object(members);
    return syntax_.sequence({syntax_.bytes("("), members, syntax_.bytes(")")});
  }

 private:
  struct Declared {
    Expression text = 0;  // key and value
    bool required = false;
  };

  Expression member(const std::string& name, Expression value) {
    if (form_ == ObjectForm::kObject) return json_.member(json_.key(name), value);
    if (!keywords().accepts(code_points_of(name, "a property's name"))) {
      throw Error("a parameter's name cannot be written in the syntax of this model's family",
                  "name it with letters, digits and '_'");
    }
    return syntax_.sequence({syntax_.bytes(name), syntax_.bytes("="), value});
  }

  Expression other_member(Dfa names, bool any_name, Expression value) {
    if (form_ == ObjectForm::kKeywords) {
      const Expression name = syntax_.string_of(intersection(names, keywords(), &syntax_.work()));
      return syntax_.sequence({name, syntax_.bytes("="), value});
    }
    return json_.member(any_name ? json_.any_key() : json_.key_of(std::move(names)), value);
  }

  static const Dfa& keywords() {
    static const Dfa kNames = compile_pattern("^[A-Za-z_][A-Za-z0-9_.-]{0,199}$");
    return kNames;
  }

  [[nodiscard]] bool is_free() const {
    return std::none_of(
        alternative_.sources.begin(), alternative_.sources.end(), [](const Json* source) {
          static constexpr const char* kKeywords[] = {
              "properties",    "required",      "additionalProperties",  "patternProperties",
              "minProperties", "maxProperties", "unevaluatedProperties", "propertyNames"};
          return std::any_of(std::begin(kKeywords), std::end(kKeywords),
                             [&](const char* keyword) { return source->contains(keyword); });
        });
  }

  [[nodiscard]] bool refuses_undeclared() const {
    return std::any_of(alternative_.sources.begin(), alternative_.sources.end(),
                       [](const Json* source) {
                         const Json* rest = member_of(*source, "unevaluatedProperties");
                         return rest != nullptr && *rest == false;
                       });
  }

  void find_declared() {
    std::vector<std::string> required;
    for (const Json* source : alternative_.sources) {
      if (const Json* properties = member_of(*source, "properties")) {
        for (const auto& [name, schema] : properties->items()) note(name);
      }
      if (const Json* list = member_of(*source, "required")) {
        for (const Json& name : *list) required.push_back(name.get<std::string>());
      }
    }
    for (const std::string& name : required) note(name);
    if (order_.size() > kMaxMembers)
      refuse_schema("an object has more than 5000 properties", "use fewer");
    const std::set<std::string> demanded(required.begin(), required.end());
    for (const std::string& name : order_) {
      SchemaList schemas;
      bool evaluated = false;
      bool named = true;
      for (const Json* source : alternative_.sources) {
        const SchemaList more = compiler_.reader().member_schemas(*source, name);
        evaluated |= !more.empty();
        schemas.insert(schemas.end(), more.begin(), more.end());
        if (const Json* names = member_of(*source, "propertyNames"))
          named = named && compiler_.reader().validates(Json(name), *names);
      }
      const bool possible = named && (evaluated || !refuses_undeclared());
      Expression value = syntax_.never();
      if (possible) value = schemas.empty() ? json_.any_value() : compiler_.value(schemas);
      declared_.push_back({member(name, value), demanded.contains(name)});
    }
  }

  void note(const std::string& name) {
    if (known_.insert(name).second) order_.push_back(name);
  }

  /// Other members, by which patterns their names match.
  void find_others() {
    if (range_.maximum == 0) return;
    if (SchemaReader::writes_declared_members_only(alternative_) || refuses_undeclared()) {
      if (range_.minimum > declared_.size())
        refuse_schema("\"minProperties\" is more than the properties that are declared",
                      "declare them");
      return;
    }
    std::vector<std::string> patterns;
    bool has_schema = false;
    for (const Json* source : alternative_.sources) {
      if (const Json* own = member_of(*source, "patternProperties")) {
        for (const auto& [expression, schema] : own->items()) {
          if (std::find(patterns.begin(), patterns.end(), expression) == patterns.end())
            patterns.push_back(expression);
        }
      }
      const Json* rest = member_of(*source, "additionalProperties");
      has_schema |= rest != nullptr && rest->is_object();
    }
    if (patterns.size() > kMaxPatterns)
      refuse_schema("\"patternProperties\" has more than 4 patterns in one place", "use fewer");
    const Dfa names = other_names();
    std::vector<Expression> ways;
    // Names that match no pattern are written only when there is a schema for them, or nothing
    // else.
    const bool with_plain = has_schema || (patterns.empty() && declared_.empty());
    for (std::uint32_t matched = with_plain ? 0 : 1; matched < 1U << patterns.size(); ++matched)
      add_others(names, patterns, matched, ways);
    if (ways.empty()) return;
    others_ = syntax_.choice(std::move(ways));
    has_others_ = true;
    if (range_.minimum > declared_.size() + 1) {
      refuse_schema("\"minProperties\" cannot be enforced where names are free: they could repeat",
                    "declare the properties, or leave it out");
    }
  }

  /// All names but the declared ones.
  Dfa other_names() {
    DfaWork* const work = &syntax_.work();
    Dfa names = any_string();
    for (const Json* source : alternative_.sources) {
      const Json* schema = member_of(*source, "propertyNames");
      if (schema == nullptr) continue;
      const std::vector<Alternative> parts = compiler_.reader().expand({schema});
      if (parts.empty()) return {};
      if (parts.size() > 1)
        refuse_schema("\"propertyNames\" has alternatives in it", "use one pattern");
      if (const auto values = compiler_.reader().values(parts[0])) {
        std::vector<std::u32string> words;
        for (const Json& value : *values) {
          if (value.is_string())
            words.push_back(code_points_of(value.get<std::string>(), "a property's name"));
        }
        names = intersection(names, exactly(words), work);
      } else if ((parts[0].types & kStringType) == 0) {
        return {};
      } else if (const std::optional<Dfa> texts = compiler_.plain_strings(parts[0])) {
        names = intersection(names, *texts, work);
      }
    }
    std::vector<std::u32string> words;
    for (const std::string& name : order_)
      words.push_back(code_points_of(name, "a property's name"));
    return words.empty() ? names : difference(names, exactly(words), work);
  }

  void add_others(Dfa names, const std::vector<std::string>& patterns, std::uint32_t matched,
                  std::vector<Expression>& ways) {
    DfaWork* const work = &syntax_.work();
    std::set<std::string> chosen;
    for (std::size_t i = 0; i < patterns.size(); ++i) {
      const Dfa& pattern = compiler_.reader().pattern(patterns[i]);
      const bool is_chosen = (matched >> i & 1U) != 0;
      if (is_chosen) chosen.insert(patterns[i]);
      names = is_chosen ? intersection(names, pattern, work) : difference(names, pattern, work);
    }
    if (names.empty()) return;
    SchemaList schemas;
    for (const Json* source : alternative_.sources) {
      bool found = false;
      if (const Json* own = member_of(*source, "patternProperties")) {
        for (const auto& [expression, schema] : own->items()) {
          if (!chosen.contains(expression)) continue;
          found = true;
          schemas.push_back(&schema);
        }
      }
      const Json* rest = member_of(*source, "additionalProperties");
      if (!found && rest != nullptr) schemas.push_back(rest);
    }
    // "false" among them: no such member.
    if (std::any_of(schemas.begin(), schemas.end(), [](const Json* s) { return *s == false; }))
      return;
    const bool any_name = order_.empty() && patterns.empty() && names.states.size() == 1;
    const Expression value = schemas.empty() ? json_.any_value() : compiler_.value(schemas);
    ways.push_back(other_member(std::move(names), any_name, value));
  }

  /// What may follow when members before `index` were decided on and `count` of them written
  /// (counted as far as it matters).
  Rule rule(std::size_t index, std::uint32_t count, bool any) {
    const auto key = std::make_tuple(index, count, any);
    if (const auto known = rules_.find(key); known != rules_.end()) return known->second;
    const Rule made = syntax_.declare();
    rules_.emplace(key, made);
    waiting_.push_back(key);
    if (waiting_.size() > 1) return made;  // the first one is at work on the list
    while (!waiting_.empty()) {
      const auto [i, c, a] = waiting_.front();
      syntax_.define(rules_.at({i, c, a}), i == declared_.size() ? end(c, a) : step(i, c, a));
      waiting_.pop_front();
    }
    return made;
  }

  Expression step(std::size_t index, std::uint32_t count, bool any) {
    const Declared& member = declared_[index];
    std::vector<Expression> ways;
    if (!counts_ || count < range_.maximum) {
      const Expression rest = syntax_.use(rule(index + 1, counts_ ? count + 1 : 0, true));
      ways.push_back(any ? syntax_.sequence({json_.comma(), member.text, rest})
                         : syntax_.sequence({member.text, rest}));
    }
    if (!member.required) ways.push_back(syntax_.use(rule(index + 1, count, any)));
    return syntax_.choice(std::move(ways));
  }

  /// After the declared members.
  Expression end(std::uint32_t count, bool any) {
    const std::uint32_t missing = count < range_.minimum ? range_.minimum - count : 0;
    if (!has_others_) return missing > 0 ? syntax_.never() : syntax_.empty();
    // Free names can repeat: they count as one at most.
    if (missing > 1) return syntax_.never();
    if (counts_ && count >= range_.maximum) return missing > 0 ? syntax_.never() : syntax_.empty();
    const std::uint32_t room = range_.maximum == kUnlimited ? kUnlimited : range_.maximum - count;
    const Expression later = syntax_.sequence({json_.comma(), others_});
    if (any) return syntax_.repeat(later, missing, room);
    const Expression more = syntax_.repeat(later, 0, room == kUnlimited ? kUnlimited : room - 1);
    const Expression all = syntax_.sequence({others_, more});
    return missing > 0 ? all : syntax_.optional(all);
  }

  SchemaCompiler& compiler_;
  JsonSyntax& json_;
  Syntax& syntax_;
  const Alternative& alternative_;
  ObjectForm form_;
  CountRange range_;
  std::vector<std::string> order_;
  std::set<std::string> known_;
  std::vector<Declared> declared_;
  Expression others_ = 0;
  bool has_others_ = false;
  bool counts_ = false;
  std::map<std::tuple<std::size_t, std::uint32_t, bool>, Rule> rules_;
  std::deque<std::tuple<std::size_t, std::uint32_t, bool>> waiting_;
};

}  // namespace

Expression write_object(SchemaCompiler& compiler, const Alternative& alternative, ObjectForm form) {
  return ObjectWriter(compiler, alternative, form).write();
}

}  // namespace hearth::generate::grammar
