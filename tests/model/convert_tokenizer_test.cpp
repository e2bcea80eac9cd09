// Tokenizers of checkpoints: the vocabularies of goldens/tokenizer are written as the files they
// came from (tokenizer.json, tokenizer.model, vocab.txt) and must tokenize alike after conversion.
#include "model/convert/tokenizer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "gguf/file.h"
#include "model/convert/pre_tokenizer_names.h"
#include "model/convert/sentencepiece.h"
#include "support/error.h"
#include "support/file.h"
#include "temporary_folder.h"
#include "text/golden.h"
#include "text/pre_tokenizer.h"
#include "text/tokenizer.h"

namespace hearth::model::convert {
namespace {

using hearth::testing::TemporaryFolder;

// The patterns as Llama 3, Qwen 2 and DeepSeek V3 publish them.
const std::string kLlama3 =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*)"
    R"(|\s*[\r\n]+|\s+(?!\S)|\s+)";
const std::string kQwen2 =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*)"
    R"(|\s*[\r\n]+|\s+(?!\S)|\s+)";

Json split(const std::string& pattern) {
  return {{"type", "Split"},
          {"pattern", {{"Regex", pattern}}},
          {"behavior", "Isolated"},
          {"invert", false}};
}

Json byte_level(bool use_regex) {
  return {{"type", "ByteLevel"},
          {"add_prefix_space", false},
          {"trim_offsets", true},
          {"use_regex", use_regex}};
}

Json sequence(const std::vector<Json>& steps) {
  return {{"type", "Sequence"}, {"pretokenizers", steps}};
}

/// The files of a tokenizer and what they become.
class TokenizerFiles {
 public:
  TokenizerFiles() { config["model_type"] = "llama"; }

  [[nodiscard]] gguf::File convert(std::int64_t vocabulary, const std::string& pre = "",
                                   const std::string& architecture = "llama") {
    if (!tokenizer.is_null()) put("tokenizer.json", tokenizer.dump());
    put("tokenizer_config.json", settings.dump());
    gguf::Writer writer;
    writer.set("general.architecture", architecture);
    convert_tokenizer(
        {folder_.path(), Config(config, "config.json"), architecture, vocabulary, pre}, writer);
    bytes_ = writer.bytes();
    return gguf::File::from_bytes(std::as_bytes(std::span(bytes_)));
  }
  [[nodiscard]] std::string refusal(std::int64_t vocabulary, const std::string& pre = "") {
    try {
      (void)convert(vocabulary, pre);
    } catch (const Error& error) {
      return std::string(error.what()) + "; " + error.hint();
    }
    return "accepted";
  }
  void put(const std::string& name, const std::string& text) const {
    std::filesystem::create_directories((folder_ / name).parent_path());
    write_file_atomically(folder_ / name, text);
  }

  Json tokenizer, settings = Json::object(), config = Json::object();

 private:
  TemporaryFolder folder_;
  std::string bytes_;
};

/// A byte-level BPE with the tokens a, b, ab and an end.
class TinyByteLevel : public TokenizerFiles {
 public:
  TinyByteLevel() {
    tokenizer = {
        {"pre_tokenizer", byte_level(true)},
        {"added_tokens", {{{"id", 3}, {"content", "<|end|>"}, {"special", true}}}},
        {"model",
         {{"type", "BPE"}, {"vocab", {{"a", 0}, {"b", 1}, {"ab", 2}}}, {"merges", {"a b"}}}}};
    settings["eos_token"] = "<|end|>";
  }
};

void expect_part(const std::string& text, const std::string& part) {
  EXPECT_NE(text.find(part), std::string::npos) << text;
}

