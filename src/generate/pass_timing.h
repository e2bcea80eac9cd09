// How long a pass will take, learnt from those that were: so that a pass which also reads a piece
// of a prompt ends before those who wait for their next token notice.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace hearth::generate {

/// What a pass consists of, as far as its time depends on it.
struct PassWork {
  std::int64_t decode_rows = 0;   ///< rows of sequences that generate
  std::int64_t decode_cells = 0;  ///< what these look back on, added up
  std::int64_t prompt_rows = 0;   ///< rows of prompts
  std::int64_t prompt_cells = 0;  ///< rows of prompts, each times what it looks back on
};

/// Fits seconds = a + b * decode_rows + c * decode_cells + d * prompt_rows + e * prompt_cells with
/// no negative term to the passes seen so far, recent ones counting more. Does not allocate.
class PassTiming {
 public:
  void add(const PassWork& work, double seconds) noexcept;

  [[nodiscard]] bool known() const noexcept { return passes_ > 0; }
  [[nodiscard]] double seconds(const PassWork& work) const noexcept;
  /// Rows of a prompt, of which `depth` rows are evaluated, that fit into a pass which has `work`
  /// already and may take `budget` seconds; 0 when none does. Unbounded when nothing is known to
  /// cost anything.
  [[nodiscard]] std::int64_t rows_within(const PassWork& work, std::int64_t depth,
                                         double budget) const noexcept;

 private:
  static constexpr std::size_t kTerms = 5;
  using Terms = std::array<double, kTerms>;
  [[nodiscard]] static Terms terms(const PassWork& work) noexcept;
  void fit() noexcept;

  std::int64_t passes_ = 0;
  std::array<Terms, kTerms> products_{};  // sums of term * term
  Terms targets_{};                       // sums of term * seconds
  Terms weights_{};
};

}  // namespace hearth::generate
