// Taking times and making one number of several.
#pragma once

#include <algorithm>
#include <chrono>
#include <vector>

namespace hearth::measure {

/// Seconds of a clock that only goes forward.
[[nodiscard]] inline double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

/// How long `body()` takes.
template <class Body>
[[nodiscard]] double seconds_of(Body body) {
  const double begin = now();
  body();
  return now() - begin;
}

/// The middle of the values (the upper one of an even number); 0 of none.
[[nodiscard]] inline double median(std::vector<double> values) {
  if (values.empty()) return 0;
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

}  // namespace hearth::measure