/// The same ids for all texts of a golden file.
void expect_same_ids(const gguf::File& made, const gguf::File& golden, const std::string& name) {
  const auto a = text::Tokenizer::create(made.metadata());
  const auto b = text::Tokenizer::create(golden.metadata());
  EXPECT_EQ(a->size(), b->size());
  EXPECT_EQ(a->special().add_bos, b->special().add_bos);
  const auto description = text::read_json(text::golden_path(name + ".json"));
  for (const bool special : {false, true}) {
    const text::EncodeOptions options{.add_special = special, .parse_special = special};
    for (const auto& item : description.at("cases")) {
      const std::string input = text::golden_input(item);
      EXPECT_EQ(a->encode(input, options), b->encode(input, options)) << input;
    }
  }
}

gguf::File golden_file(const std::string& name) {
  return gguf::File::open(text::golden_path(name + ".gguf"));
}

/// vocab and added_tokens of a tokenizer.json from a GGUF vocabulary.
void put_vocabulary(const gguf::Metadata& metadata, TokenizerFiles& files) {
  const auto texts = metadata.get_strings("tokenizer.ggml.tokens").value();
  const auto types = metadata.get_ints("tokenizer.ggml.token_type").value();
  Json vocabulary = Json::object(), added = Json::array();
  for (std::size_t id = 0; id < texts.size(); ++id) {
    if (types[id] == 5) continue;
    if (types[id] == 3 || types[id] == 4) {
      added.push_back(
          {{"id", id}, {"content", std::string(texts[id])}, {"special", types[id] == 3}});
    } else {
      vocabulary[std::string(texts[id])] = id;
    }
  }
  files.tokenizer["added_tokens"] = std::move(added);
  files.tokenizer["model"]["vocab"] = std::move(vocabulary);
  for (const auto& [role, key] : {std::pair("bos", "bos"), std::pair("eos", "eos")}) {
    const auto id = metadata.get_uint("tokenizer.ggml." + std::string(key) + "_token_id");
    if (id) files.config[std::string(role) + "_token_id"] = *id;
  }
}

TEST(ConvertTokenizer, ByteLevelVocabulariesTokenizeAsBefore) {
  struct Known {
    std::string name;
    Json pre_tokenizer;
    bool ignore_merges, composes;
  };
  const std::vector<Known> all = {
      {"llama-bpe", sequence({split(kLlama3), byte_level(false)}), true, false},
      {"qwen2", sequence({split(kQwen2), byte_level(false)}), false, true},
      {"gpt-2", byte_level(true), false, false},
      {"starcoder", sequence({{{"type", "Digits"}, {"individual_digits", true}}, byte_level(true)}),
       false, false}};
  for (const Known& known : all) {
    SCOPED_TRACE(known.name);
    HEARTH_REQUIRE_FILE(text::golden_path(known.name + ".gguf"));
    const gguf::File golden = golden_file(known.name);
    const auto merges = golden.metadata().get_strings("tokenizer.ggml.merges").value();
    TokenizerFiles files;
    files.tokenizer["model"] = {{"type", "BPE"}, {"ignore_merges", known.ignore_merges}};
    put_vocabulary(golden.metadata(), files);
    files.tokenizer["pre_tokenizer"] = known.pre_tokenizer;
    if (known.composes) files.tokenizer["normalizer"] = {{"type", "NFC"}};
    files.settings["clean_up_tokenization_spaces"] = known.name == "starcoder";
    files.settings["add_bos_token"] = known.name == "llama-bpe";
    // Both spellings of merges are in circulation.
    Json& list = files.tokenizer["model"]["merges"] = Json::array();
    for (const std::string_view merge : merges) {
      const std::size_t space = merge.find(' ', 1);
      if (known.name == "qwen2") {
        list.push_back({std::string(merge.substr(0, space)), std::string(merge.substr(space + 1))});
      } else {
        list.push_back(std::string(merge));
      }
    }
    const auto size =
        static_cast<std::int64_t>(golden.metadata().get_strings("tokenizer.ggml.tokens")->size());
    const gguf::File made = files.convert(size);
    EXPECT_EQ(made.metadata().get_string("tokenizer.ggml.pre"), known.name);
    EXPECT_EQ(made.metadata().get_strings("tokenizer.ggml.merges"), merges);
    expect_same_ids(made, golden, known.name);
  }
}

