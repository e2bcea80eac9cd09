#include "machine/network.h"

#include <fstream>
#include <iterator>
#include <optional>
#include <sstream>
#include <vector>

namespace hearth::machine {
namespace {

std::optional<std::string> text_of(const char* path) {
  std::ifstream file(path);
  if (!file) return std::nullopt;
  return std::string(std::istreambuf_iterator<char>(file), {});
}

std::vector<std::vector<std::string>> fields_of(std::string_view text) {
  std::vector<std::vector<std::string>> lines;
  std::istringstream stream{std::string(text)};
  for (std::string line; std::getline(stream, line);) {
    std::istringstream words(line);
    lines.emplace_back(std::istream_iterator<std::string>(words),
                       std::istream_iterator<std::string>());
  }
  return lines;
}

}  // namespace

bool routes_lead_outside(std::string_view ipv4, std::string_view ipv6) {
  // Interface, destination, gateway, flags …; the first line is a heading.
  for (const std::vector<std::string>& line : fields_of(ipv4)) {
    if (line.size() >= 4 && line[0] != "Iface" && line[0] != "lo") return true;
  }
  // Destination, its prefix's length, …, interface. Every interface that is up has link-local and
  // multicast routes (fe80::/64, ff00::/8): only others lead anywhere.
  for (const std::vector<std::string>& line : fields_of(ipv6)) {
    if (line.size() >= 10 && line.back() != "lo" && !line[0].starts_with("fe8") &&
        !line[0].starts_with("ff"))
      return true;
  }
  return false;
}

bool has_network_route() {
  const std::optional<std::string> ipv4 = text_of("/proc/net/route");
  const std::optional<std::string> ipv6 = text_of("/proc/net/ipv6_route");
  if (!ipv4 && !ipv6) return true;
  return routes_lead_outside(ipv4.value_or(""), ipv6.value_or(""));
}

}  // namespace hearth::machine
