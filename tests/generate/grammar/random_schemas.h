// Schemas from a generator, texts sampled under them, and a checker of its own for both.
#pragma once

#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "generate/grammar/grammar.h"

namespace hearth::testing {

using Json = nlohmann::ordered_json;

/// A schema that depends on `seed` alone; it can be fulfilled.
[[nodiscard]] Json random_schema(std::uint64_t seed);

struct Sample {
  std::string text;
  std::vector<text::TokenId> chosen;
  bool complete = false;  ///< ended by itself within the limit
  std::int64_t tokens = 0, masks = 0;
  double mask_seconds = 0, slowest_mask = 0;
};

/// Chooses among the allowed tokens as a model with random weights at temperature 1.5 does: logits
/// are normally distributed, anew at every step. The end is taken like any other token.
[[nodiscard]] Sample sample(const std::shared_ptr<const generate::grammar::Grammar>& grammar,
                            const std::shared_ptr<const generate::grammar::TokenTrie>& trie,
                            const text::Tokenizer& tokenizer, std::uint64_t seed,
                            std::int64_t max_tokens);

/// What is wrong with `value`, by the keywords that the schemas above use (formats aside); nothing
/// when it is valid. Shares no code with the compiler.
[[nodiscard]] std::optional<std::string> find_violation(const Json& value, const Json& schema,
                                                        const Json& root);

}  // namespace hearth::testing
