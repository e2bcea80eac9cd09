#include "text/vocabulary.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "support/ascii.h"
#include "support/error.h"

namespace hearth::text {
namespace {

using std::string_view_literals::operator""sv;

constexpr std::string_view kEndOfTurnTexts[] = {
    "<|eot_id|>",        "<|im_end|>", "<|end|>", "<end_of_turn>", "<|endoftext|>",
    "<|end_of_text|>",   "<EOT>",      "_<EOT>",  "[EOT]",         "<｜end▁of▁sentence｜>",
    "<end_of_utterance>"};
constexpr std::string_view kEndOfMessageTexts[] = {"<|eom_id|>"};
constexpr std::string_view kFimPrefixTexts[] = {"<|fim_prefix|>",  "<fim-prefix>", "<fim_prefix>",
                                                "<｜fim▁begin｜>", "<PRE>",        "▁<PRE>",
                                                "<|code_prefix|>", "<|prefix|>"};
constexpr std::string_view kFimSuffixTexts[] = {"<|fim_suffix|>",  "<fim-suffix>", "<fim_suffix>",
                                                "<｜fim▁hole｜>",  "<SUF>",        "▁<SUF>",
                                                "<|code_suffix|>", "<|suffix|>"};
constexpr std::string_view kFimMiddleTexts[] = {"<|fim_middle|>",  "<fim-middle>", "<fim_middle>",
                                                "<｜fim▁end｜>",   "<MID>",        "▁<MID>",
                                                "<|code_middle|>", "<|middle|>"};
constexpr std::string_view kFimPaddingTexts[] = {"<|fim_pad|>", "<fim-pad>", "<fim_pad>", "<PAD>",
                                                 "[PAD]"};
constexpr std::string_view kFimRepositoryTexts[] = {"<|fim_repo|>", "<|repo_name|>", "<fim-repo>",
                                                    "<REPO>", "<reponame>"};
constexpr std::string_view kFimSeparatorTexts[] = {"<|file_sep|>"};
constexpr std::string_view kEndOfGenerationTexts[] = {"<|eot_id|>",
                                                      "<|im_end|>",
                                                      "<|end|>",
                                                      "<|return|>",
                                                      "<|call|>",
                                                      "<|flush|>",
                                                      "<|calls|>",
                                                      "<end_of_turn>",
                                                      "<|endoftext|>",
                                                      "</s>",
                                                      "<|eom_id|>",
                                                      "<EOT>",
                                                      "_<EOT>",
                                                      "[EOT]",
                                                      "[EOS]",
                                                      "<|end_of_text|>",
                                                      "<end_of_utterance>",
                                                      "<eos>",
                                                      "<turn|>",
                                                      "<|tool_response>",
                                                      "<｜end▁of▁sentence｜>",
                                                      "[e~["};
/// Markup of documents, not of conversations, that some vocabularies hold as user-defined tokens.
constexpr std::string_view kDocumentElements[] = {
    "table", "caption", "thead", "tbody", "tfoot", "tr",  "th",         "td",
    "h1",    "h2",      "h3",    "h4",    "h5",    "h6",  "blockquote", "strong",
    "em",    "b",       "i",     "u",     "s",     "sub", "sup",        "code"};

constexpr std::size_t kMostTokens = std::size_t{1} << 24;

bool is_document_element(std::string_view markup) {
  std::string_view name = markup.substr(1, markup.size() - 2);
  if (name.starts_with('/')) name.remove_prefix(1);
  return std::find(std::begin(kDocumentElements), std::end(kDocumentElements), name) !=
         std::end(kDocumentElements);
}

/// Whether the text of a user-defined token looks like markup of a conversation.
bool is_conversation_markup(std::string_view text) {
  constexpr auto kSpaces = " \t\r\n"sv;
  while (!text.empty() && kSpaces.find(text.front()) != kSpaces.npos) text.remove_prefix(1);
  while (!text.empty() && kSpaces.find(text.back()) != kSpaces.npos) text.remove_suffix(1);
  if (text.starts_with("▁")) text.remove_prefix("▁"sv.size());
  if (text.size() < 3) return false;
  const bool angled = text.front() == '<' && text.back() == '>';
  const bool bracketed = text.front() == '[' && text.back() == ']';
  return bracketed || (angled && !is_document_element(text));
}

std::uint16_t attributes_of_type(std::int64_t type) {
  switch (type) {
    case 1:
      return attribute::kNormal;
    case 2:
      return attribute::kUnknown;
    case 3:
      return attribute::kControl;
    case 4:
      return attribute::kUserDefined;
    case 5:
      return attribute::kUnused;
    case 6:
      return attribute::kByte;
    default:
      return 0;
  }
}

}  // namespace

std::optional<unsigned char> parse_byte_text(std::string_view text) noexcept {
  if (text.size() != 6 || !text.starts_with("<0x") || text.back() != '>') return std::nullopt;
  unsigned value = 0;
  for (const char c : text.substr(3, 2)) {
    const bool digit = c >= '0' && c <= '9';
    const bool letter = c >= 'A' && c <= 'F';
    if (!digit && !letter) return std::nullopt;
    value = value * 16 + static_cast<unsigned>(digit ? c - '0' : c - 'A' + 10);
  }
  return static_cast<unsigned char>(value);
}

Vocabulary::Vocabulary(std::size_t size) : attributes_(size), reserved_(size), parsed_only_(size) {
  texts_.reserve(size, size * 12);
  for (std::size_t id = 0; id < size; ++id) texts_.add(fmt::format("[EMPTY_{}]", id));
}

Vocabulary::Vocabulary(const gguf::Metadata& metadata, const VocabularyDefaults& defaults) {
  read_texts(metadata);
  read_attributes(metadata);
  read_scores(metadata);
  read_special(metadata, defaults);
  detect_roles(metadata);
  collect_end_tokens(metadata);
  correct_end_tokens();
  set_strip_rules(metadata);
  index_bytes();
  mark_reserved();
}

void Vocabulary::read_texts(const gguf::Metadata& metadata) {
  const auto texts = metadata.get_strings("tokenizer.ggml.tokens");
  if (!texts) {
    throw Error(
        "the file has no vocabulary: tokenizer.ggml.tokens is missing or not an array of strings",
        "use a model file that has one");
  }
  if (texts->empty()) throw Error("the vocabulary (tokenizer.ggml.tokens) is empty");
  if (texts->size() > kMostTokens) {
    throw Error(fmt::format("the vocabulary has {} tokens, more than {} are not supported",
                            texts->size(), kMostTokens));
  }
  std::size_t bytes = 0;
  for (const std::string_view text : *texts) bytes += text.empty() ? 20 : text.size();
  texts_.reserve(texts->size(), bytes);
  for (std::size_t id = 0; id < texts->size(); ++id) {
    const std::string_view text = (*texts)[id];
    const std::uint32_t added =
        text.empty() ? texts_.add(fmt::format("[EMPTY_{}]", id)) : texts_.add(text);
    if (added == TextIndex::kNone) {
      throw Error(
          fmt::format(
              "the vocabulary has two tokens with the text \"{}\" (tokenizer.ggml.tokens, id {})",
              printable(text), id),
          "the file was converted wrongly; get another one");
    }
    longest_text_ = std::max(longest_text_, text.size());
  }
}

void Vocabulary::read_attributes(const gguf::Metadata& metadata) {
  attributes_.assign(texts_.size(), attribute::kNormal);
  parsed_only_.assign(texts_.size(), false);
  if (!metadata.contains("tokenizer.ggml.token_type")) return;
  const auto types = metadata.get_ints("tokenizer.ggml.token_type");
  if (!types || types->size() < size()) {
    throw Error("tokenizer.ggml.token_type is not an array of integers with one element per token");
  }
  for (std::size_t id = 0; id < size(); ++id) {
    attributes_[id] = attributes_of_type((*types)[id]);
    parsed_only_[id] = (attributes_[id] & (attribute::kControl | attribute::kUnknown)) != 0;
  }
}

void Vocabulary::read_scores(const gguf::Metadata& metadata) {
  if (!metadata.contains("tokenizer.ggml.scores")) return;
  const auto scores = metadata.get_floats("tokenizer.ggml.scores");
  if (!scores || scores->size() < size()) {
    throw Error("tokenizer.ggml.scores is not an array of numbers with one element per token");
  }
  scores_.reserve(size());
  for (std::size_t id = 0; id < size(); ++id) {
    const auto score = static_cast<float>((*scores)[id]);
    if (std::isnan(score))
      throw Error(fmt::format("the score of token {} is not a number (tokenizer.ggml.scores)", id));
    scores_.push_back(score);
  }
}

void Vocabulary::read_special(const gguf::Metadata& metadata, const VocabularyDefaults& defaults) {
  const auto valid = [&](std::uint64_t id) { return id < size(); };
  const auto read = [&](TokenId& target, TokenId fallback, std::string_view name) {
    target = fallback >= 0 && valid(static_cast<std::uint64_t>(fallback)) ? fallback : -1;
    const auto stored = metadata.get_uint(fmt::format("tokenizer.ggml.{}_token_id", name));
    if (stored && valid(*stored)) target = static_cast<TokenId>(*stored);
  };
  read(special_.bos, defaults.bos, "bos");
  read(special_.eos, defaults.eos, "eos");
  read(special_.eot, -1, "eot");
  read(special_.eom, -1, "eom");
  read(special_.unknown, defaults.unknown, "unknown");
  read(special_.separator, defaults.separator, "seperator");
  read(special_.padding, defaults.padding, "padding");
  read(special_.mask, defaults.mask, "mask");
  read(special_.fim_prefix, -1, "prefix");
  read(special_.fim_suffix, -1, "suffix");
  read(special_.fim_middle, -1, "middle");
  read(special_.fim_prefix, special_.fim_prefix, "fim_pre");
  read(special_.fim_suffix, special_.fim_suffix, "fim_suf");
  read(special_.fim_middle, special_.fim_middle, "fim_mid");
  read(special_.fim_padding, -1, "fim_pad");
  read(special_.fim_repository, -1, "fim_rep");
  read(special_.fim_separator, -1, "fim_sep");
  special_.add_bos = metadata.get_bool("tokenizer.ggml.add_bos_token").value_or(defaults.add_bos) ||
                     defaults.force_add_bos;
  special_.add_eos = metadata.get_bool("tokenizer.ggml.add_eos_token").value_or(defaults.add_eos);
  special_.add_separator =
      metadata.get_bool("tokenizer.ggml.add_sep_token").value_or(defaults.add_separator);
  add_space_prefix_ =
      metadata.get_bool("tokenizer.ggml.add_space_prefix").value_or(defaults.add_space_prefix);
  for (const std::int64_t id :
       metadata.get_ints("tokenizer.ggml.suppress_tokens").value_or(std::vector<std::int64_t>())) {
    if (id >= 0 && valid(static_cast<std::uint64_t>(id)))
      suppressed_.push_back(static_cast<TokenId>(id));
  }
}

std::optional<TokenId> Vocabulary::find(std::string_view text) const noexcept {
  const std::uint32_t number = texts_.find(text);
  if (number == TextIndex::kNone) return std::nullopt;
  return static_cast<TokenId>(number);
}

void Vocabulary::add(std::string_view text, std::uint16_t flags) {
  if (const auto id = find(text)) attributes_[static_cast<std::size_t>(*id)] |= flags;
}

void Vocabulary::set(std::string_view text, std::uint16_t flags) {
  if (const auto id = find(text)) attributes_[static_cast<std::size_t>(*id)] = flags;
}

/// The first of `texts` that is a token; it becomes a control token.
TokenId Vocabulary::first_of(std::span<const std::string_view> texts) {
  for (const std::string_view text : texts) {
    if (const auto id = find(text)) {
      add(text, attribute::kControl);
      return *id;
    }
  }
  return -1;
}

void Vocabulary::detect_roles(const gguf::Metadata&) {
  const auto detect = [&](TokenId& role, std::span<const std::string_view> texts) {
    if (role < 0) role = first_of(texts);
  };
  detect(special_.eot, kEndOfTurnTexts);
  detect(special_.eom, kEndOfMessageTexts);
  detect(special_.fim_prefix, kFimPrefixTexts);
  detect(special_.fim_suffix, kFimSuffixTexts);
  detect(special_.fim_middle, kFimMiddleTexts);
  detect(special_.fim_padding, kFimPaddingTexts);
  detect(special_.fim_repository, kFimRepositoryTexts);
  detect(special_.fim_separator, kFimSeparatorTexts);
}

void Vocabulary::collect_end_tokens(const gguf::Metadata& metadata) {
  for (const std::string_view text :
       {"<|channel|>"sv, "<|message|>"sv, "<|start|>"sv, "<|constrain|>"sv}) {
    set(text, attribute::kUserDefined);
  }
  for (const std::string_view text : kEndOfGenerationTexts) {
    add(text, attribute::kControl);
    if (const auto id = find(text)) ends_.push_back(*id);
  }
  for (const TokenId id : {special_.eos, special_.eot, special_.eom, special_.fim_padding,
                           special_.fim_repository, special_.fim_separator}) {
    if (id >= 0) ends_.push_back(id);
  }
  for (const std::int64_t id :
       metadata.get_ints("tokenizer.ggml.eos_token_ids").value_or(std::vector<std::int64_t>())) {
    if (id >= 0 && static_cast<std::uint64_t>(id) < size())
      ends_.push_back(static_cast<TokenId>(id));
  }
}

/// In some vocabularies a text that usually ends a generation does not.
void Vocabulary::correct_end_tokens() {
  const auto ends_with = [&](std::string_view text) {
    const auto id = find(text);
    return id && std::find(ends_.begin(), ends_.end(), *id) != ends_.end();
  };
  const auto continues_after = [&](std::string_view text, std::uint16_t flags) {
    const TokenId id = find(text).value();
    std::erase(ends_, id);
    if (special_.eot == id) special_.eot = -1;
    set(text, flags);
  };
  const bool harmony = ends_with("<|return|>") && ends_with("<|call|>");
  const bool solar = (ends_with("<|calls|>") || ends_with("<|call|>")) && ends_with("<|flush|>");
  if ((harmony || solar) && ends_with("<|end|>"))
    continues_after("<|end|>", attribute::kUserDefined);
  if (ends_with("<|tool_response>") && ends_with("</s>"))
    continues_after("</s>", attribute::kNormal);
  std::sort(ends_.begin(), ends_.end());
}

void Vocabulary::set_strip_rules(const gguf::Metadata& metadata) {
  const std::string name = ascii_lower(metadata.get_string("general.name").value_or(""));
  const std::string pre(metadata.get_string("tokenizer.ggml.pre").value_or(""));
  const std::string_view architecture = metadata.get_string("general.architecture").value_or("");
  const auto contains = [](std::string_view text, std::string_view part) {
    return text.find(part) != text.npos;
  };
  for (std::size_t id = 0; id < size(); ++id) {
    const bool control = (attributes_[id] & attribute::kControl) != 0;
    if (control && contains(texts_[id], "unused")) attributes_[id] |= attribute::kUnused;
  }
  if (contains(pre, "jina-v2-de") || contains(pre, "jina-v2-es") || contains(pre, "jina-v2-code") ||
      architecture == "nomic-bert-moe" || architecture == "jina-bert-v3") {
    add("<mask>", attribute::kLeftStrip);
  }
  if (contains(name, "modern-bert")) add("[MASK]", attribute::kLeftStrip);
  if (contains(name, "phi-3") || contains(name, "phi3")) {
    for (std::uint16_t& flags : attributes_) {
      if ((flags & attribute::kSpecial) != 0) flags |= attribute::kRightStrip;
    }
    add("</s>", attribute::kRightStrip);
    for (const std::string_view text : {"<unk>"sv, "<s>"sv, "<|endoftext|>"sv}) {
      if (const auto id = find(text)) {
        attributes_[static_cast<std::size_t>(*id)] &=
            static_cast<std::uint16_t>(~attribute::kRightStrip);
      }
    }
  }
}

void Vocabulary::index_bytes() {
  for (unsigned byte = 0; byte < 256; ++byte) {
    byte_tokens_[byte] = find(fmt::format("<0x{:02X}>", byte)).value_or(-1);
  }
}

void Vocabulary::mark_reserved() {
  reserved_.assign(size(), false);
  for (std::size_t id = 0; id < size(); ++id) {
    const std::uint16_t flags = attributes_[id];
    if ((flags & (attribute::kControl | attribute::kUnknown)) != 0) parsed_only_[id] = true;
    reserved_[id] = (flags & (attribute::kControl | attribute::kUnknown)) != 0 ||
                    ((flags & attribute::kUserDefined) != 0 && is_conversation_markup(texts_[id]));
  }
}

bool Vocabulary::ends_generation(TokenId id) const noexcept {
  return std::binary_search(ends_.begin(), ends_.end(), id);
}

}  // namespace hearth::text
