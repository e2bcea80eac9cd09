#include "plan/efficiencies.h"

#include <array>
#include <cstddef>

namespace hearth::plan {
namespace {

// Printed by scripts/fit-planner. Classes with few measurements lie close to the others by design.
// clang-format off
constexpr std::array<Efficiencies, kHardwareClasses> kTable = {{
    // read, mixture, layer_seconds, unpack, attention; compute, waste, prefill_attention, batch_seconds;
    // decode low and high, prefill low and high; flops_per_byte
    {0.9455, 0.7108, 4.566e-05, 0.03894, 0.1367, 1.292, 81.43, 0.4951, 0.0002789, 0.6252, 1.252, 0.5709, 1.255, 100},  // rtx
    {0.652, 0.7208, 0.0001393, 0.04484, 0.05632, 0.5453, 52.32, 0.2732, 0.000161, 0.8898, 1.377, 0.5, 1.6, 22},  // gtx
    {0.9251, 0.5995, 7.211e-05, 0.04042, 0.06163, 0.355, 52.32, 0.2698, 0.000171, 0.5361, 1.238, 0.5, 1.6, 125},  // radeon
    {0.95, 0.6603, 8.56e-05, 0.04014, 0.03365, 0.4511, 33.77, 0.1985, 0.0002059, 0.6183, 1.23, 0.7065, 1.4, 62},  // apple
    {0.783, 0.863, 3.59e-05, 0.05117, 0.09622, 0.3293, 46.65, 0.2975, 0.0001636, 0.8594, 1.226, 0.7232, 1.242, 450},  // unified
    {0.7405, 0.6079, 4.524e-05, 0.1446, 0.02425, 0.6909, 55.6, 0.1868, 0.000157, 0.6577, 1.356, 0.807, 1.472, 12},  // cpu
    {0.95, 0.999, 0.0001453, 0.06488, 0.06109, 0.5453, 52.32, 0.2732, 0.000161, 0.5, 1.6, 0.5, 1.6, 75},  // integrated
}};
// clang-format on

constexpr std::array<std::string_view, kHardwareClasses> kNames = {
    "NVIDIA graphics with tensor cores",
    "older NVIDIA graphics",
    "other discrete graphics",
    "Apple chips",
    "large unified memory",
    "processors",
    "integrated graphics"};

}  // namespace

const Efficiencies& efficiencies(HardwareClass hardware) noexcept {
  return kTable[static_cast<std::size_t>(hardware)];
}

std::string_view name(HardwareClass hardware) noexcept {
  return kNames[static_cast<std::size_t>(hardware)];
}

double engine_factor(std::string_view engine) noexcept {
  if (engine.find("mlx") != std::string_view::npos) return 1.093;
  if (engine.find("ollama") != std::string_view::npos) return 0.973;
  return 1;
}

double speculation_factor(bool mixture) noexcept { return mixture ? 1.1 : 2.0; }

}  // namespace hearth::plan
