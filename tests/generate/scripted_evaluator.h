// A model of no weights: after every token it wants the next one of a script, or what a rule says.
#pragma once

#include <functional>
#include <stdexcept>
#include <vector>

#include "generate/evaluator.h"

namespace hearth::testing {

/// The likeliest token after a sequence is `next(sequence)`. Remembers what it was asked to
/// evaluate.
class ScriptedEvaluator final : public generate::Evaluator {
 public:
  using Next = std::function<text::TokenId(const std::vector<text::TokenId>&)>;
  ScriptedEvaluator(std::int64_t vocabulary, std::int64_t context, std::int64_t rows, Next next)
      : vocabulary_(vocabulary), context_(context), rows_(rows), next_(std::move(next)) {}

  std::int64_t vocabulary() const override { return vocabulary_; }
  std::int64_t context() const override { return context_; }
  std::int64_t batch_rows() const override { return rows_; }
  std::int64_t length() const override { return static_cast<std::int64_t>(held.size()); }
  void truncate(std::int64_t length) override { held.resize(static_cast<std::size_t>(length)); }
  std::span<const float> evaluate(std::span<const text::TokenId> tokens,
                                  bool wants_logits) override {
    if (static_cast<std::int64_t>(tokens.size()) > rows_)
      throw std::logic_error("more tokens than rows");
    if (length() + static_cast<std::int64_t>(tokens.size()) > context_)
      throw std::logic_error("the context overflows");
    held.insert(held.end(), tokens.begin(), tokens.end());
    passes.push_back(tokens.size());
    if (before_return) before_return();
    if (!wants_logits) return {};
    logits_.assign(static_cast<std::size_t>(vocabulary_), 0.0F);
    logits_.at(static_cast<std::size_t>(next_(held))) = 100;
    return logits_;
  }

  std::vector<text::TokenId> held;
  std::vector<std::size_t> passes;
  std::function<void()> before_return;

 private:
  std::int64_t vocabulary_, context_, rows_;
  Next next_;
  std::vector<float> logits_;
};

}  // namespace hearth::testing
