// What the codes of kv_code.h are made of: tables, rotation, the format of a coded page, and plain
// encoders and decoders, which the backends' fast ones are tested against.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "quant/kv_code.h"

namespace hearth::quant {

/// Codes of a block: eight vectors of 64, the unit that codes are packed in.
inline constexpr std::int64_t kCodeBlock = 512;

/// Consecutive coordinates, a multiple of 16, with the same number of bits and the same factor.
struct CodeRun {
  std::int64_t first = 0, count = 0;
  int bits = 0;             // 1, 2, 3, 4 or 8
  int factor = 0;           // row of the page's factors
  std::int64_t offset = 0;  // of its codes in the page, in bytes
};

/// What a coded page consists of. Coordinates are padded to a multiple of 16 with zeros.
///
///   codes    per run: blocks of 512, each `bits` times 64 bytes (code_place)
///   signs    of kResidual, like a run of one bit over all coordinates
///   factors  [rows][64 cells]: a byte each, largest[row] 2^(-byte / 32), 255 is zero; of kInt4
///            half-precision numbers
///   mean     when centred: int8 [padded], times mean_unit[part]
///   largest  float [rows] (not of kInt4), mean_unit: float [parts] when centred
struct CodedPageLayout {
  std::int64_t size = 0, padded = 0;
  int parts = 1;
  std::array<std::int64_t, 3> part_begin = {};  // and the end of the last, padded
  std::array<CodeRun, 40> runs = {};
  int run_count = 0;
  bool centred = false, half_factors = false;
  int factor_rows = 0;
  std::int64_t signs = 0, factors = 0, mean = 0, largest = 0, mean_units = 0;  // in bytes
  std::int64_t bytes = 0;  // of a page: a multiple of 8

  [[nodiscard]] std::span<const CodeRun> all_runs() const noexcept {
    return {runs.data(), static_cast<std::size_t>(run_count)};
  }
};
/// can_code() must hold.
[[nodiscard]] CodedPageLayout coded_page_layout(const KvCode& code, std::int64_t size) noexcept;

/// Where the code of a run's coordinate `i` (counted from the run's first) of a cell is: the byte
/// in the run's codes and the shift in it. Of 3 bits these are the lower two, the third is `high`.
/// Keys are in vectors of 16 cells times 4 coordinates, values in vectors of 16 coordinates times 4
/// cells, eight vectors to a block; a byte of a vector is a lane of a dot product.
struct CodePlace {
  std::int64_t byte = 0;
  int shift = 0;
  std::int64_t high_byte = 0;
  int high_shift = 0;
};
[[nodiscard]] CodePlace code_place(KvPart part, int bits, std::int64_t cell,
                                   std::int64_t i) noexcept;

/// The whole numbers that codes stand for, ascending, and again until there are sixteen.
struct CodeTable {
  int bits = 0;
  float unit = 0;                            // of a coordinate of variance 1
  std::array<std::int8_t, 16> numbers = {};  // -127 .. 127
  std::array<float, 15> boundaries = {};     // between them, in coordinates of variance 1
};

/// An orthogonal map made of Hadamard transforms with random signs; one for a power of two, else
/// three that overlap (first, last, first again), so that every coordinate reaches every other.
class Rotation {
 public:
  /// Transforms the coordinates [first, first + size) after multiplying them by `factors`, which
  /// hold the signs and 1 / sqrt(size); size is a power of two.
  struct Stage {
    std::int64_t first = 0, size = 0;
    std::vector<float> factors;
  };
  Rotation() = default;
  /// Of the coordinates [first, first + size).
  void add(std::int64_t first, std::int64_t size, std::uint64_t seed);
  void turn(float* x) const noexcept;
  void turn_back(float* x) const noexcept;
  [[nodiscard]] std::span<const Stage> stages() const noexcept { return stages_; }

