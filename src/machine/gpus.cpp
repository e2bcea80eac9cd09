#include <algorithm>
#include <set>

#include "machine/command.h"
#include "machine/devices.h"
#include "support/ascii.h"

namespace hearth::machine {
namespace {

struct Vendor {
  std::uint32_t id;
  const char* name;
};
// PCI vendor ids of those that make processors for computing; Vulkan uses the same.
constexpr Vendor kVendors[] = {
    {0x10DE, "nvidia"},   {0x1002, "amd"},         {0x8086, "intel"},
    {0x106B, "apple"},    {0x13B5, "arm"},         {0x5143, "qualcomm"},
    {0x14E4, "broadcom"}, {0x1010, "imagination"}, {0x1ED5, "moore threads"}};

/// Drivers of graphics processors inside systems on a chip, which are on no PCI bus.
struct ChipDriver {
  const char* driver;
  const char* vendor;
  const char* name;
};
constexpr ChipDriver kChipDrivers[] = {{"v3d", "broadcom", "Broadcom VideoCore"},
                                       {"vc4-drm", "broadcom", "Broadcom VideoCore"},
                                       {"panfrost", "arm", "Arm Mali"},
                                       {"panthor", "arm", "Arm Mali"},
                                       {"lima", "arm", "Arm Mali"},
                                       {"msm", "qualcomm", "Qualcomm Adreno"},
                                       {"msm_dpu", "qualcomm", "Qualcomm Adreno"},
                                       {"asahi", "apple", "Apple AGX"},
                                       {"powervr", "imagination", "PowerVR"},
                                       {"nvgpu", "nvidia", "NVIDIA Tegra"},
                                       {"gk20a", "nvidia", "NVIDIA Tegra"}};

/// AMD's names of processors with graphics inside, as the list of PCI ids writes them.
constexpr const char* kIntegratedNames[] = {
    "Strix",     "Phoenix",  "Hawk Point", "Raphael", "Granite Ridge",  "Rembrandt", "Renoir",
    "Cezanne",   "Lucienne", "Barcelo",    "Picasso", "Raven",          "Van Gogh",  "VanGogh",
    "Mendocino", "Krackan",  "Sephiroth",  "Dali",    "Radeon Graphics"};

std::uint32_t hexadecimal(const SystemFiles& files, const std::string& path) {
  return static_cast<std::uint32_t>(files.number(path).value_or(0));
}

std::string hex4(std::uint32_t value) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string text(4, '0');
  for (std::size_t i = 4; i-- > 0; value >>= 4) text[i] = kDigits[value & 15];
  return text;
}

/// From the list of PCI ids (pci-ids.ucw.cz): vendors at the beginning of a line, their devices
/// after one tab, "id  name". Empty where there is no list or no such entry.
std::string name_in_list(const SystemFiles& files, std::uint32_t vendor, std::uint32_t device) {
  constexpr std::size_t kListBytes = std::size_t{8} << 20;
  for (const char* path : {"/usr/share/misc/pci.ids", "/usr/share/hwdata/pci.ids"}) {
    const auto list = files.text(path, kListBytes);
    if (!list) continue;
    const std::size_t begin = list->find("\n" + hex4(vendor) + "  ");
    if (begin == std::string::npos) continue;
    const std::string wanted = "\n\t" + hex4(device) + "  ";
    const std::size_t at = list->find(wanted, begin);
    // The next line that begins with no tab and is no comment belongs to the next vendor.
    std::size_t end = list->find('\n', begin + 1);
    while (end != std::string::npos && end + 1 < list->size() &&
           ((*list)[end + 1] == '\t' || (*list)[end + 1] == '#')) {
      end = list->find('\n', end + 1);
    }
    if (at == std::string::npos || at > end) continue;
    const std::size_t name = at + wanted.size();
    return list->substr(name, std::min(list->find('\n', name), list->size()) - name);
  }
  return {};
}

/// NVIDIA's driver names its devices even without tools: "Model: \t NVIDIA GeForce RTX 3090".
std::string nvidia_name(const SystemFiles& files, const std::string& address) {
  for (const std::string& line :
       files.lines("/proc/driver/nvidia/gpus/" + address + "/information")) {
    if (!line.starts_with("Model:")) continue;
    const std::size_t begin = line.find_first_not_of(" \t", 6);
    if (begin != std::string::npos) return line.substr(begin);
  }
  return {};
}

/// "16.0 GT/s PCIe" in tenths, times the lanes in use. An idle device's link is slower than it can
/// be, so the highest speed counts.
double link_of(const SystemFiles& files, const std::string& folder) {
  const std::string speed = files.line(folder + "max_link_speed").value_or("");
  const std::size_t point = speed.find('.');
  double transfers = static_cast<double>(leading_number(speed).value_or(0));
  if (point != std::string::npos && speed.compare(point, 2, ".5") == 0) transfers += 0.5;
  return link_speed(transfers,
                    static_cast<int>(files.number(folder + "current_link_width").value_or(0) & 63));
}

FoundGpu pci_gpu(const SystemFiles& files, const std::string& address) {
  const std::string folder = "/sys/bus/pci/devices/" + address + "/";
  FoundGpu found;
  found.address = address;
  found.vendor_id = hexadecimal(files, folder + "vendor");
  found.device_id = hexadecimal(files, folder + "device");
  Gpu& gpu = found.gpu;
  gpu.vendor = vendor_of(found.vendor_id);
  gpu.driver = files.link_name(folder + "driver");
  gpu.name = nvidia_name(files, address);
  const std::string listed = name_in_list(files, found.vendor_id, found.device_id);
  if (gpu.name.empty()) gpu.name = listed;
  if (gpu.name.empty()) gpu.name = gpu.vendor + " " + hex4(found.device_id);
  gpu.integrated = gpu.vendor == "intel" && address.ends_with(":00:02.0");
  if (gpu.vendor == "amd") {
    gpu.integrated =
        std::any_of(std::begin(kIntegratedNames), std::end(kIntegratedNames),
                    [&](const char* n) { return listed.find(n) != std::string::npos; });
    // amdgpu's own files; what the driver lends an integrated one from main memory is "GTT".
    for (const char* part : {"vram", "gtt"}) {
      const std::string stem = folder + "mem_info_" + part;
      const std::uint64_t total = files.number(stem + "_total").value_or(0);
      const std::uint64_t used = files.number(stem + "_used").value_or(0);
      if (std::string_view(part) == "gtt" && !gpu.integrated) break;
      gpu.memory_total_bytes += total;
      gpu.memory_free_bytes += total - std::min(total, used);
    }
  }
  if (!gpu.integrated) gpu.link_bytes_per_second = link_of(files, folder);
  return found;
}

const ChipDriver* chip_driver(const std::string& driver) {
  for (const ChipDriver& known : kChipDrivers) {
    if (driver == known.driver) return &known;
  }
  return nullptr;
}

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  while (true) {
    const std::size_t end = std::min(text.find(separator), text.size());
    std::string_view part = text.substr(0, end);
    while (!part.empty() && (part.front() == ' ' || part.front() == '"')) part.remove_prefix(1);
    while (!part.empty() && (part.back() == ' ' || part.back() == '"' || part.back() == '\r')) {
      part.remove_suffix(1);
    }
    parts.push_back(part);
    if (end == text.size()) return parts;
    text.remove_prefix(end + 1);
  }
}

