// Graphics and neural processors of this computer, by everything that the system and the vendors'
// tools tell.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "machine/machine.h"
#include "machine/system_files.h"

namespace hearth::machine {

/// A graphics processor and how to recognise it.
struct FoundGpu {
  Gpu gpu;
  std::string address;  // on the PCI bus, "0000:01:00.0"; empty: not there or unknown
  std::uint32_t vendor_id = 0, device_id = 0;
};

/// From /sys/bus/pci and /sys/class/drm; named by the system's list of PCI ids where there is one.
/// Devices that only show a screen (of servers' consoles and virtual machines) are left out.
[[nodiscard]] std::vector<FoundGpu> gpus_of_system(const SystemFiles& files);

/// The columns of `nvidia-smi --query-gpu=` that parse_nvidia_smi() reads.
inline constexpr const char* kNvidiaColumns =
    "name,pci.bus_id,memory.total,memory.free,driver_version,pcie.link.gen.max,"
    "pcie.link.width.current";
/// The tables that the vendors' tools print; lines that do not look as they should are left out.
[[nodiscard]] std::vector<FoundGpu> parse_nvidia_smi(std::string_view csv);
[[nodiscard]] std::vector<FoundGpu> parse_rocm_smi(std::string_view csv);

/// What the Vulkan loader (libvulkan.so.1) finds, if it is there; software renderers are left out.
/// Runs in a process of its own, because drivers may crash or hang.
[[nodiscard]] std::vector<FoundGpu> gpus_of_vulkan(double seconds);
/// Lines as its process sends them: kind of device, vendor id, device id, bytes of memory, of them
/// free, driver, name, separated by tabs.
[[nodiscard]] std::vector<FoundGpu> parse_vulkan(std::string_view lines);

/// Adds what `more` knows to the devices of `all`: the same address, or, where an address is
/// missing, the same vendor and device ids (or vendor, for one device of it). Devices that are in
/// neither way known are appended.
void merge_gpus(std::vector<FoundGpu>& all, const std::vector<FoundGpu>& more);

/// All of the above. Vendors' tools are run only when `files` are the real ones, and for at most
/// `seconds` each.
[[nodiscard]] std::vector<Gpu> gpus(const SystemFiles& files, double seconds);

/// Accelerators (/sys/class/accel, Coral, Hailo) and render nodes that belong to no graphics
/// processor, named by their drivers.
[[nodiscard]] std::vector<Npu> npus(const SystemFiles& files);

/// "nvidia", "amd" … by the PCI vendor id; empty for those that make no processors for computing.
[[nodiscard]] std::string vendor_of(std::uint32_t id);

/// Bytes per second of a PCI Express link in one direction, by transfers per second and lane in
/// GT/s and lanes; 0 when unknown.
[[nodiscard]] double link_speed(double gigatransfers, int lanes) noexcept;

}  // namespace hearth::machine
