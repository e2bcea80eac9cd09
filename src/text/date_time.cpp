#include "text/date_time.h"

#include <array>
#include <charconv>
#include <chrono>
#include <ctime>
#include <vector>

#include "support/error.h"

namespace hearth::text {
namespace {

/// Reads exactly `count` digits at the start of `text` and removes them.
bool take_digits(std::string_view& text, std::size_t count, int& value) {
  if (text.size() < count) return false;
  const auto result = std::from_chars(text.data(), text.data() + count, value);
  if (result.ec != std::errc() || result.ptr != text.data() + count || text[0] == '-') return false;
  text.remove_prefix(count);
  return true;
}

bool take(std::string_view& text, char c) {
  if (text.empty() || text[0] != c) return false;
  text.remove_prefix(1);
  return true;
}

bool parse_time(std::string_view text, DateTime& moment) {
  if (!take_digits(text, 2, moment.hour) || !take(text, ':') ||
      !take_digits(text, 2, moment.minute))
    return false;
  if (take(text, ':')) {
    if (!take_digits(text, 2, moment.second)) return false;
    if (take(text, '.') && !take_digits(text, 6, moment.microsecond)) return false;
  }
  return text.empty() && moment.hour < 24 && moment.minute < 60 && moment.second < 60;
}

}  // namespace

DateTime DateTime::now() {
  const auto moment = std::chrono::system_clock::now();
  const std::time_t seconds = std::chrono::system_clock::to_time_t(moment);
  std::tm local{};
  localtime_r(&seconds, &local);
  const auto fraction = moment.time_since_epoch() % std::chrono::seconds(1);
  return {
      local.tm_year + 1900,
      local.tm_mon + 1,
      local.tm_mday,
      local.tm_hour,
      local.tm_min,
      local.tm_sec,
      static_cast<int>(std::chrono::duration_cast<std::chrono::microseconds>(fraction).count())};
}

DateTime DateTime::parse(std::string_view text) {
  const std::string_view whole = text;
  DateTime moment;
  bool good = take_digits(text, 4, moment.year) && take(text, '-') &&
              take_digits(text, 2, moment.month) && take(text, '-') &&
              take_digits(text, 2, moment.day);
  if (good && !text.empty())
    good = (take(text, 'T') || take(text, ' ')) && parse_time(text, moment);
  const std::chrono::year_month_day date{std::chrono::year(moment.year),
                                         std::chrono::month(static_cast<unsigned>(moment.month)),
                                         std::chrono::day(static_cast<unsigned>(moment.day))};
  if (!good || !date.ok()) {
    throw Error("'" + printable(whole) + "' is not a date and time",
                "write it like 2026-07-26T00:00:00", ExitCode::kUsage);
  }
  return moment;
}

std::string DateTime::format(const std::string& format) const {
  if (format.find('\0') != std::string::npos)
    throw Error("the date format contains a null character");
  constexpr std::size_t kMaxFormat = 4096;
  if (format.size() > kMaxFormat)
    throw Error("the date format is too long", "use a shorter format");
  const std::chrono::sys_days date{std::chrono::year(year) / month / day};
  const std::chrono::sys_days new_year{std::chrono::year(year) / 1 / 1};
  std::tm fields{};
  fields.tm_year = year - 1900;
  fields.tm_mon = month - 1;
  fields.tm_mday = day;
  fields.tm_hour = hour;
  fields.tm_min = minute;
  fields.tm_sec = second;
  fields.tm_wday = static_cast<int>(std::chrono::weekday(date).c_encoding());
  fields.tm_yday = static_cast<int>((date - new_year).count());
  fields.tm_isdst = -1;

  // Python adds %f, and prints nothing for the zone of a time that has none. A literal end mark
  // tells an empty result from a buffer that is too small.
  std::string pattern;
  for (std::size_t i = 0; i < format.size(); ++i) {
    if (format[i] != '%' || i + 1 == format.size()) {
      pattern += format[i];
      continue;
    }
    const char code = format[++i];
    if (code == 'f') {
      const std::string digits = std::to_string(microsecond);
      pattern += std::string(6 - digits.size(), '0') + digits;
    } else if (code != 'z' && code != 'Z') {
      if (code >= '1' && code <= '9')
        throw Error("widths in date formats are not supported", "remove the number");
      pattern += '%';
      pattern += code;
    }
  }
  pattern += '\x01';
  std::vector<char> buffer(256 + 8 * pattern.size());
  const std::size_t length = std::strftime(buffer.data(), buffer.size(), pattern.c_str(), &fields);
  if (length == 0) throw Error("the date format makes too long a text", "use a shorter format");
  return {buffer.data(), length - 1};
}

}  // namespace hearth::text