// Protocol buffers, as much as SentencePiece models need.
std::string varint(std::uint64_t value) {
  std::string bytes;
  for (; value >= 0x80; value >>= 7) bytes += static_cast<char>(value | 0x80);
  return bytes + static_cast<char>(value);
}
std::string field(unsigned number, const std::string& bytes) {
  return varint(number << 3 | 2) + varint(bytes.size()) + bytes;
}
std::string field(unsigned number, std::uint64_t value) {
  return varint(number << 3) + varint(value);
}
std::string piece(std::string_view text, float score, std::int64_t type) {
  std::string bits(4, '\0');
  std::memcpy(bits.data(), &score, 4);
  return field(1, field(1, std::string(text)) + varint(2 << 3 | 5) + bits +
                      (type == 1 ? "" : field(3, static_cast<std::uint64_t>(type))));
}

/// The tokenizer.model that a golden vocabulary came from.
std::string model_file(const gguf::Metadata& metadata, std::uint64_t kind) {
  const auto texts = metadata.get_strings("tokenizer.ggml.tokens").value();
  const auto scores = metadata.get_floats("tokenizer.ggml.scores").value();
  const auto types = metadata.get_ints("tokenizer.ggml.token_type").value();
  std::string bytes;
  for (std::size_t id = 0; id < texts.size(); ++id)
    bytes += piece(texts[id], static_cast<float>(scores[id]), types[id]);
  std::string charsmap;
  const auto map = metadata.get_ints("tokenizer.ggml.precompiled_charsmap")
                       .value_or(std::vector<std::int64_t>());
  for (const std::int64_t byte : map) charsmap += static_cast<char>(byte);
  const bool prefix = metadata.get_bool("tokenizer.ggml.add_space_prefix").value_or(true);
  const bool remove = metadata.get_bool("tokenizer.ggml.remove_extra_whitespaces").value_or(false);
  return bytes + field(2, field(3, kind) + field(7, std::string("text"))) +
         field(3, field(2, charsmap) + field(3, prefix ? 1 : 0) + field(4, remove ? 1 : 0));
}

TEST(ConvertTokenizer, SentencePieceModelsTokenizeAsBefore) {
  for (const auto& [name, kind] :
       {std::pair("llama-spm", 2), std::pair("mistral-v3", 2), std::pair("t5", 1)}) {
    SCOPED_TRACE(name);
    HEARTH_REQUIRE_FILE(text::golden_path(std::string(name) + ".gguf"));
    const gguf::File golden = golden_file(name);
    TokenizerFiles files;
    files.put("tokenizer.model", model_file(golden.metadata(), static_cast<std::uint64_t>(kind)));
    files.config["eos_token_id"] =
        golden.metadata().get_uint("tokenizer.ggml.eos_token_id").value();
    if (kind == 2) files.config["bos_token_id"] = 1;
    files.settings["unk_token"] = "<unk>";
    const auto scores = golden.metadata().get_floats("tokenizer.ggml.scores");
    const gguf::File made = files.convert(static_cast<std::int64_t>(scores->size()));
    EXPECT_EQ(made.metadata().get_string("tokenizer.ggml.model"), kind == 2 ? "llama" : "t5");
    EXPECT_EQ(made.metadata().get_floats("tokenizer.ggml.scores"), scores);
    EXPECT_EQ(made.metadata().get_ints("tokenizer.ggml.token_type"),
              golden.metadata().get_ints("tokenizer.ggml.token_type"));
    expect_same_ids(made, golden, name);
  }
}

