// Text with provenance: who wrote which part of a prompt. Only text written by a chat template (or
// by Hearth itself) may become control tokens; what users, documents and tools wrote is always
// tokenized as ordinary text.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace hearth::text {

enum class Origin : unsigned char { kData, kTemplate };

/// A run of text of one origin.
struct Span {
  std::string text;
  Origin origin = Origin::kData;
};

/// A rendered prompt: spans in order; adjacent spans have different origins.
struct Prompt {
  std::vector<Span> spans;

  void append(std::string_view text, Origin origin) {
    if (text.empty()) return;
    if (spans.empty() || spans.back().origin != origin) spans.push_back({std::string(), origin});
    spans.back().text += text;
  }
  [[nodiscard]] std::string str() const {
    std::string whole;
    for (const Span& span : spans) whole += span.text;
    return whole;
  }
};

}  // namespace hearth::text
