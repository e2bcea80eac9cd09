// What a session needs of a model: one sequence of tokens that can grow and be cut, and logits. The
// seam exists so that sessions can be tested with a scripted model.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "model/loaded_model.h"
#include "text/tokenizer.h"

namespace hearth::generate {

class Evaluator {
 public:
  virtual ~Evaluator() = default;

  [[nodiscard]] virtual std::int64_t vocabulary() const = 0;
  /// Tokens the sequence can hold.
  [[nodiscard]] virtual std::int64_t context() const = 0;
  /// Most tokens of one evaluate().
  [[nodiscard]] virtual std::int64_t batch_rows() const = 0;
  /// Tokens the sequence holds.
  [[nodiscard]] virtual std::int64_t length() const = 0;
  /// Forgets all tokens from `length` on, and more where the model cannot go back there exactly
  /// (sliding windows, recurrent state): length() says how many are left.
  virtual void truncate(std::int64_t length) = 0;
  /// Appends 1 to batch_rows() tokens in one pass. With `wants_logits` returns the logits after the
  /// last of them [vocabulary], valid until the next call; otherwise nothing. Throws Error; the
  /// sequence's length is then unspecified but reported rightly by length().
  virtual std::span<const float> evaluate(std::span<const text::TokenId> tokens,
                                          bool wants_logits) = 0;
};

/// One sequence of a loaded model, which must outlive it.
class ModelEvaluator final : public Evaluator {
 public:
  explicit ModelEvaluator(model::LoadedModel& model);

  /// What the following passes apply (LoadedModel::mix; null: nothing). Other adapters than before
  /// empty the sequence: what it holds was computed without them.
  void set_adapters(std::shared_ptr<const model::AdapterSet> adapters);

  [[nodiscard]] std::int64_t vocabulary() const override;
  [[nodiscard]] std::int64_t context() const override;
  [[nodiscard]] std::int64_t batch_rows() const override;
  [[nodiscard]] std::int64_t length() const override;
  void truncate(std::int64_t length) override;
  std::span<const float> evaluate(std::span<const text::TokenId> tokens,
                                  bool wants_logits) override;

 private:
  model::LoadedModel& model_;
  std::unique_ptr<state::SequenceState> sequence_;
  std::shared_ptr<const model::AdapterSet> adapters_;
  std::vector<model::BatchRow> rows_;
};

}  // namespace hearth::generate