TEST(ConvertTokenizer, SentencePieceBpeInJsonTokenizesAsBefore) {
  HEARTH_REQUIRE_FILE(text::golden_path("llama-spm.gguf"));
  const gguf::File golden = golden_file("llama-spm");
  const auto texts = golden.metadata().get_strings("tokenizer.ggml.tokens").value();
  const auto scores = golden.metadata().get_floats("tokenizer.ggml.scores").value();
  TokenizerFiles files;
  files.tokenizer["model"] = {{"type", "BPE"}, {"byte_fallback", true}, {"unk_token", "<unk>"}};
  put_vocabulary(golden.metadata(), files);
  files.tokenizer["normalizer"] = {
      {"type", "Sequence"},
      {"normalizers",
       {{{"type", "Prepend"}, {"prepend", "▁"}},
        {{"type", "Replace"}, {"pattern", {{"String", " "}}}, {"content", "▁"}}}}};
  files.settings["unk_token"] = "<unk>";
  // Every way to make a token of two, best tokens first: how such files are made.
  std::vector<std::size_t> order;
  std::map<std::string_view, std::size_t> ids;
  for (std::size_t id = 259; id < texts.size(); ++id) order.push_back(id);
  for (std::size_t id = 0; id < texts.size(); ++id) ids[texts[id]] = id;
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return scores[a] > scores[b]; });
  Json merges = Json::array();
  for (const std::size_t id : order) {
    for (std::size_t cut = 1; cut < texts[id].size(); ++cut) {
      const std::string_view left = texts[id].substr(0, cut), right = texts[id].substr(cut);
      if (ids.contains(left) && ids.contains(right))
        merges.push_back(std::string(left) + " " + std::string(right));
    }
  }
  files.tokenizer["model"]["merges"] = std::move(merges);
  const gguf::File made = files.convert(static_cast<std::int64_t>(texts.size()));
  EXPECT_EQ(made.metadata().get_string("tokenizer.ggml.model"), "llama");
  EXPECT_EQ(made.metadata().get_bool("tokenizer.ggml.add_space_prefix"), true);
  expect_same_ids(made, golden, "llama-spm");
}

TEST(ConvertTokenizer, WordPieceTokenizesAsBefore) {
  HEARTH_REQUIRE_FILE(text::golden_path("bert-bge.gguf"));
  const gguf::File golden = golden_file("bert-bge");
  const auto texts = golden.metadata().get_strings("tokenizer.ggml.tokens").value();
  std::string lines;
  Json vocabulary = Json::object(), added = Json::array();
  for (std::size_t id = 0; id < texts.size(); ++id) {
    std::string text(texts[id]);
    const bool bracketed = text.front() == '[' && text.back() == ']' && text.size() > 1;
    if (text.starts_with("▁")) {
      text = text.substr(3);
    } else if (!bracketed) {
      text = "##" + text;
    }
    vocabulary[text] = id;
    lines += text + "\n";
  }
  for (const int id : {0, 100, 101, 102, 103})
    added.push_back({{"id", id},
                     {"content", std::string(texts[static_cast<std::size_t>(id)])},
                     {"special", true}});
  for (const bool json : {true, false}) {
    TokenizerFiles files;
    files.settings = {{"cls_token", "[CLS]"},
                      {"sep_token", {{"content", "[SEP]"}}},
                      {"unk_token", "[UNK]"},
                      {"pad_token", "[PAD]"},
                      {"mask_token", "[MASK]"}};
    if (json) {
      files.tokenizer["added_tokens"] = added;
      files.tokenizer["model"] = {{"type", "WordPiece"}, {"vocab", vocabulary}};
      files.tokenizer["normalizer"] = {
          {"type", "BertNormalizer"}, {"lowercase", true}, {"strip_accents", nullptr}};
    } else {
      files.put("vocab.txt", lines);
    }
    const gguf::File made = files.convert(static_cast<std::int64_t>(texts.size()), "", "bert");
    EXPECT_EQ(made.metadata().get_strings("tokenizer.ggml.tokens"), texts);
    for (const auto& [key, id] : {std::pair("cls", 101U), std::pair("seperator", 102U),
                                  std::pair("unknown", 100U), std::pair("mask", 103U)}) {
      EXPECT_EQ(made.metadata().get_uint(std::string("tokenizer.ggml.") + key + "_token_id"), id);
    }
    expect_same_ids(made, golden, "bert-bge");
  }
}

