// What a session needs of a model: one sequence of tokens that can grow and be cut, and logits. The
// seam exists so that sessions can be tested with a scripted model.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "model/loaded_model.h"
#include "state/prefix_cache.h"
#include "text/tokenizer.h"

namespace hearth::generate {

class Evaluator {
 public:
  virtual ~Evaluator() = default;

  [[nodiscard]] virtual std::int64_t vocabulary() const = 0;
  /// Tokens the sequence can hold.
  [[nodiscard]] virtual std::int64_t context() const = 0;
  /// What a prompt of `tokens` tokens, more than context(), would need: a hint for people.
  [[nodiscard]] virtual std::string context_advice(std::int64_t /*tokens*/) const {
    return "shorten it or ask for a larger context with --ctx";
  }
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

  // What evaluators with a memory of earlier texts do more. `held` are always the tokens that the
  // sequence holds.

  struct Resumed {
    std::int64_t length = 0;          ///< tokens of the prompt that the sequence holds now
    std::span<const float> logits{};  ///< after the last one, when that is the whole prompt
  };
  /// Makes the sequence hold the longest known beginning of `prompt`: by itself, what `held` has in
  /// common with it, but for the prompt's last token, as far as the sequence can be cut there.
  virtual Resumed resume(std::span<const text::TokenId> held,
                         std::span<const text::TokenId> prompt);
  /// Where a pass that begins at token `begin` of a prompt of `total` must end at the latest, to
  /// call snapshot() there.
  [[nodiscard]] virtual std::int64_t next_stop(std::int64_t /*begin*/, std::int64_t total,
                                               std::span<const std::int64_t> /*boundaries*/) const {
    return total;
  }
  /// Whether snapshot() is wanted while generating.
  [[nodiscard]] virtual bool snapshot_due() const { return false; }
  /// Later texts may go on from here. `logits`: those after the last token, or empty; `boundary`:
  /// they are likely to.
  virtual void snapshot(std::span<const text::TokenId> /*held*/, std::span<const float> /*logits*/,
                        bool /*boundary*/) {}
};

/// One sequence of a loaded model, which must outlive it.
class ModelEvaluator final : public Evaluator {
 public:
  explicit ModelEvaluator(model::LoadedModel& model);

  /// What the following passes apply (LoadedModel::mix; null: nothing). Other adapters than before
  /// empty the sequence: what it holds was computed without them.
  void set_adapters(std::shared_ptr<const model::AdapterSet> adapters);

  /// Finds beginnings of prompts in `cache` and adds to it, under `owner`. Must outlive this.
  void use_cache(state::PrefixCache& cache, std::string owner = {});
  /// Puts what the sequence holds into the cache: it is not used for a while.
  void remember(std::span<const text::TokenId> held);

  [[nodiscard]] std::int64_t vocabulary() const override;
  [[nodiscard]] std::int64_t context() const override;
  [[nodiscard]] std::string context_advice(std::int64_t tokens) const override;
  [[nodiscard]] std::int64_t batch_rows() const override;
  [[nodiscard]] std::int64_t length() const override;
  void truncate(std::int64_t length) override;
  std::span<const float> evaluate(std::span<const text::TokenId> tokens,
                                  bool wants_logits) override;
  Resumed resume(std::span<const text::TokenId> held,
                 std::span<const text::TokenId> prompt) override;
  [[nodiscard]] std::int64_t next_stop(std::int64_t begin, std::int64_t total,
                                       std::span<const std::int64_t> boundaries) const override;
  [[nodiscard]] bool snapshot_due() const override;
  void snapshot(std::span<const text::TokenId> held, std::span<const float> logits,
                bool boundary) override;

 private:
  model::LoadedModel& model_;
  std::unique_ptr<state::SequenceState> sequence_;
  std::shared_ptr<const model::AdapterSet> adapters_;
  std::vector<model::BatchRow> rows_;
  state::PrefixCache* cache_ = nullptr;
  state::PrefixKey key_;
  std::vector<float> known_logits_;
};

}  // namespace hearth::generate