/// "00000000:01:00.0" and "0000:01:00.0" are the same place.
std::string pci_address(std::string_view text) {
  if (text.size() > 12) text.remove_prefix(text.size() - 12);
  return ascii_lower(text);
}

/// GT/s of a generation of PCI Express.
double transfers_of(std::uint64_t generation) {
  constexpr double kTransfers[] = {0, 2.5, 5, 8, 16, 32, 64};
  return generation < std::size(kTransfers) ? kTransfers[generation] : 0;
}

bool same_device(const FoundGpu& a, const FoundGpu& b) {
  if (!a.address.empty() && !b.address.empty()) return a.address == b.address;
  if (a.device_id != 0 && b.device_id != 0) {
    return a.vendor_id == b.vendor_id && a.device_id == b.device_id;
  }
  return a.gpu.vendor == b.gpu.vendor;
}

/// Tools know more than the system's files do, and what they do not know is left as it was.
void take(FoundGpu& to, const FoundGpu& from) {
  const auto take_text = [](std::string& old, const std::string& value) {
    if (!value.empty()) old = value;
  };
  take_text(to.gpu.name, from.gpu.name);
  take_text(to.gpu.driver, from.gpu.driver);
  // The vendor's own interface stays before Vulkan.
  if (to.gpu.api.empty()) to.gpu.api = from.gpu.api;
  if (from.gpu.memory_total_bytes > to.gpu.memory_total_bytes || from.gpu.api != "vulkan") {
    if (from.gpu.memory_total_bytes > 0) {
      to.gpu.memory_total_bytes = from.gpu.memory_total_bytes;
      to.gpu.memory_free_bytes = from.gpu.memory_free_bytes;
    }
  }
  if (from.gpu.link_bytes_per_second > 0) {
    to.gpu.link_bytes_per_second = from.gpu.link_bytes_per_second;
  }
  to.gpu.integrated = to.gpu.integrated || from.gpu.integrated;
}

