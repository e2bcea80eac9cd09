#include "support/units.h"

#include <cstdio>

namespace hearth {

std::string precise_size_text(std::uint64_t bytes) {
  const auto count = static_cast<double>(bytes);
  char text[32];
  std::snprintf(text, sizeof text, count < kGiga ? "%.1f MB" : "%.2f GB",
                count < kGiga ? count / 1e6 : count / kGiga);
  return text;
}

}  // namespace hearth
