#include "model/convert/tokenizer.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <utility>

#include "model/convert/pre_tokenizer_names.h"
#include "model/convert/token_table.h"
#include "model/convert/tokenizer_models.h"
#include "support/error.h"
#include "support/file.h"
#include "text/pre_tokenizer.h"

namespace hearth::model::convert {
namespace {

constexpr std::size_t kMaxTokenizerBytes = std::size_t{256} << 20;
constexpr std::size_t kMaxTemplateBytes = std::size_t{4} << 20;
constexpr std::int64_t kMaxVocabulary = std::int64_t{1} << 24;
constexpr float kAddedTokenScore = -1000;  // below all pieces: they are never made by merging

class TokenizerConverter {
 public:
  TokenizerConverter(const TokenizerRequest& request, gguf::Writer& writer)
      : request_(&request),
        writer_(&writer),
        table_(static_cast<std::size_t>(request.vocabulary)),
        settings_(read_config(request.directory / "tokenizer_config.json")),
        special_map_(read_config(request.directory / "special_tokens_map.json")),
        generation_(read_config(request.directory / "generation_config.json")) {
    const std::filesystem::path path = request.directory / "tokenizer.json";
    if (std::filesystem::exists(path))
      tokenizer_ = Config(read_json(path, kMaxTokenizerBytes), "tokenizer.json");
  }

  void convert() {
    fill();
    write_special_ids();
    write_added_flags();
    write_templates();
  }

 private:
  [[nodiscard]] std::filesystem::path file(const char* name) const {
    return request_->directory / name;
  }
  [[nodiscard]] bool has_json() const { return !tokenizer_.json().empty(); }

  void fill() {
    const bool has_model = std::filesystem::exists(file("tokenizer.model"));
    if (has_json()) kind_ = kind_of(tokenizer_);
    const bool pieces =
        kind_ == TokenizerKind::kSentencePieceBpe || kind_ == TokenizerKind::kUnigram;
    if (has_model && (!has_json() || pieces)) {
      fill_from_pieces();
    } else if (kind_ == TokenizerKind::kByteLevelBpe) {
      fill_byte_level(tokenizer_, table_, *writer_);
      add_tokens(0);
      table_.write(*writer_, false);
      write_pre();
    } else if (kind_ == TokenizerKind::kSentencePieceBpe) {
      fill_sentencepiece_bpe(tokenizer_, table_, *writer_);
      add_tokens(kAddedTokenScore);
      table_.write(*writer_, true);
    } else if (kind_ == TokenizerKind::kWordPiece) {
      fill_word_piece(tokenizer_, table_, *writer_);
      write_word_piece();
    } else if (kind_ == TokenizerKind::kUnigram) {
      throw Error("tokenizer.json holds a Unigram vocabulary, whose SentencePiece model is needed",
                  "fetch tokenizer.model (or sentencepiece.bpe.model under that name), too");
    } else if (std::filesystem::exists(file("vocab.txt"))) {
      kind_ = TokenizerKind::kWordPiece;
      fill_word_piece(read_file(file("vocab.txt"), kMaxTokenizerBytes),
                      settings_.boolean("do_lower_case", true), table_, *writer_);
      write_word_piece();
    } else {
      throw Error(fmt::format("the folder '{}' has no tokenizer",
                              printable(request_->directory.string(), 300)),
                  "fetch tokenizer.json, tokenizer.model or vocab.txt, and tokenizer_config.json");
    }
    if (!request_->pre.empty() && kind_ != TokenizerKind::kByteLevelBpe) {
      throw Error("--pre is for byte-level BPE tokenizers; this one is of another kind",
                  "leave it out", ExitCode::kUsage);
    }
  }

  void fill_from_pieces() {
    const std::filesystem::path path = file("tokenizer.model");
    const SentencePieceModel model =
        parse_sentencepiece(read_file(path, kMaxTokenizerBytes), path.filename().string());
    fill_sentencepiece(model, table_, *writer_);
    kind_ = model.kind == SentencePieceModel::Kind::kUnigram ? TokenizerKind::kUnigram
                                                             : TokenizerKind::kSentencePieceBpe;
    add_tokens(kAddedTokenScore);
    table_.write(*writer_, true);
  }

  void write_word_piece() {
    add_tokens(0);
    table_.write(*writer_, false);
    writer_->set("tokenizer.ggml.token_type_count",
                 static_cast<std::uint32_t>(request_->config.integer("type_vocab_size", 2)));
  }

