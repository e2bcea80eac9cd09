// The search behind the codebook formats (IQ1_*, IQ2_*, IQ3_*). Internal to the room.
//
// A group of values x stored as f * g (g: a point of a grid, signs applied) has the error
//   Σ w x² - 2 f a + f² b,   a = Σ w x g,   b = Σ w g²,
// so, divided by f, every point is a line  f b - 2 a,  and the best point for any f lies on the
// lower envelope of these lines. The envelope of a group has some ten lines out of up to 4096; it
// is found once, exactly, and then the error of a group for any factor costs next to nothing. That
// leaves the block's scale d and the small scales s of its parts, f = d * factor(s): d is scanned
// over its whole range, every part choosing its best s each time, and the best few are refined.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "quant/encode_block.h"

namespace hearth::quant {

/// The lines that are lowest for some factor, by falling b; `count` is a multiple of 4 (the last
/// may be repeated).
struct Envelope {
  static constexpr int kMost = 24;

  int count = 0;
  float a[kMost];
  float b[kMost];
  std::uint16_t point[kMost];

  /// Least of f² b - 2 f a.
  [[nodiscard]] float at(float factor) const noexcept;
  /// Index of the line that is least.
  [[nodiscard]] int line_at(float factor) const noexcept;
};

/// Factors a search considers.
struct FactorRange {
  float low;
  float high;
};

/// The envelope of `count` (a multiple of 4) lines f b[i] - twice_a[i] over `range`.
[[nodiscard]] Envelope lower_envelope(const float* twice_a, const float* b, int count,
                                      FactorRange range) noexcept;

/// Values that share a decision: one of `alternatives` ways to store them, each the sum of
/// `envelopes` envelopes, way after way.
struct Cell {
  int first;  ///< envelope
  int envelopes;
  int alternatives;
};

class CodebookSearch {
 public:
  static constexpr int kMostCells = 64;
  static constexpr int kMostParts = 16;
  static constexpr int kMostScales = 16;
  static constexpr int kMostEnvelopes = 128;

  struct Result {
    HalfScale scale{};
    float error = 0;
    std::array<int, kMostParts> part_scale{};           ///< s
    std::array<int, kMostCells> alternative{};          ///< of each cell
    std::array<std::uint16_t, kMostEnvelopes> point{};  ///< of each envelope, if used
  };

  /// `factors`: factor(s) for s = 0, 1, ...
  CodebookSearch(int parts, std::span<const float> factors, FactorRange range) noexcept
      : parts_(parts), factors_(factors), range_(range) {}

  [[nodiscard]] FactorRange range() const noexcept { return range_; }

  /// Cells are added in order, the same number for every part. Returns the cell's first envelope,
  /// of which all envelopes * alternatives are to be filled.
  Envelope* add_cell(int envelopes, int alternatives) noexcept;

  /// The best scale and all decisions; scale 0 when nothing beats storing zeros.
  [[nodiscard]] Result best(const Block& block) const noexcept;

 private:
  struct PartChoice {
    int scale;
    float error;
  };
  struct Curves;

  [[nodiscard]] float part_error(int part, float factor) const noexcept;
  [[nodiscard]] PartChoice choose(const Curves& curves, int part, float scale) const noexcept;
  static void add_curve(const Envelope& envelope, const float* factors, float* sums) noexcept;
  void draw(Curves& curves) const noexcept;
  void scan(const Curves& curves, int first, std::span<float> totals) const noexcept;
  void refine(const Curves& curves, HalfScale scale, const Block& block,
              Result& best) const noexcept;
  [[nodiscard]] float decide(Result& result) const noexcept;

  int parts_;
  std::span<const float> factors_;
  FactorRange range_;
  int cell_count_ = 0;
  int envelope_count_ = 0;
  std::array<Cell, kMostCells> cells_;
  std::array<Envelope, kMostEnvelopes> envelopes_;
};

}  // namespace hearth::quant
