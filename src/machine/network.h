// Whether this computer is connected to anything.
#pragma once

#include <string>
#include <string_view>

namespace hearth::machine {

/// Whether the system has a route that leaves this computer. True where it does not say. That the
/// route leads anywhere is not tried: nothing is sent.
[[nodiscard]] bool has_network_route();

/// The same of the texts of /proc/net/route and /proc/net/ipv6_route.
[[nodiscard]] bool routes_lead_outside(std::string_view ipv4, std::string_view ipv6);

}  // namespace hearth::machine
