#include "model/convert/tokenizer_models.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <nlohmann/json.hpp>
#include <utility>

#include "support/error.h"

namespace hearth::model::convert {
namespace {

/// The part of `part`, which may be itself, with this "type"; null when there is none.
const Json* find_type(const Json& part, std::string_view type) {
  if (!part.is_structured()) return nullptr;
  if (part.is_object()) {
    const auto found = part.find("type");
    if (found != part.end() && found->is_string() && found->get_ref<const std::string&>() == type)
      return &part;
  }
  for (const Json& item : part) {
    if (const Json* found = find_type(item, type)) return found;
  }
  return nullptr;
}

/// The member `name` of `parent`, or null JSON.
const Json& member(const Config& parent, const char* name) {
  static const Json kNull;
  const auto found = parent.json().find(name);
  return found == parent.json().end() ? kNull : *found;
}

/// Calls use(id, text) for every entry of the vocabulary of a tokenizer.json.
void for_vocabulary(const Config& model,
                    const std::function<void(std::int64_t, const std::string&)>& use) {
  const Json& vocabulary = member(model, "vocab");
  if (!vocabulary.is_object() || vocabulary.empty()) model.fail("vocab", "is missing or empty");
  for (auto entry = vocabulary.begin(); entry != vocabulary.end(); ++entry) {
    const Json& id = entry.value();
    if (!id.is_number_integer()) model.fail("vocab", "has an id that is no integer");
    use(static_cast<std::int64_t>(id), entry.key());
  }
}

struct Merge {
  std::string left, right;
};

/// The merges of a BPE: "left right", or ["left", "right"].
std::vector<Merge> read_merges(const Config& model) {
  const Json& list = member(model, "merges");
  if (!list.is_array()) model.fail("merges", "is missing");
  std::vector<Merge> merges;
  merges.reserve(list.size());
  for (const Json& item : list) {
    if (item.is_string()) {
      const auto& text = item.get_ref<const std::string&>();
      const std::size_t space = text.find(' ', 1);
      if (text.empty() || space == text.npos) model.fail("merges", "has an entry without a space");
      merges.push_back({text.substr(0, space), text.substr(space + 1)});
    } else if (item.is_array() && item.size() == 2 && item[0].is_string() && item[1].is_string()) {
      merges.push_back({item[0].get<std::string>(), item[1].get<std::string>()});
    } else {
      model.fail("merges", "has an entry that is no pair of strings");
    }
    if (merges.back().left.empty() || merges.back().right.empty())
      model.fail("merges", "has an empty part");
  }
  return merges;
}

bool is_byte_text(std::string_view text) {
  const auto hexadecimal = [](char c) { return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'F'); };
  return text.size() == 6 && text.starts_with("<0x") && text.back() == '>' &&
         hexadecimal(text[3]) && hexadecimal(text[4]);
}

void write_word_piece_flags(gguf::Writer& writer, bool lowercase, bool strip_accents) {
  writer.set("tokenizer.ggml.normalizer.lowercase", lowercase);
  writer.set("tokenizer.ggml.normalizer.strip_accents", strip_accents);
}

std::string word_piece_text(const std::string& text, std::string_view continuation) {
  if (text.size() >= 2 && text.front() == '[' && text.back() == ']') return text;
  if (text.size() > continuation.size() && text.starts_with(continuation))
    return text.substr(continuation.size());
  return std::string(kSpaceMark) + text;
}

}  // namespace

TokenizerKind kind_of(const Config& tokenizer) {
  const Config model = tokenizer.object("model");
  // Files written before the field existed have no type; BPE is the only kind with merges.
  const std::string type = model.string("type", std::string(model.has("merges") ? "BPE" : ""));
  if (type == "WordPiece") return TokenizerKind::kWordPiece;
  if (type == "Unigram") return TokenizerKind::kUnigram;
  if (type != "BPE") {
    model.fail("type", fmt::format("is '{}'; BPE, Unigram and WordPiece can be converted",
                                   printable(type)));
  }
  if (find_type(member(tokenizer, "pre_tokenizer"), "ByteLevel") != nullptr ||
      find_type(member(tokenizer, "decoder"), "ByteLevel") != nullptr) {
    return TokenizerKind::kByteLevelBpe;
  }
  if (model.boolean("byte_fallback", false)) return TokenizerKind::kSentencePieceBpe;
  model.fail("byte_fallback",
             "is not true and there is no ByteLevel step: a BPE of an unknown kind");
}

void fill_byte_level(const Config& tokenizer, TokenTable& table, gguf::Writer& writer) {
  const Config model = tokenizer.object("model");
  for_vocabulary(model, [&](std::int64_t id, const std::string& text) {
    table.set(id, text, token_type::kNormal);
  });
  std::vector<std::string> merges;
  for (const Merge& merge : read_merges(model)) {
    if (merge.left.find(' ', 1) != merge.left.npos)
      model.fail("merges", "has a part with a space, which GGUF files cannot express");
    merges.push_back(merge.left + " " + merge.right);
  }
  writer.set("tokenizer.ggml.model", "gpt2");
  writer.set_array("tokenizer.ggml.merges", merges);
}