struct AcceleratorDriver {
  const char* driver;
  const char* name;
};
constexpr AcceleratorDriver kAccelerators[] = {
    {"intel_vpu", "Intel NPU"},    {"amdxdna", "AMD XDNA NPU"}, {"habanalabs", "Intel Gaudi"},
    {"qaic", "Qualcomm Cloud AI"}, {"rocket", "Rockchip NPU"},  {"rknpu", "Rockchip NPU"},
    {"RKNPU", "Rockchip NPU"},     {"ethosu", "Arm Ethos NPU"}, {"tenstorrent", "Tenstorrent"}};

std::string accelerator_name(const std::string& driver) {
  for (const AcceleratorDriver& known : kAccelerators) {
    if (driver == known.driver) return known.name;
  }
  return driver.empty() ? std::string("unknown accelerator") : driver;
}

}  // namespace

std::string vendor_of(std::uint32_t id) {
  for (const Vendor& vendor : kVendors) {
    if (vendor.id == id) return vendor.name;
  }
  return {};
}

double link_speed(double gigatransfers, int lanes) noexcept {
  // Below 8 GT/s ten bits carry a byte, from there on 130 bits carry 16.
  const double bytes = gigatransfers < 8 ? gigatransfers / 10 : gigatransfers / 8 * 128 / 130;
  return gigatransfers > 0 && lanes > 0 ? 1e9 * bytes * lanes : 0;
}

std::vector<FoundGpu> gpus_of_system(const SystemFiles& files) {
  std::vector<FoundGpu> found;
  for (const std::string& address : files.list("/sys/bus/pci/devices")) {
    const std::string folder = "/sys/bus/pci/devices/" + address + "/";
    // Class 03: display controllers; 12: processing accelerators.
    const std::uint32_t device_class = hexadecimal(files, folder + "class") >> 16;
    const bool accelerator =
        device_class == 0x12 && hexadecimal(files, folder + "vendor") == 0x1002;
    if (device_class != 0x03 && !accelerator) continue;
    if (vendor_of(hexadecimal(files, folder + "vendor")).empty()) continue;
    found.push_back(pci_gpu(files, address));
  }
  std::set<std::string> seen;
  for (const std::string& card : files.list("/sys/class/drm")) {
    if (!card.starts_with("card") || card.find('-') != std::string::npos) continue;
    const std::string folder = "/sys/class/drm/" + card + "/device";
    const ChipDriver* known = chip_driver(files.link_name(folder + "/driver"));
    if (known == nullptr || !seen.insert(known->name).second) continue;
    FoundGpu chip;
    chip.gpu.name = known->name;
    chip.gpu.vendor = known->vendor;
    chip.gpu.driver = known->driver;
    chip.gpu.integrated = true;
    found.push_back(std::move(chip));
  }
  return found;
}

std::vector<FoundGpu> parse_nvidia_smi(std::string_view csv) {
  constexpr std::uint64_t kMebi = std::uint64_t{1} << 20;
  std::vector<FoundGpu> found;
  for (const std::string_view line : split(csv, '\n')) {
    const std::vector<std::string_view> cells = split(line, ',');
    if (cells.size() != 7 || cells[0].empty() || cells[1].find(':') == std::string_view::npos) {
      continue;
    }
    FoundGpu one;
    one.gpu.name = std::string(cells[0]).substr(0, 200);
    one.gpu.vendor = "nvidia";
    one.gpu.api = "cuda";
    one.gpu.driver = std::string(cells[4]).substr(0, 60);
    one.address = pci_address(cells[1]);
    one.vendor_id = 0x10DE;
    // "[N/A]" on machines that share memory (GB10, Jetson).
    const auto total = leading_number(cells[2]);
    one.gpu.integrated = !total;
    one.gpu.memory_total_bytes = std::min<std::uint64_t>(total.value_or(0), 1 << 30) * kMebi;
    one.gpu.memory_free_bytes =
        std::min<std::uint64_t>(leading_number(cells[3]).value_or(0), 1 << 30) * kMebi;
    one.gpu.link_bytes_per_second =
        link_speed(transfers_of(leading_number(cells[5]).value_or(0)),
                   static_cast<int>(leading_number(cells[6]).value_or(0) & 63));
    found.push_back(std::move(one));
  }
  return found;
}

