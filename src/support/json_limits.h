// How much JSON text may hold, looked at before anything is made of it. Only counts: parsers judge
// the grammar.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace hearth {

struct JsonLimits {
  int depth = 96;
  std::size_t values = std::size_t{2} << 20;  ///< numbers, strings, objects… in all
  /// Of one object. Objects that keep their order are searched from the start for every new member:
  /// many would cost their square.
  std::size_t members = 1024;
  /// For objects that are sorted.
  static constexpr std::size_t kAnyMembers = SIZE_MAX;
};

enum class JsonExcess : std::uint8_t { kNone, kDepth, kValues, kMembers };

/// The first limit that `text` exceeds before its end, or before what makes it no JSON. Takes time
/// in proportion to its length, and bytes in proportion to `limits.depth`.
[[nodiscard]] JsonExcess json_excess(std::string_view text, const JsonLimits& limits = {});

}  // namespace hearth