void fill_sentencepiece_bpe(const Config& tokenizer, TokenTable& table, gguf::Writer& writer) {
  const Config model = tokenizer.object("model");
  // Merging by rank and merging by score agree when a token's score is the rank of the first merge
  // that makes it: all merges that make it follow each other.
  std::unordered_map<std::string, float> ranks;
  const std::vector<Merge> merges = read_merges(model);
  for (std::size_t rank = 0; rank < merges.size(); ++rank)
    ranks.emplace(merges[rank].left + merges[rank].right, static_cast<float>(rank));
  const std::string unknown = model.string("unk_token", std::string());
  for_vocabulary(model, [&](std::int64_t id, const std::string& text) {
    const auto rank = ranks.find(text);
    const float score = -(rank == ranks.end() ? static_cast<float>(merges.size()) : rank->second);
    const std::int32_t type = is_byte_text(text)                    ? token_type::kByte
                              : !unknown.empty() && text == unknown ? token_type::kUnknown
                                                                    : token_type::kNormal;
    table.set(id, text, type, type == token_type::kNormal ? score : 0);
  });
  bool prefix = find_type(member(tokenizer, "normalizer"), "Prepend") != nullptr;
  if (const Json* step = find_type(member(tokenizer, "pre_tokenizer"), "Metaspace")) {
    const Config metaspace(*step, tokenizer.where() + ", pre_tokenizer");
    const bool always = metaspace.boolean("add_prefix_space", true);
    prefix = prefix || metaspace.string("prepend_scheme",
                                        std::string(always ? "always" : "never")) != "never";
  }
  writer.set("tokenizer.ggml.model", "llama");
  writer.set("tokenizer.ggml.pre", "default");
  writer.set("tokenizer.ggml.add_space_prefix", prefix);
}

void fill_sentencepiece(const SentencePieceModel& model, TokenTable& table, gguf::Writer& writer) {
  const bool unigram = model.kind == SentencePieceModel::Kind::kUnigram;
  if (!unigram && model.kind != SentencePieceModel::Kind::kBpe) {
    throw Error(
        "tokenizer.model is of a kind (words or characters) that GGUF files cannot express");
  }
  for (std::size_t id = 0; id < model.pieces.size(); ++id) {
    const SentencePiece& piece = model.pieces[id];
    table.set(static_cast<std::int64_t>(id), piece.text, piece.type, piece.score);
  }
  writer.set("tokenizer.ggml.model", unigram ? "t5" : "llama");
  writer.set("tokenizer.ggml.pre", "default");
  writer.set("tokenizer.ggml.add_space_prefix", model.add_dummy_prefix);
  if (!unigram) return;
  writer.set("tokenizer.ggml.remove_extra_whitespaces", model.remove_extra_whitespaces);
  if (!model.precompiled_charsmap.empty()) {
    std::vector<std::uint8_t> bytes(model.precompiled_charsmap.begin(),
                                    model.precompiled_charsmap.end());
    writer.set_array("tokenizer.ggml.precompiled_charsmap", bytes);
  }
}

void fill_word_piece(const Config& tokenizer, TokenTable& table, gguf::Writer& writer) {
  const Config model = tokenizer.object("model");
  const std::string continuation = model.string("continuing_subword_prefix", std::string("##"));
  for_vocabulary(model, [&](std::int64_t id, const std::string& text) {
    table.set(id, word_piece_text(text, continuation), token_type::kNormal);
  });
  const Config normalizer = tokenizer.object("normalizer");
  if (normalizer.string("type", std::string("BertNormalizer")) != "BertNormalizer")
    normalizer.fail("type", "is not BertNormalizer");
  const bool lowercase = normalizer.boolean("lowercase", true);
  writer.set("tokenizer.ggml.model", "bert");
  writer.set("tokenizer.ggml.pre", "default");
  write_word_piece_flags(writer, lowercase, normalizer.boolean("strip_accents", lowercase));
}

void fill_word_piece(const std::string& lines, bool lowercase, TokenTable& table,
                     gguf::Writer& writer) {
  std::int64_t id = 0;
  for (std::size_t at = 0; at < lines.size(); ++id) {
    const std::size_t end = std::min(lines.find('\n', at), lines.size());
    std::string text = lines.substr(at, end - at);
    if (!text.empty() && text.back() == '\r') text.pop_back();
    const bool special = text == "[PAD]" || text == "[UNK]" || text == "[CLS]" || text == "[SEP]" ||
                         text == "[MASK]";
    table.set(id, word_piece_text(text, "##"),
              special ? token_type::kControl : token_type::kNormal);
    at = end + 1;
  }
  writer.set("tokenizer.ggml.model", "bert");
  writer.set("tokenizer.ggml.pre", "default");
  write_word_piece_flags(writer, lowercase, lowercase);
}

}  // namespace hearth::model::convert
