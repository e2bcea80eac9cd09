// Draft heads at work: next-token-prediction blocks and EAGLE-3 models, which guess the tokens that
// follow from the hidden states of the model they draft for (blocks-speculative.md).
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "model/loaded_model.h"

namespace hearth::generate {

/// What the target of `draft` must give for every row (see model::Outputs).
[[nodiscard]] model::Outputs target_outputs(const spec::ModelSpec& target,
                                            const spec::ModelSpec& draft, std::int64_t rows);

class Drafter {
 public:
  /// `draft` must have been loaded for at least one logit row and one hidden row per pass, and with
  /// at least the target's context. It must outlive the drafter.
  explicit Drafter(model::LoadedModel& draft);

  /// The target has evaluated these tokens, which follow those given before. `hidden`: what
  /// target_outputs() asked for, a row per token. Returns the head's logits of the rows it could
  /// evaluate, [rows, vocabulary], valid until the next call: next-token-prediction heads read
  /// (token i, hidden i - 1), EAGLE-3 (token i + 1, hidden i). `wants_logits`: otherwise none.
  std::span<const float> follow(std::span<const std::int32_t> tokens, std::span<const float> hidden,
                                bool wants_logits);

  /// Guesses what follows `token`, which the target has chosen but not evaluated yet.
  /// [vocabulary], valid until the next call.
  std::span<const float> first(std::int32_t token);
  /// Guesses what follows `token`, the guess made last.
  std::span<const float> next(std::int32_t token);
  /// Forgets what first() and next() added.
  void retract();

 private:
  std::span<const float> run(std::span<const std::int32_t> tokens,
                             std::span<const float* const> states, bool wants_logits);
  std::span<const float> mapped(std::span<const float> logits);

  model::LoadedModel& draft_;
  std::unique_ptr<state::SequenceState> sequence_;
  bool features_ = false;                    // EAGLE-3
  std::int64_t state_width_ = 0;             // of a hidden state the head reads
  std::vector<float> last_state_;            // of the target, after the last token followed
  std::vector<float> own_state_;             // of the head, after the last guess
  std::int64_t followed_ = 0;                // rows of the head that follow the target
  std::vector<std::int64_t> target_tokens_;  // reduced draft vocabularies
  std::vector<float> logits_;
  std::vector<model::BatchRow> rows_;
  bool started_ = false;
};

}  // namespace hearth::generate