  void add_tokens(float score) {
    table_.add(read_added_tokens(request_->directory, tokenizer_, settings_), score);
  }

  void write_pre() {
    std::string name = request_->pre;
    if (!name.empty()) {
      (void)text::PreTokenizer(name);  // throws, listing the known ones
    } else {
      PreTokenizerSignature signature = read_signature(tokenizer_);
      signature.clean_spaces = settings_.boolean("clean_up_tokenization_spaces", false);
      name = pre_tokenizer_name(signature);
      if (name.empty()) {
        throw Error(fmt::format("the pre-tokenizer of tokenizer.json is not a known one: {}",
                                described(signature)),
                    "if you know which one it is, name it: --pre NAME (a value of "
                    "tokenizer.ggml.pre, such as llama-bpe or qwen2)");
      }
      if (request_->architecture == "lfm2" && name == "llama-bpe") name = "lfm2";
    }
    writer_->set("tokenizer.ggml.pre", name);
  }

  static std::string described(const PreTokenizerSignature& signature) {
    std::string patterns;
    for (const std::string& pattern : signature.patterns)
      patterns += fmt::format("{}'{}'", patterns.empty() ? "" : ", ", printable(pattern));
    return fmt::format("patterns {}{}{}", patterns.empty() ? "none" : patterns,
                       signature.ignore_merges ? ", merges ignored for whole words" : "",
                       signature.composes ? ", after composition (NFC)" : "");
  }

  /// The text of a special token: a string, or an object with its content.
  [[nodiscard]] static std::optional<std::string> special_text(const Config& config,
                                                               const std::string& key) {
    const auto found = config.json().find(key);
    if (found == config.json().end()) return std::nullopt;
    if (found->is_string()) return found->get<std::string>();
    if (found->is_object()) return Config(*found, config.where()).string("content");
    return std::nullopt;
  }

  /// The id of the token with a role ("eos"): by its text, else by the ids of the configurations.
  [[nodiscard]] std::optional<std::int64_t> special_id(const std::string& role) const {
    for (const Config* config : {&settings_, &special_map_}) {
      const auto text = special_text(*config, role + "_token");
      if (!text) continue;
      if (const auto id = table_.find(*text)) return id;
    }
    for (const Config& config : {generation_, request_->config}) {
      for (const std::int64_t id : config.integers(role + "_token_id")) {
        if (table_.used(id)) return id;
      }
    }
    return std::nullopt;
  }

  void write_id(const char* key, std::optional<std::int64_t> id) {
    if (!id) return;
    writer_->set(fmt::format("tokenizer.ggml.{}_token_id", key), static_cast<std::uint32_t>(*id));
  }

  void write_special_ids() {
    bos_ = special_id("bos");
    eos_ = special_id("eos");
    const auto cls = special_id("cls"), sep = special_id("sep");
    if (kind_ == TokenizerKind::kWordPiece) {  // readers take [CLS] and [SEP] from these keys
      if (!cls || !sep) throw Error("the tokenizer has no [CLS] or no [SEP] token");
      bos_ = cls;
      eos_ = sep;
    }
    if (!eos_) {
      throw Error("no file of the checkpoint names a token that ends a text (eos_token)",
                  "fetch tokenizer_config.json and generation_config.json");
    }
    write_id("bos", bos_);
    write_id("eos", eos_);
    write_id("unknown", special_id("unk"));
    write_id("seperator", sep);
    write_id("padding", special_id("pad"));
    write_id("cls", cls);
    write_id("mask", special_id("mask"));

    std::set<std::int64_t> ends = {*eos_};
    for (const Config& config : {generation_, request_->config}) {
      for (const std::int64_t id : config.integers("eos_token_id")) {
        if (table_.used(id)) ends.insert(id);
      }
    }
    if (ends.size() > 1) {
      writer_->set_array("tokenizer.ggml.eos_token_ids",
                         std::vector<std::int32_t>(ends.begin(), ends.end()));
    }
  }

