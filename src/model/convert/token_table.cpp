#include "model/convert/token_table.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <map>
#include <nlohmann/json.hpp>
#include <utility>

#include "support/error.h"

namespace hearth::model::convert {
namespace {

/// Tokens that publishers forgot to flag: markup that texts must not turn into.
bool looks_like_control(std::string_view text) {
  const auto framed = [&](std::string_view begin, std::string_view end) {
    return text.size() > begin.size() + end.size() && text.starts_with(begin) &&
           text.ends_with(end);
  };
  return framed("<|", "|>") || framed("<｜", "｜>") || framed("<unused", ">") || text == "<pad>" ||
         text == "<mask>" || text == "<2mass>" || text == "[@BOS@]";
}

std::string with_spaces(std::string_view text) {
  std::string result;
  while (!text.empty()) {
    const std::size_t mark = std::min(text.find(kSpaceMark), text.size());
    result += text.substr(0, mark);
    text.remove_prefix(mark);
    if (text.empty()) break;
    result += ' ';
    text.remove_prefix(kSpaceMark.size());
  }
  return result;
}

std::optional<std::int64_t> parse_id(std::string_view text) {
  std::int64_t id = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), id);
  if (error != std::errc() || end != text.data() + text.size() || id < 0) return std::nullopt;
  return id;
}

}  // namespace

TokenTable::TokenTable(std::size_t size) : types_(size, token_type::kUnused), scores_(size) {
  texts_.reserve(size);
  for (std::size_t id = 0; id < size; ++id) texts_.push_back(fmt::format("[PAD{}]", id));
}

void TokenTable::set(std::int64_t id, std::string text, std::int32_t type, float score) {
  if (id < 0 || static_cast<std::size_t>(id) >= texts_.size()) return;
  const auto index = static_cast<std::size_t>(id);
  if (types_[index] != token_type::kUnused) {
    if (const auto old = ids_.find(texts_[index]); old != ids_.end() && old->second == id)
      ids_.erase(old);
  }
  ids_.emplace(text, id);
  texts_[index] = std::move(text);
  types_[index] = type;
  scores_[index] = score;
}

void TokenTable::add(const std::vector<AddedToken>& tokens, float score) {
  for (const AddedToken& token : tokens) {
    if (token.id < 0 || static_cast<std::size_t>(token.id) >= texts_.size()) continue;
    const auto index = static_cast<std::size_t>(token.id);
    const bool known = types_[index] != token_type::kUnused;
    const float kept = known ? scores_[index] : score;
    if (known && types_[index] == token_type::kUnknown) continue;
    if (token.special || looks_like_control(token.text)) {
      set(token.id, token.text, token_type::kControl, kept);
    } else {
      set(token.id, with_spaces(token.text), token_type::kUserDefined, kept);
    }
  }
}

std::optional<std::int64_t> TokenTable::find(std::string_view text) const {
  const auto found = ids_.find(std::string(text));
  if (found == ids_.end()) return std::nullopt;
  return found->second;
}

void TokenTable::write(gguf::Writer& writer, bool scores) const {
  std::unordered_map<std::string_view, std::size_t> seen;
  for (std::size_t id = 0; id < texts_.size(); ++id) {
    const auto [first, fresh] = seen.emplace(texts_[id], id);
    if (!fresh) {
      throw Error(fmt::format("the tokenizer has two tokens with the text '{}' (ids {} and {})",
                              printable(texts_[id]), first->second, id),
                  "GGUF files cannot express that; the tokenizer's files are probably damaged");
    }
  }
  writer.set_array("tokenizer.ggml.tokens", texts_);
  if (scores) writer.set_array("tokenizer.ggml.scores", scores_);
  writer.set_array("tokenizer.ggml.token_type", types_);
}

std::vector<AddedToken> read_added_tokens(const std::filesystem::path& directory,
                                          const Config& tokenizer, const Config& tokenizer_config) {
  std::map<std::int64_t, AddedToken> tokens;  // the first file that names an id decides
  const Config extra = read_config(directory / "added_tokens.json");
  if (const auto list = tokenizer.json().find("added_tokens"); list != tokenizer.json().end()) {
    if (!list->is_array()) tokenizer.fail("added_tokens", "is not a list");
    for (const Json& item : *list) {
      const Config token(item, tokenizer.where() + ", added_tokens");
      const std::int64_t id = token.integer("id");
      tokens.emplace(id, AddedToken{id, token.string("content"), token.boolean("special", false)});
    }
  }
  const Config decoder = tokenizer_config.object("added_tokens_decoder");
  for (const auto& [key, value] : decoder.json().items()) {
    const std::optional<std::int64_t> id = parse_id(key);
    if (!id) decoder.fail(key, "is not a token id");
    const Config token(value, decoder.where());
    tokens.emplace(*id, AddedToken{*id, token.string("content"), token.boolean("special", false)});
  }
  for (const auto& [text, value] : extra.json().items()) {
    const std::int64_t id = extra.integer(text);
    tokens.emplace(id, AddedToken{id, text, false});
  }
  std::vector<AddedToken> result;
  for (auto& [id, token] : tokens) result.push_back(std::move(token));
  return result;
}

}  // namespace hearth::model::convert
