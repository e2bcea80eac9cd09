#include "cli/suggest.h"

#include <algorithm>
#include <vector>

namespace hearth::cli {
namespace {

/// Insertions, deletions, substitutions and swaps of neighbours that turn `a` into `b`.
std::size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> before, previous(b.size() + 1), current(b.size() + 1);
  for (std::size_t column = 0; column <= b.size(); ++column) previous[column] = column;
  for (std::size_t row = 1; row <= a.size(); ++row) {
    current[0] = row;
    for (std::size_t column = 1; column <= b.size(); ++column) {
      const std::size_t change = a[row - 1] == b[column - 1] ? 0 : 1;
      current[column] =
          std::min({previous[column] + 1, current[column - 1] + 1, previous[column - 1] + change});
      const bool swapped =
          row > 1 && column > 1 && a[row - 1] == b[column - 2] && a[row - 2] == b[column - 1];
      if (swapped) current[column] = std::min(current[column], before[column - 2] + 1);
    }
    before = previous;
    previous = current;
  }
  return previous[b.size()];
}

}  // namespace

std::string suggestion(std::string_view given, std::span<const std::string> known) {
  if (given.size() > 64) return {};
  const std::string* nearest = nullptr;
  std::size_t least = std::max<std::size_t>(1, given.size() / 3) + 1;
  for (const std::string& name : known) {
    // A unique beginning is as good as a near miss.
    const std::size_t found =
        given.size() >= 3 && name.starts_with(given) ? 1 : distance(given, name);
    if (found >= least) continue;
    least = found;
    nearest = &name;
  }
  return nearest == nullptr ? std::string() : "did you mean '" + *nearest + "'?";
}

}  // namespace hearth::cli
