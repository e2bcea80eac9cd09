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
    {0.9022, 0.7165, 4.385e-05, 0.04789, 0.1605, 1.402, 101.6, 0.5199, 0.0003636, 0.6231, 1.258, 0.5801, 1.287, 100},  // rtx
    {0.9401, 0.7569, 0.0001411, 0.03837, 0.0758, 0.7415, 32.78, 0.3054, 0.0006214, 0.8752, 1.367, 0.5, 1.6, 22},  // gtx
    {0.908, 0.609, 7.172e-05, 0.05116, 0.08416, 0.7626, 32.78, 0.3059, 0.000574, 0.5352, 1.237, 0.5, 1.6, 125},  // radeon
    {0.95, 0.6585, 8.514e-05, 0.04037, 0.03342, 0.6307, 11.39, 0.2806, 0.004252, 0.608, 1.23, 0.574, 1.688, 62},  // apple
    {0.7897, 0.8791, 4.114e-05, 0.04954, 0.1006, 0.4855, 17.48, 0.3784, 0.0005659, 0.8297, 1.224, 0.5154, 1.373, 450},  // unified
    {0.7456, 0.772, 5.297e-05, 0.136, 0.07375, 0.7217, 51.82, 0.1584, 0.0004518, 0.5646, 1.387, 0.8287, 1.832, 12},  // cpu
    {0.95, 1, 0.000139, 0.05411, 0.08164, 0.7415, 32.78, 0.3054, 0.0006214, 0.5, 1.6, 0.5, 1.6, 75},  // integrated
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
  if (engine.find("mlx") != std::string_view::npos) return 1.091;
  if (engine.find("ollama") != std::string_view::npos) return 0.972;
  return 1;
}

double speculation_factor(bool mixture) noexcept { return mixture ? 1.1 : 2.0; }

}  // namespace hearth::plan