 private:
  std::vector<Stage> stages_;
};

/// How a single decoded vector is scaled.
enum class VectorScale : std::uint8_t {
  kUnbiased,  // as in pages: products with any vector are right on average
  kNorm,      // by its norm: the smallest squared error for codes of this kind
};

/// One code for vectors of one size. Making one takes memory, and so does encoding pages, briefly.
class KvCoder {
 public:
  /// can_code() must hold.
  KvCoder(const KvCode& code, std::int64_t size);

  [[nodiscard]] const KvCode& code() const noexcept { return code_; }
  [[nodiscard]] const CodedPageLayout& layout() const noexcept { return layout_; }
  [[nodiscard]] const Rotation& rotation() const noexcept { return rotation_; }
  /// Of the codes of a run. kInt8 has none: a byte b stands for b - 128.
  [[nodiscard]] const CodeTable& table(const CodeRun& run) const noexcept;

  /// Encodes 64 cells [64][size]. NaN counts as 0, what is beyond 1e17 as that.
  void encode_page(KvPart part, std::span<const float> cells,
                   std::span<std::byte> page) const noexcept;
  /// Decodes to [64][size].
  void decode_page(KvPart part, std::span<const std::byte> page,
                   std::span<float> cells) const noexcept;
  /// One cell of it, as [padded] with zeros at the end. Needs no memory.
  void decode_cell(KvPart part, std::span<const std::byte> page, std::int64_t cell,
                   float* out) const noexcept;

  /// A single vector of `size` values as its codes tell it, with an exact factor and no mean.
  void approximate(std::span<const float> x, VectorScale scale,
                   std::span<float> out) const noexcept;

 private:
  [[nodiscard]] std::int64_t part_end(int part) const noexcept {
    return layout_.part_begin[static_cast<std::size_t>(part) + 1];
  }
  /// Codes of a part of a rotated vector, and the factor that makes the numbers its approximation.
  float code_part(int part, const float* x, VectorScale scale, std::uint8_t* codes) const noexcept;
  /// What the codes of a part stand for.
  void numbers_of(int part, const std::uint8_t* codes, float factor, float* out) const noexcept;
  /// Adds what the signs of a part's projected residual stand for; positive: whether `signs` is.
  void add_signs(int part, const float* signs, float length, float* out) const noexcept;
  /// The residual of a part, projected; returns the length of what add_signs() adds.
  float project(int part, const float* residual, float* projected) const noexcept;

  // Of a page, from and to rotated cells [64][padded] without their mean.
  void encode_levels(KvPart part, const float* cells, std::byte* page) const noexcept;
  void encode_integers(KvPart part, const float* cells, std::byte* page) const noexcept;
  void take_mean(float* cells, std::byte* page) const noexcept;
  /// A cell in rotated space.
  void decode_rotated(KvPart part, const std::byte* page, std::int64_t cell,
                      float* out) const noexcept;

  KvCode code_;
  CodedPageLayout layout_;
  Rotation rotation_;
  Rotation residual_rotation_;
  std::array<CodeTable, 4> tables_ = {};  // per part the richer and the poorer half
};

/// 2^(-byte / 32) for 0 .. 254, and 0 for 255: what the bytes of factors mean.
[[nodiscard]] const std::array<float, 256>& factor_steps() noexcept;
/// The byte of the factor nearest to `ratio` of the largest one.
[[nodiscard]] std::uint8_t factor_byte(float ratio) noexcept;

/// The scale of kInt4 or kInt8 for `count` values, and their whole numbers.
struct IntegerScale {
  float factor = 0;
  int low = 0, high = 0;
};
[[nodiscard]] IntegerScale integer_scale(KvCode::Kind kind, const float* x,
                                         std::int64_t count) noexcept;

/// A number that a rotated vector can be summed up with: NaN counts as 0.
[[nodiscard]] float made_finite(float x) noexcept;
/// x / f rounded, within [low, high]; 0 where f is.
[[nodiscard]] int nearest_number(float x, float f, int low, int high) noexcept;

}  // namespace hearth::quant
