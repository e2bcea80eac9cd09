#include "generate/text_encoder.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "text/chat_template.h"

namespace hearth::generate {

namespace {

constexpr std::string_view kQueryMark = "{query}", kDocumentMark = "{document}";

/// The prompt with the query and the document in the places that are marked for them. What they
/// hold is data, whatever it looks like.
text::Prompt filled_in(std::string_view prompt, std::string_view query, std::string_view document) {
  text::Prompt result;
  while (!prompt.empty()) {
    const std::size_t at_query = prompt.find(kQueryMark);
    const std::size_t at_document = prompt.find(kDocumentMark);
    const std::size_t at = std::min({at_query, at_document, prompt.size()});
    result.append(prompt.substr(0, at), text::Origin::kTemplate);
    if (at == prompt.size()) break;
    const bool is_query = at == at_query;
    result.append(is_query ? query : document, text::Origin::kData);
    prompt.remove_prefix(at + (is_query ? kQueryMark : kDocumentMark).size());
  }
  return result;
}

bool is_jinja(std::string_view prompt) {
  return prompt.find("{{") != std::string_view::npos || prompt.find("{%") != std::string_view::npos;
}

/// A beginning of `text` of at most `bytes` bytes that does not end inside a character.
std::string_view cut_text(std::string_view text, std::size_t bytes) {
  if (bytes >= text.size()) return text;
  while (bytes > 0 && (static_cast<unsigned char>(text[bytes]) & 0xC0U) == 0x80U) --bytes;
  return text.substr(0, bytes);
}

}  // namespace

TextEncoder::TextEncoder(const gguf::Metadata& metadata, const spec::ModelSpec& spec)
    : tokenizer_(text::Tokenizer::create(metadata)) {
  const text::SpecialTokens& special = tokenizer_->special();
  const TokenList marks = tokenizer_->encode(std::string_view(), {.add_special = true});
  const bool opens = !marks.empty() && (marks.size() > 1 || special.add_bos);
  const auto middle = marks.begin() + (opens ? 1 : 0);
  opening_.assign(marks.begin(), middle);
  closing_.assign(middle, marks.end());
  // [SEP] is the closing mark of WordPiece, and serves as the separator, too.
  const bool closes_by_separator = metadata.get_string("tokenizer.ggml.model") == "bert";
  if (special.add_separator && !closes_by_separator) separator_ = special.separator;
  if (spec.pooling.kind == spec::PoolingKind::kLast && closing_.empty() &&
      !metadata.contains("tokenizer.ggml.add_eos_token")) {
    appended_end_ = special.eos;
  }
  if (const auto prompt = metadata.get_string("tokenizer.chat_template.rerank")) {
    rerank_prompt_ = std::string(*prompt);
  }
}

TokenList TextEncoder::plain(std::string_view text) const {
  return tokenizer_->encode(text, {.add_special = false, .parse_special = false});
}

TokenList TextEncoder::text(std::string_view text) const {
  TokenList tokens = tokenizer_->encode(text, {.add_special = true, .parse_special = false});
  if (appended_end_ >= 0) tokens.push_back(appended_end_);
  return tokens;
}

TokenList TextEncoder::text(std::string_view text, std::int64_t limit) const {
  TokenList tokens = this->text(text);
  const auto most = static_cast<std::size_t>(std::max<std::int64_t>(limit, 0));
  if (tokens.size() <= most || most == 0) return tokens;
  const text::TokenId last = tokens.back();
  tokens.resize(most);
  if (!closing_.empty() || appended_end_ >= 0) tokens.back() = last;
  return tokens;
}

TokenList TextEncoder::prompted_pair(std::string_view query, std::string_view document) const {
  if (!is_jinja(*rerank_prompt_)) {
    return tokenizer_->encode(filled_in(*rerank_prompt_, query, document), false);
  }
  const text::ChatTemplate prompt(*rerank_prompt_, "the model's prompt for reranking");
  const nlohmann::ordered_json variables = {{"query", std::string(query)},
                                            {"document", std::string(document)}};
  return tokenizer_->encode(prompt.render_context(variables, {}, text::DateTime::now()), false);
}

TokenList TextEncoder::pair(std::string_view query, std::string_view document) const {
  if (rerank_prompt_) return prompted_pair(query, document);
  TokenList tokens = opening_;
  const auto append = [&](const TokenList& more) {
    tokens.insert(tokens.end(), more.begin(), more.end());
  };
  append(plain(query));
  append(closing_);
  if (separator_ >= 0) tokens.push_back(separator_);
  append(plain(document));
  append(closing_);
  return tokens;
}

TokenList TextEncoder::pair(std::string_view query, std::string_view document,
                            std::int64_t limit) const {
  TokenList tokens = pair(query, document);
  while (static_cast<std::int64_t>(tokens.size()) > limit && !document.empty()) {
    // As much less as there is too much, and one byte, so that it ends.
    const double share =
        static_cast<double>(std::max<std::int64_t>(limit, 0)) / static_cast<double>(tokens.size());
    document = cut_text(
        document, std::min(document.size() - 1,
                           static_cast<std::size_t>(static_cast<double>(document.size()) * share)));
    tokens = pair(query, document);
  }
  return tokens;
}

}  // namespace hearth::generate