// Names of pre-tokenizers.

TEST(ConvertTokenizer, KnownPreTokenizersAreWhatTheirNamesMean) {
  for (const KnownPreTokenizer& known : known_pre_tokenizers()) {
    const text::PreTokenizer named(known.name);
    EXPECT_EQ(named.traits().ignore_merges,
              known.ignore_merges.value_or(named.traits().ignore_merges))
        << known.name;
  }
}

TEST(ConvertTokenizer, PatternsInOtherSpellings) {
  TinyByteLevel files;
  std::string literal = kLlama3;
  for (const auto& [escape, character] : {std::pair("\\r", "\r"), std::pair("\\n", "\n")}) {
    for (std::size_t at = 0; (at = literal.find(escape)) != literal.npos;)
      literal.replace(at, 2, character);
  }
  Json removed = split(literal);
  removed["behavior"] = "Removed";
  removed["invert"] = true;
  files.tokenizer["pre_tokenizer"] = sequence({sequence({removed}), byte_level(false)});
  EXPECT_EQ(files.convert(4).metadata().get_string("tokenizer.ggml.pre"), "dbrx");
  files.tokenizer["model"]["ignore_merges"] = true;
  EXPECT_EQ(files.convert(4).metadata().get_string("tokenizer.ggml.pre"), "llama-bpe");
  EXPECT_EQ(files.convert(4, "", "lfm2").metadata().get_string("tokenizer.ggml.pre"), "lfm2");
  EXPECT_EQ(files.convert(4, "smaug-bpe").metadata().get_string("tokenizer.ggml.pre"), "smaug-bpe");
}

TEST(ConvertTokenizer, DeepSeekPatterns) {
  TinyByteLevel files;
  files.tokenizer["normalizer"] = {{"type", "Sequence"}, {"normalizers", Json::array()}};
  files.tokenizer["pre_tokenizer"] = sequence(
      {split(R"(\p{N}{1,3})"), split("[一-龥\u3040-ゟ゠-ヿ]+"),
       split("[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?"
             "[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\r\n]*|\\s*[\r\n]+|\\s+(?!\\S)|\\s+"),
       byte_level(false)});
  EXPECT_EQ(files.convert(4).metadata().get_string("tokenizer.ggml.pre"), "deepseek-v3");
}

TEST(ConvertTokenizer, UnknownPreTokenizersAreNeverGuessed) {
  TinyByteLevel files;
  files.tokenizer["pre_tokenizer"] = sequence({split(R"(\w+|\W+)"), byte_level(false)});
  std::string message = files.refusal(4);
  expect_part(message, R"('\w+|\W+')");
  expect_part(message, "--pre NAME");
  EXPECT_EQ(files.convert(4, "gpt-2").metadata().get_string("tokenizer.ggml.pre"), "gpt-2");
  expect_part(files.refusal(4, "no-such-name"), "no-such-name");

  files.tokenizer["pre_tokenizer"] = sequence({{{"type", "Punctuation"}}, byte_level(false)});
  expect_part(files.refusal(4), "'Punctuation'");
  files.tokenizer["pre_tokenizer"] = byte_level(true);
  files.tokenizer["pre_tokenizer"]["add_prefix_space"] = true;
  expect_part(files.refusal(4), "add_prefix_space");
  files.tokenizer["pre_tokenizer"] = byte_level(true);
  files.tokenizer["normalizer"] = {{"type", "Lowercase"}};
  expect_part(files.refusal(4), "'Lowercase'");
}

// Special tokens and flags.

