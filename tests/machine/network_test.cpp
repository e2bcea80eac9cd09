#include "machine/network.h"

#include <gtest/gtest.h>

namespace hearth::testing {
namespace {

constexpr const char* kHeading =
    "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n";
constexpr const char* kLoopback6 =
    "00000000000000000000000000000001 80 00000000000000000000000000000000 00 "
    "00000000000000000000000000000000 00000000 00000002 00000000 80200001       lo\n";
constexpr const char* kUnreachable6 =
    "00000000000000000000000000000000 00 00000000000000000000000000000000 00 "
    "00000000000000000000000000000000 ffffffff 00000001 00000000 00200200       lo\n";
constexpr const char* kLinkLocal6 =
    "fe800000000000000000000000000000 40 00000000000000000000000000000000 00 "
    "00000000000000000000000000000000 00000100 00000001 00000000 00000001     eth0\n"
    "ff000000000000000000000000000000 08 00000000000000000000000000000000 00 "
    "00000000000000000000000000000000 00000100 00000001 00000000 00000001     eth0\n";
constexpr const char* kDefault6 =
    "00000000000000000000000000000000 00 00000000000000000000000000000000 00 "
    "fe800000000000000000000000000001 00000400 00000001 00000000 00000003     eth0\n";

TEST(NetworkRoute, OfANamespaceWithoutNetworkLeadsNowhere) {
  using machine::routes_lead_outside;
  EXPECT_FALSE(routes_lead_outside("", ""));
  EXPECT_FALSE(routes_lead_outside(kHeading, std::string(kLoopback6) + kUnreachable6));
  EXPECT_FALSE(routes_lead_outside(kHeading, kLinkLocal6));
  EXPECT_FALSE(
      routes_lead_outside(std::string(kHeading) + "lo\t0000007F\t00000000\t0001\t0\t0\t0\n", ""));
}

TEST(NetworkRoute, LeadsOutsideByAnInterface) {
  using machine::routes_lead_outside;
  EXPECT_TRUE(
      routes_lead_outside(std::string(kHeading) + "eth0\t00000000\t0101A8C0\t0003\t0\t0\t0\n", ""));
  EXPECT_TRUE(routes_lead_outside(kHeading, std::string(kLinkLocal6) + kDefault6));
  (void)machine::has_network_route();  // of whatever machine this is
}

}  // namespace
}  // namespace hearth::testing