  /// Whether the post-processor of tokenizer.json writes `id` before (or after) a text; nothing
  /// when it has no template.
  [[nodiscard]] std::optional<bool> template_adds(std::optional<std::int64_t> id,
                                                  bool before) const {
    const Config post = tokenizer_.object("post_processor");
    std::vector<Config> candidates = {post};
    if (const auto list = post.json().find("processors");
        list != post.json().end() && list->is_array()) {
      for (const Json& item : *list) candidates.emplace_back(item, post.where());
    }
    for (const Config& candidate : candidates) {
      if (candidate.string("type", std::string()) != "TemplateProcessing") continue;
      const auto single = candidate.json().find("single");
      if (single == candidate.json().end() || !single->is_array() || single->empty()) return false;
      const Json& item = before ? single->front() : single->back();
      const auto special = item.find("SpecialToken");
      if (special == item.end() || !special->is_object()) return false;
      const auto found = table_.find(Config(*special, candidate.where()).string("id"));
      return found && id && *found == *id;
    }
    return std::nullopt;
  }

  [[nodiscard]] bool adds(const char* flag, std::optional<std::int64_t> id, bool before,
                          bool fallback) const {
    // The Llama and Gemma classes rewrite the post-processor from the flag; others obey the latter.
    const std::string type = settings_.string("tokenizer_class", std::string());
    const bool flag_decides =
        type.starts_with("Llama") || type.starts_with("Gemma") || type.starts_with("CodeLlama");
    const std::optional<bool> from_template = template_adds(id, before);
    if (settings_.has(flag) && (flag_decides || !from_template)) return settings_.boolean(flag);
    return from_template.value_or(fallback);
  }

  void write_added_flags() {
    if (kind_ == TokenizerKind::kWordPiece) return;  // always [CLS] and [SEP]
    const bool sentencepiece = kind_ == TokenizerKind::kSentencePieceBpe;
    const bool bos = bos_ && adds("add_bos_token", bos_, true, sentencepiece);
    const bool eos = adds("add_eos_token", eos_, false, kind_ == TokenizerKind::kUnigram);
    writer_->set("tokenizer.ggml.add_bos_token", bos);
    writer_->set("tokenizer.ggml.add_eos_token", eos);
  }

  void write_template(const std::string& name, const std::string& text) {
    if (text.size() > kMaxTemplateBytes)
      throw Error("a chat template of the checkpoint is longer than 4 MB");
    if (name.empty() || name == "default") {
      writer_->set("tokenizer.chat_template", text);
      return;
    }
    template_names_.push_back(name);
    writer_->set("tokenizer.chat_template." + name, text);
  }

  /// chat_template.jinja and additional_chat_templates/, else the template(s) of
  /// tokenizer_config.json, else chat_template.json.
  void write_templates() {
    const auto path = file("chat_template.jinja");
    const auto inside = settings_.json().find("chat_template");
    if (std::filesystem::exists(path)) {
      write_template("", read_file(path, kMaxTemplateBytes));
      const auto folder = file("additional_chat_templates");
      std::set<std::filesystem::path> more;
      if (std::filesystem::is_directory(folder)) {
        for (const auto& entry : std::filesystem::directory_iterator(folder)) {
          if (entry.path().extension() == ".jinja") more.insert(entry.path());
        }
      }
      for (const auto& each : more)
        write_template(each.stem().string(), read_file(each, kMaxTemplateBytes));
    } else if (inside != settings_.json().end() && inside->is_string()) {
      write_template("", inside->get<std::string>());
    } else if (inside != settings_.json().end() && inside->is_array()) {
      for (const Json& item : *inside) {
        const Config named(item, settings_.where() + ", chat_template");
        write_template(named.string("name"), named.string("template"));
      }
    } else {
      const Config processor = read_config(file("chat_template.json"));
      if (processor.has("chat_template")) write_template("", processor.string("chat_template"));
    }
    if (!template_names_.empty()) writer_->set_array("tokenizer.chat_templates", template_names_);
  }

  const TokenizerRequest* request_;
  gguf::Writer* writer_;
  TokenTable table_;
  Config settings_, special_map_, generation_;
  Config tokenizer_;
  std::optional<TokenizerKind> kind_;
  std::optional<std::int64_t> bos_, eos_;
  std::vector<std::string> template_names_;
};

}  // namespace

void convert_tokenizer(const TokenizerRequest& request, gguf::Writer& writer) {
  if (request.vocabulary < 1 || request.vocabulary > kMaxVocabulary)
    throw Error(fmt::format("a vocabulary of {} tokens is out of range", request.vocabulary));
  TokenizerConverter(request, writer).convert();
}

}  // namespace hearth::model::convert
