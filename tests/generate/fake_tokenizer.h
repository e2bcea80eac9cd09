// A tokenizer over a list of texts, for tests that need to know exactly which token is which.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "text/tokenizer.h"

namespace hearth::testing {

/// Token i has texts[i]; texts like "<x>" are control tokens. Encoding takes the longest match at
/// every place.
class FakeTokenizer final : public text::Tokenizer {
 public:
  explicit FakeTokenizer(std::vector<std::string> texts) : texts_(std::move(texts)) {}

  text::SpecialTokens roles;
  std::vector<text::TokenId> ends;
  std::vector<text::TokenId> never;

  std::vector<text::TokenId> encode(std::string_view text,
                                    const text::EncodeOptions& options) const override {
    std::vector<text::TokenId> ids;
    if (options.add_special && roles.bos >= 0) ids.push_back(roles.bos);
    append(ids, text, options.parse_special);
    return ids;
  }
  std::vector<text::TokenId> encode(const text::Prompt& prompt, bool add_special) const override {
    std::vector<text::TokenId> ids;
    if (add_special && roles.bos >= 0) ids.push_back(roles.bos);
    for (const text::Span& span : prompt.spans)
      append(ids, span.text, span.origin == text::Origin::kTemplate);
    return ids;
  }
  std::string decode(std::span<const text::TokenId> ids,
                     const text::DecodeOptions& options) const override {
    std::string text;
    for (const text::TokenId id : ids) text += piece(id, options.special);
    return text;
  }
  std::string piece(text::TokenId id, bool special) const override {
    return special || type(id) != text::TokenType::kControl
               ? texts_.at(static_cast<std::size_t>(id))
               : "";
  }
  std::string_view stored_text(text::TokenId id) const override {
    return texts_.at(static_cast<std::size_t>(id));
  }
  text::TokenType type(text::TokenId id) const override {
    const std::string& text = texts_.at(static_cast<std::size_t>(id));
    const bool control = text.size() > 2 && text.front() == '<' && text.back() == '>';
    return control ? text::TokenType::kControl : text::TokenType::kNormal;
  }
  std::optional<text::TokenId> find(std::string_view stored_text) const override {
    for (std::size_t id = 0; id < texts_.size(); ++id) {
      if (texts_[id] == stored_text) return static_cast<text::TokenId>(id);
    }
    return std::nullopt;
  }
  std::size_t size() const noexcept override { return texts_.size(); }
  const text::SpecialTokens& special() const noexcept override { return roles; }
  bool ends_generation(text::TokenId id) const noexcept override {
    for (const text::TokenId end : ends) {
      if (end == id) return true;
    }
    return false;
  }

  std::uint16_t attributes(text::TokenId id) const override {
    return type(id) == text::TokenType::kControl ? text::attribute::kControl
                                                 : text::attribute::kNormal;
  }
  bool reserved(text::TokenId id) const override { return type(id) == text::TokenType::kControl; }
  std::span<const text::TokenId> suppressed() const noexcept override { return never; }
  std::span<const std::string> warnings() const noexcept override { return {}; }

 private:
  void append(std::vector<text::TokenId>& ids, std::string_view text, bool parse_special) const {
    while (!text.empty()) {
      std::size_t best = texts_.size();
      for (std::size_t id = 0; id < texts_.size(); ++id) {
        const bool control = type(static_cast<text::TokenId>(id)) == text::TokenType::kControl;
        if (texts_[id].empty() || (control && !parse_special) || !text.starts_with(texts_[id]))
          continue;
        if (best == texts_.size() || texts_[id].size() > texts_[best].size()) best = id;
      }
      if (best == texts_.size()) {
        text.remove_prefix(1);  // a byte the vocabulary does not have
        continue;
      }
      ids.push_back(static_cast<text::TokenId>(best));
      text.remove_prefix(texts_[best].size());
    }
  }

  std::vector<std::string> texts_;
};

}  // namespace hearth::testing
