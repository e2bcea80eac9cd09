#include "generate/grammar/schema_formats.h"

#include <string>
#include <utility>
#include <vector>

namespace hearth::generate::grammar {
namespace {

// Days that exist; the 29th of February in leap years only (RFC 3339, appendix C).
const std::string kDate =
    "([0-9]{4}-((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)|"
    "02-(0[1-9]|1[0-9]|2[0-8]))|"
    "([0-9]{2}(0[48]|[2468][048]|[13579][26])|(0[48]|[2468][048]|[13579][26])00)-02-29)";
const std::string kTime =
    "([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\\.[0-9]{1,9})?"
    "(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])";
const std::string kLabel = "[A-Za-z0-9]([A-Za-z0-9-]{0,40}[A-Za-z0-9])?";
const std::string kHost = kLabel + "(\\." + kLabel + "){0,4}";
const std::string kOctet = "(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])";
const std::string kHex4 = "[0-9A-Fa-f]{1,4}";

/// Eight groups, or fewer with "::" for the rest.
std::string ip_version_6() {
  const auto groups = [](int count) {
    return count == 0 ? std::string()
                      : kHex4 + "(:" + kHex4 + "){" + std::to_string(count - 1) + "}";
  };
  std::string pattern = groups(8);
  for (int before = 0; before <= 7; ++before) {
    for (int after = 0; before + after <= 7; ++after)
      pattern += "|" + groups(before) + "::" + groups(after);
  }
  return pattern;
}

std::string uri() {
  const std::string character = "([A-Za-z0-9._~!$&'()*+,;=:@-]|%[0-9A-Fa-f]{2})";
  const std::string path = "(/" + character + "*)*";
  return "[A-Za-z][A-Za-z0-9+.-]{1,15}://" + kHost + "(:[1-9][0-9]{0,3})?" + path + "(\\?(" +
         character + "|[/?])*)?(#(" + character + "|[/?])*)?";
}

std::string duration() {
  const std::string n = "[0-9]{1,6}";
  const std::string time =
      "T(" + n + "H(" + n + "M(" + n + "S)?)?|" + n + "M(" + n + "S)?|" + n + "S)";
  const std::string date =
      "(" + n + "Y(" + n + "M(" + n + "D)?)?|" + n + "M(" + n + "D)?|" + n + "D)";
  return "P(" + date + "(" + time + ")?|" + time + "|" + n + "W)";
}

std::string email() {
  const std::string atom = "[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]{1,30}";
  return atom + "(\\." + atom + ")?@(" + kLabel + "\\.){1,3}[A-Za-z]{2,12}";
}

using Table = std::vector<std::pair<std::string_view, std::string>>;

const Table& table() {
  static const Table kFormats = [] {
    Table formats = {
        {"date", kDate},
        {"time", kTime},
        {"date-time", kDate + "T" + kTime},
        {"duration", duration()},
        {"uuid", "[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}"},
        {"email", email()},
        {"hostname", kHost},
        {"ipv4", kOctet + "(\\." + kOctet + "){3}"},
        {"ipv6", ip_version_6()},
        {"uri", uri()},
    };
    for (auto& [name, pattern] : formats) pattern = "^(" + pattern + ")$";
    return formats;
  }();
  return kFormats;
}

}  // namespace

std::string_view format_pattern(std::string_view format) {
  for (const auto& [name, pattern] : table()) {
    if (name == format) return pattern;
  }
  return {};
}

}  // namespace hearth::generate::grammar
