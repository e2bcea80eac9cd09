// A moment in local time, as chat templates print it.
#pragma once

#include <string>
#include <string_view>

namespace hearth::text {

struct DateTime {
  int year = 1970, month = 1, day = 1, hour = 0, minute = 0, second = 0, microsecond = 0;

  /// The computer's local time.
  [[nodiscard]] static DateTime now();
  /// "2026-07-26T00:00:00", "2026-07-26 00:00", "2026-07-26". Throws Error naming the accepted
  /// form.
  [[nodiscard]] static DateTime parse(std::string_view text);
  /// As Python's datetime.strftime in the C locale. Throws Error when the result is unreasonably
  /// long.
  [[nodiscard]] std::string format(const std::string& format) const;
};

}  // namespace hearth::text