std::vector<FoundGpu> parse_rocm_smi(std::string_view csv) {
  std::vector<FoundGpu> found;
  std::vector<std::string_view> columns;
  for (const std::string_view line : split(csv, '\n')) {
    const std::vector<std::string_view> cells = split(line, ',');
    if (columns.empty()) {
      if (cells.front() == "device") columns = cells;
      continue;
    }
    if (cells.size() != columns.size() || !cells.front().starts_with("card")) continue;
    const auto cell = [&](std::string_view beginning) -> std::string_view {
      for (std::size_t i = 0; i < columns.size(); ++i) {
        if (columns[i].starts_with(beginning)) return cells[i];
      }
      return {};
    };
    FoundGpu one;
    for (const char* column : {"Card series", "Card Series", "Card model", "Card Model"}) {
      const std::string_view name = cell(column);
      if (one.gpu.name.empty() && name != "N/A") one.gpu.name = std::string(name).substr(0, 200);
    }
    one.gpu.vendor = "amd";
    one.gpu.api = "rocm";
    one.gpu.driver = std::string(cell("Driver version")).substr(0, 60);
    one.vendor_id = 0x1002;
    one.address = pci_address(cell("PCI Bus"));
    const std::uint64_t total = leading_number(cell("VRAM Total Memory (B)")).value_or(0);
    const std::uint64_t used = leading_number(cell("VRAM Total Used Memory (B)")).value_or(0);
    one.gpu.memory_total_bytes = total;
    one.gpu.memory_free_bytes = total - std::min(total, used);
    found.push_back(std::move(one));
  }
  return found;
}

void merge_gpus(std::vector<FoundGpu>& all, const std::vector<FoundGpu>& more) {
  const std::size_t known = all.size();
  std::vector<bool> taken(known, false);
  for (const FoundGpu& one : more) {
    std::size_t place = 0;
    while (place < known && (taken[place] || !same_device(all[place], one))) ++place;
    if (place == known) {
      all.push_back(one);
      continue;
    }
    taken[place] = true;
    take(all[place], one);
  }
}

std::vector<Gpu> gpus(const SystemFiles& files, double seconds) {
  std::vector<FoundGpu> found = gpus_of_system(files);
  if (files.real()) {
    const auto nvidia = command_output({"nvidia-smi", std::string("--query-gpu=") + kNvidiaColumns,
                                        "--format=csv,noheader,nounits"},
                                       seconds);
    if (nvidia) merge_gpus(found, parse_nvidia_smi(*nvidia));
    const auto rocm = command_output({"rocm-smi", "--showproductname", "--showbus", "--showmeminfo",
                                      "vram", "--showdriverversion", "--csv"},
                                     seconds);
    if (rocm) merge_gpus(found, parse_rocm_smi(*rocm));
    merge_gpus(found, gpus_of_vulkan(seconds));
  }
  std::vector<Gpu> result;
  for (FoundGpu& one : found) result.push_back(std::move(one.gpu));
  return result;
}

std::vector<Npu> npus(const SystemFiles& files) {
  std::vector<Npu> found;
  for (const std::string& name : files.list("/sys/class/accel")) {
    const std::string driver = files.link_name("/sys/class/accel/" + name + "/device/driver");
    found.push_back({accelerator_name(driver), "/dev/accel/" + name});
  }
  if (found.empty()) {
    for (const std::string& name : files.list("/dev/accel")) {
      found.push_back({accelerator_name(""), "/dev/accel/" + name});
    }
  }
  for (const std::string& name : files.list("/dev")) {
    if (name.starts_with("apex_")) found.push_back({"Google Coral", "/dev/" + name});
    if (name.starts_with("hailo")) found.push_back({"Hailo", "/dev/" + name});
  }
  for (const std::string& name : files.list("/sys/class/drm")) {
    if (!name.starts_with("renderD")) continue;
    const std::string folder = "/sys/class/drm/" + name + "/device";
    const std::string driver = files.link_name(folder + "/driver");
    const bool display = hexadecimal(files, folder + "/class") >> 16 == 0x03;
    if (display || chip_driver(driver) != nullptr || driver.empty()) continue;
    if (driver == "vgem" || driver == "vkms") continue;  // made of software
    found.push_back({accelerator_name(driver), "/dev/dri/" + name});
  }
  return found;
}

}  // namespace hearth::machine