TEST(ConvertTokenizer, AddedTokensAndUnusedRows) {
  TinyByteLevel files;
  files.tokenizer["added_tokens"].push_back({{"id", 5}, {"content", "<tag>"}, {"special", false}});
  files.settings["added_tokens_decoder"] = {{"6", {{"content", "<|forgotten|>"}}},
                                            {"99", {{"content", "beyond the rows"}}}};
  files.put("added_tokens.json", R"({"▁▁":7})");
  const gguf::File made = files.convert(9);
  EXPECT_EQ(made.metadata().get_strings("tokenizer.ggml.tokens"),
            (std::vector<std::string_view>{"a", "b", "ab", "<|end|>", "[PAD4]", "<tag>",
                                           "<|forgotten|>", "  ", "[PAD8]"}));
  EXPECT_EQ(made.metadata().get_ints("tokenizer.ggml.token_type"),
            (std::vector<std::int64_t>{1, 1, 1, 3, 5, 4, 3, 4, 5}));
}

TEST(ConvertTokenizer, WhetherBosAndEosAreAdded) {
  const Json bos = {{"SpecialToken", {{"id", "<|begin|>"}, {"type_id", 0}}}};
  const Json text = {{"Sequence", {{"id", "A"}, {"type_id", 0}}}};
  const Json with_bos = {
      {"type", "Sequence"},
      {"processors",
       {byte_level(true), {{"type", "TemplateProcessing"}, {"single", Json::array({bos, text})}}}}};
  const auto added = [&](const Json& processor, const char* kind, const Json& flag) {
    TinyByteLevel files;
    files.tokenizer["added_tokens"].push_back(
        {{"id", 4}, {"content", "<|begin|>"}, {"special", true}});
    files.settings["bos_token"] = "<|begin|>";
    files.settings["tokenizer_class"] = kind;
    files.settings["add_bos_token"] = flag;
    files.tokenizer["post_processor"] = processor;
    const gguf::File made = files.convert(5);
    EXPECT_EQ(made.metadata().get_bool("tokenizer.ggml.add_eos_token"), false);
    return made.metadata().get_bool("tokenizer.ggml.add_bos_token").value();
  };
  EXPECT_TRUE(added(with_bos, "PreTrainedTokenizerFast", nullptr));
  EXPECT_TRUE(added(with_bos, "PreTrainedTokenizerFast", false));  // the class ignores the flag
  EXPECT_FALSE(added(with_bos, "LlamaTokenizerFast", false));
  EXPECT_TRUE(added(byte_level(true), "LlamaTokenizerFast", true));
  EXPECT_FALSE(added(nullptr, "PreTrainedTokenizerFast", nullptr));
}

TEST(ConvertTokenizer, ChatTemplates) {
  const auto templates = [](const std::function<void(TokenizerFiles&)>& put) {
    TinyByteLevel files;
    put(files);
    const gguf::File made = files.convert(4);
    std::map<std::string, std::string> found;
    for (const gguf::KeyValue& entry : made.metadata().entries()) {
      if (entry.key.starts_with("tokenizer.chat_template") && made.metadata().get_string(entry.key))
        found[std::string(entry.key.substr(10))] = *made.metadata().get_string(entry.key);
    }
    return found;
  };
  using Found = std::map<std::string, std::string>;
  EXPECT_EQ(templates([](TokenizerFiles&) {}), Found());
  EXPECT_EQ(templates([](TokenizerFiles& files) { files.settings["chat_template"] = "one"; }),
            (Found{{"chat_template", "one"}}));
  EXPECT_EQ(templates([](TokenizerFiles& files) {
              files.settings["chat_template"] = {{{"name", "default"}, {"template", "one"}},
                                                 {{"name", "tool_use"}, {"template", "two"}}};
            }),
            (Found{{"chat_template", "one"}, {"chat_template.tool_use", "two"}}));
  EXPECT_EQ(templates([](TokenizerFiles& files) {
              files.settings["chat_template"] = "old";
              files.put("chat_template.jinja", "new");
              files.put("additional_chat_templates/rag.jinja", "more");
            }),
            (Found{{"chat_template", "new"}, {"chat_template.rag", "more"}}));
  EXPECT_EQ(templates([](TokenizerFiles& files) {
              files.put("chat_template.json", R"({"chat_template":"boxed"})");
            }),
            (Found{{"chat_template", "boxed"}}));
}

