// Contexts longer than a model was trained with, asked for by hand: --rope-scaling yarn:4.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace hearth::spec {

/// Takes the place of the file's own rope.scaling.* keys. Linear: Chen et al. 2023
/// (arXiv:2306.15595); YaRN: Peng et al. 2023 (arXiv:2309.00071).
struct RopeScaling {
  enum class Kind : std::uint8_t { kNone, kLinear, kYarn };
  Kind kind = Kind::kNone;
  double factor = 1;          ///< positions are as if they were divided by it
  std::int64_t original = 0;  ///< context that the model was trained with; 0: as the file says
  bool operator==(const RopeScaling&) const = default;

  /// "none", "linear" or "yarn", as files have it.
  [[nodiscard]] std::string_view type() const noexcept;
  /// As parse_rope_scaling() reads it.
  [[nodiscard]] std::string name() const;
};

/// none, linear:FACTOR[:ORIGINAL] or yarn:FACTOR[:ORIGINAL]; factors from 1 to 1024. Throws Error
/// (exit code 2).
[[nodiscard]] RopeScaling parse_rope_scaling(std::string_view text);

}  // namespace hearth::spec
