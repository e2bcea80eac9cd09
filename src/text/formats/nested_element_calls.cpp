// MiniMax M3: every tag carries a marker, parameters are elements named after their key, objects
// and lists nest.
#include <nlohmann/json.hpp>

#include "text/formats/call_reader.h"

namespace hearth::text {

using nlohmann::ordered_json;

namespace {

constexpr int kMaxElementDepth = 128;

/// Turns the inside of an <invoke> element into JSON.
class ElementTree {
 public:
  ElementTree(std::string_view text, std::string_view marker, const ordered_json* root)
      : rest_(text),
        open_(std::string(marker) + "<"),
        close_(std::string(marker) + "</"),
        root_(root) {}

  /// The arguments, or nothing when the elements do not nest properly.
  std::optional<std::string> read() {
    std::string out;
    const SchemaChoices schemas = root_ != nullptr ? SchemaChoices{root_} : SchemaChoices{};
    if (!read_members(out, schemas, {}, 0) || !trim(rest_).empty()) return std::nullopt;
    return out;
  }

 private:
  unsigned types_of(const SchemaChoices& schemas) const {
    return root_ == nullptr ? kNoTypes : schema_types(schemas, *root_);
  }

  bool at_element() const { return rest_.starts_with(open_) && !rest_.starts_with(close_); }

  std::string_view read_tag(std::size_t prefix) {
    rest_.remove_prefix(prefix);
    const std::size_t end = rest_.find('>');
    if (end == std::string_view::npos || end > kMaxField) return {};
    const std::string_view tag = rest_.substr(0, end);
    rest_.remove_prefix(end + 1);
    return tag;
  }

  bool close_tag(std::string_view tag) {
    if (!rest_.starts_with(close_)) return false;
    return read_tag(close_.size()) == tag;
  }

  /// A list's members are all called "item"; everything else is an object.
  bool read_members(std::string& out, const SchemaChoices& schemas, std::string_view parent,
                    int depth) {
    if (depth > kMaxElementDepth) return false;
    const unsigned types = types_of(schemas);
    const bool list =
        !parent.empty() && (types & kObjectType) == 0 && rest_.starts_with(open_ + "item>");
    out += list ? '[' : '{';
    bool first = true;
    for (;;) {
      const std::size_t space = count_space(rest_);
      if (!rest_.substr(space).starts_with(open_)) break;
      rest_.remove_prefix(space);
      if (!at_element()) break;
      const std::string_view tag = read_tag(open_.size());
      if (tag.empty()) return false;
      if (!first) out += ',';
      first = false;
      if (!list) {
        append_json_string(out, tag);
        out += ':';
      }
      SchemaChoices member;
      if (root_ != nullptr)
        member = list ? item_choices(schemas, *root_) : member_choices(schemas, *root_, tag);
      if (!read_value(out, member, tag, depth) || !close_tag(tag)) return false;
    }
    out += list ? ']' : '}';
    return true;
  }

  bool read_value(std::string& out, const SchemaChoices& schemas, std::string_view tag, int depth) {
    if (rest_.substr(count_space(rest_)).starts_with(open_) &&
        !rest_.substr(count_space(rest_)).starts_with(close_)) {
      rest_.remove_prefix(count_space(rest_));
      return read_members(out, schemas, tag, depth + 1);
    }
    const std::size_t end = rest_.find(close_ + std::string(tag) + ">");
    if (end == std::string_view::npos) return false;
    const std::string_view raw = rest_.substr(0, end);
    rest_.remove_prefix(end);
    const unsigned types = types_of(schemas);
    const bool empty_container = raw.empty() && types != kNoTypes && (types & kStringType) == 0;
    if (empty_container && (types & kObjectType) != 0)
      out += "{}";
    else if (empty_container && (types & kArrayType) != 0)
      out += "[]";
    else
      out += typed_value(raw, types);
    return true;
  }

  std::string_view rest_;
  std::string open_, close_;
  const ordered_json* root_;
};

class NestedElementCalls : public CallReader {
 public:
  explicit NestedElementCalls(const CallSyntax& syntax) : syntax_(syntax) {}

  Step step(Input& input, EventSink& sink) override {
    switch (state_) {
      case State::kOpen: {
        const Match found = skip_marker(input, syntax_.call_open);
        if (found == Match::kPartial || (input.final() && input.rest().empty())) return Step::kMore;
        state_ = State::kName;
        return found == Match::kYes ? Step::kAgain : Step::kBroken;
      }
      case State::kName: {
        const Step result = read_call_name(input, {{syntax_.name_end, true}}, name_);
        if (result != Step::kDone) return result;
        state_ = State::kMembers;
        searched_ = 0;
        return sink.begin(name_) ? Step::kAgain : Step::kBroken;
      }
      case State::kMembers:
        return read_members(input, sink);
      case State::kBetween:
        break;
    }
    return between(input);
  }

 private:
  enum class State : std::uint8_t { kOpen, kName, kMembers, kBetween };

  Step read_members(Input& input, EventSink& sink) {
    const std::string_view rest = input.rest();
    const std::size_t end = rest.find(syntax_.call_close, searched_);
    if (end == std::string_view::npos) {
      searched_ = rest.size() - std::min(rest.size(), syntax_.call_close.size() - 1);
      return Step::kMore;
    }
    const std::optional<std::string> arguments =
        ElementTree(rest.substr(0, end), syntax_.tag_marker, sink.tools().parameters(name_)).read();
    if (!arguments) return Step::kBroken;
    sink.arguments(*arguments);
    sink.end();
    input.consume(end + syntax_.call_close.size());
    input.forget_record();
    state_ = State::kBetween;
    return Step::kAgain;
  }

  Step between(Input& input) {
    if (!skip_space(input)) return input.final() ? Step::kDone : Step::kMore;
    const Match close = match(input.rest(), syntax_.close, input.final());
    const Match call = match(input.rest(), syntax_.call_open, input.final());
    if (close == Match::kYes) {
      input.consume(syntax_.close.size());
      return Step::kDone;
    }
    if (call == Match::kYes) {
      state_ = State::kOpen;
      return Step::kAgain;
    }
    return close == Match::kPartial || call == Match::kPartial ? Step::kMore : Step::kDone;
  }

  CallSyntax syntax_;
  State state_ = State::kOpen;
  std::string name_;
  std::size_t searched_ = 0;
};

}  // namespace

std::unique_ptr<CallReader> make_nested_element_reader(const CallSyntax& syntax) {
  return std::make_unique<NestedElementCalls>(syntax);
}

}  // namespace hearth::text