// What is wrong with a tokenizer.

TEST(ConvertTokenizer, MissingParts) {
  TokenizerFiles none;
  expect_part(none.refusal(4), "has no tokenizer");
  TinyByteLevel files;
  files.settings.erase("eos_token");
  expect_part(files.refusal(4), "ends a text");
  files.config["eos_token_id"] = Json::array({3});
  EXPECT_EQ(files.convert(4).metadata().get_uint("tokenizer.ggml.eos_token_id"), 3U);
  files.tokenizer["model"].erase("merges");
  files.tokenizer["model"]["type"] = "BPE";
  expect_part(files.refusal(4), "merges");
  files.tokenizer["model"]["type"] = "WordLevel";
  expect_part(files.refusal(4), "'WordLevel'");
  files.tokenizer["model"]["type"] = "Unigram";
  expect_part(files.refusal(4), "tokenizer.model");
}

TEST(ConvertTokenizer, TwoTokensWithTheSameText) {
  TinyByteLevel files;
  files.tokenizer["added_tokens"].push_back({{"id", 4}, {"content", "ab"}, {"special", true}});
  expect_part(files.refusal(5), "ids 2 and 4");
}

TEST(ConvertTokenizer, FilesOfWrongKinds) {
  for (const char* part : {"pre_tokenizer", "normalizer", "model", "added_tokens"}) {
    for (const Json& wrong : {Json(1), Json("x"), Json::array({1}), Json({{"type", 7}})}) {
      TinyByteLevel files;
      files.tokenizer[part] = wrong;
      EXPECT_NE(files.refusal(4), "accepted") << part << wrong;
    }
  }
  TinyByteLevel files;
  files.put("special_tokens_map.json", "[]");
  expect_part(files.refusal(4), "not a JSON object");
}

TEST(SentencePieceModel, DamagedFilesAreRefusedOrRead) {
  const std::string good = piece("<unk>", 0, 2) + piece("▁a", -1.5F, 1) + piece("<0x0A>", 0, 6) +
                           field(2, field(3, std::uint64_t{2})) + field(3, field(3, 0));
  const SentencePieceModel model = parse_sentencepiece(good, "good");
  ASSERT_EQ(model.pieces.size(), 3U);
  EXPECT_EQ(model.pieces[1].text, "▁a");
  EXPECT_EQ(model.pieces[1].score, -1.5F);
  EXPECT_EQ(model.pieces[2].type, 6);
  EXPECT_EQ(model.kind, SentencePieceModel::Kind::kBpe);
  EXPECT_FALSE(model.add_dummy_prefix);
  std::size_t refused = 0;
  for (std::size_t size = 0; size < good.size(); ++size) {
    try {
      (void)parse_sentencepiece(good.substr(0, size), "cut");
    } catch (const Error&) {
      ++refused;
    }
  }
  EXPECT_GE(refused, good.size() - 6);  // it may be cut between two fields
  for (std::size_t at = 0; at < good.size(); ++at) {
    for (const char byte : {'\0', '\x7F', '\xFF', static_cast<char>(good[at] + 1)}) {
      std::string changed = good;
      changed[at] = byte;
      try {
        EXPECT_LE(parse_sentencepiece(changed, "changed").pieces.size(), good.size());
      } catch (const Error&) {
      }
    }
  }
  for (const std::string& bad :
       {std::string(), std::string("\x0A\xFF\xFF\xFF\xFF\x0F", 6), std::string(20, '\xFF'),
        std::string("\x0F\x01"), field(1, field(1, std::string("\xFF"))),
        field(1, field(3, std::uint64_t{9})), std::string("\x02\x00", 2)}) {
    EXPECT_THROW((void)parse_sentencepiece(bad, "bad"), Error);
  }
}

}  // namespace
}  // namespace hearth::model::convert
