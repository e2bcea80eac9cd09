// What embedding models and rerankers read of texts: the model's own marks around them, its own
// prompt for reranking (reference: embedding.md).
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "gguf/file.h"
#include "spec/model_spec.h"
#include "text/tokenizer.h"

namespace hearth::generate {

using TokenList = std::vector<text::TokenId>;

class TextEncoder {
 public:
  /// Throws Error when the file's tokenizer is broken.
  TextEncoder(const gguf::Metadata& metadata, const spec::ModelSpec& spec);

  /// The text between the model's own marks ([CLS] and [SEP], BOS and EOS). Nothing in a text
  /// becomes a control token. Models that pool the last token and do not say whether they want an
  /// EOS get one: it is what they were trained to pool.
  [[nodiscard]] TokenList text(std::string_view text) const;
  /// The same, cut to at most `limit` tokens; a mark at the end stays there.
  [[nodiscard]] TokenList text(std::string_view text, std::int64_t limit) const;

  /// The model's own prompt for reranking (tokenizer.chat_template.rerank) where it has one, else
  /// [BOS] query [EOS] [SEP] document [EOS] with those marks that the model uses. Throws Error when
  /// the prompt cannot be rendered.
  [[nodiscard]] TokenList pair(std::string_view query, std::string_view document) const;
  /// The same with as much of the document as makes at most `limit` tokens; more when the rest
  /// alone is longer.
  [[nodiscard]] TokenList pair(std::string_view query, std::string_view document,
                               std::int64_t limit) const;

 private:
  [[nodiscard]] TokenList plain(std::string_view text) const;
  [[nodiscard]] TokenList prompted_pair(std::string_view query, std::string_view document) const;

  std::unique_ptr<text::Tokenizer> tokenizer_;
  std::optional<std::string> rerank_prompt_;
  TokenList opening_, closing_;      // marks around a text
  text::TokenId appended_end_ = -1;  // the EOS that text() adds itself; -1: none
  text::TokenId separator_ = -1;     // beside the closing mark, between two texts; -1: none
};

}  // namespace hearth::generate
