// What the Vulkan loader finds. Its few structures are declared here as the Vulkan 1.3
// specification defines them, so that nothing is needed to build or run Hearth without Vulkan.
#include <dlfcn.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstring>
#include <string>

#include "machine/command.h"
#include "machine/devices.h"

namespace hearth::machine {
namespace {

using VulkanHandle = void*;
using Result = std::int32_t;
constexpr Result kSuccess = 0;
constexpr Result kIncomplete = 5;
constexpr std::uint32_t kVersion11 = 1U << 22 | 1U << 12;

// VkStructureType
constexpr std::int32_t kApplicationInfo = 0, kInstanceInfo = 1, kProperties2 = 1000059001,
                       kMemoryProperties2 = 1000059006, kDriverProperties = 1000196000,
                       kMemoryBudget = 1000237000;

struct ApplicationInfo {
  std::int32_t type = kApplicationInfo;
  const void* next = nullptr;
  const char* name = "hearth";
  std::uint32_t version = 1;
  const char* engine = "hearth";
  std::uint32_t engine_version = 1;
  std::uint32_t api_version = kVersion11;
};
struct InstanceInfo {
  std::int32_t type = kInstanceInfo;
  const void* next = nullptr;
  std::uint32_t flags = 0;
  const ApplicationInfo* application = nullptr;
  std::uint32_t layers = 0;
  const char* const* layer_names = nullptr;
  std::uint32_t extensions = 0;
  const char* const* extension_names = nullptr;
};
/// VkPhysicalDeviceProperties; its limits, of about 500 bytes, are of no interest.
struct alignas(8) Properties {
  std::uint32_t api_version, driver_version, vendor, device;
  std::int32_t device_type;
  char name[256];
  std::uint8_t rest[2048];
};
struct DriverProperties {
  std::int32_t type = kDriverProperties;
  void* next = nullptr;
  std::int32_t id = 0;
  char name[256] = {};
  char info[256] = {};
  std::uint8_t conformance[4] = {};
};
struct Properties2 {
  std::int32_t type = kProperties2;
  void* next = nullptr;
  Properties properties{};
};
struct MemoryType {
  std::uint32_t flags, heap;
};
struct MemoryHeap {
  std::uint64_t size;
  std::uint32_t flags;
};
struct MemoryProperties {
  std::uint32_t types;
  MemoryType type[32];
  std::uint32_t heaps;
  MemoryHeap heap[16];
};
struct MemoryBudget {
  std::int32_t type = kMemoryBudget;
  void* next = nullptr;
  std::uint64_t budget[16] = {};
  std::uint64_t usage[16] = {};
};
struct MemoryProperties2 {
  std::int32_t type = kMemoryProperties2;
  void* next = nullptr;
  MemoryProperties properties{};
};
static_assert(sizeof(MemoryProperties) == 520, "VkPhysicalDeviceMemoryProperties");
static_assert(offsetof(Properties, name) == 20, "VkPhysicalDeviceProperties");
constexpr std::uint32_t kDeviceLocal = 1;
enum DeviceType : std::int32_t { kIntegrated = 1, kDiscrete = 2, kVirtual = 3 };

using GetProcedure = void* (*)(VulkanHandle instance, const char* name);
using CreateInstance = Result (*)(const InstanceInfo*, const void* allocator, VulkanHandle*);
using EnumerateDevices = Result (*)(VulkanHandle instance, std::uint32_t*, VulkanHandle*);
using GetProperties2 = void (*)(VulkanHandle device, Properties2*);
using GetMemory2 = void (*)(VulkanHandle device, MemoryProperties2*);

template <class Function>
Function procedure(GetProcedure get, VulkanHandle instance, const char* name) {
  return reinterpret_cast<Function>(get(instance, name));
}

/// Without what separates fields and lines.
std::string plain(const char* text, std::size_t size) {
  std::string result(text, strnlen(text, size));
  for (char& c : result) {
    if (static_cast<unsigned char>(c) < 0x20) c = ' ';
  }
  return result;
}

std::string device_line(VulkanHandle device, GetProperties2 properties_of, GetMemory2 memory_of) {
  DriverProperties driver;
  Properties2 properties;
  properties.next = &driver;
  properties_of(device, &properties);
  const Properties& p = properties.properties;
  MemoryBudget budget;
  MemoryProperties2 memory;
  memory.next = &budget;
  memory_of(device, &memory);
  std::uint64_t total = 0, free = 0;
  const std::uint32_t heaps = std::min<std::uint32_t>(memory.properties.heaps, 16);
  for (std::uint32_t i = 0; i < heaps; ++i) {
    const MemoryHeap& heap = memory.properties.heap[i];
    if ((heap.flags & kDeviceLocal) == 0) continue;
    total += heap.size;
    // Drivers that know no budget leave zeroes.
    const std::uint64_t left = budget.budget[i] - std::min(budget.budget[i], budget.usage[i]);
    free += budget.budget[i] > 0 ? std::min(left, heap.size) : heap.size;
  }
  std::string line;
  for (const std::uint64_t number :
       {static_cast<std::uint64_t>(p.device_type), std::uint64_t{p.vendor}, std::uint64_t{p.device},
        total, free}) {
    line += std::to_string(number) + '\t';
  }
  return line + plain(driver.name, sizeof driver.name) + ' ' +
         plain(driver.info, sizeof driver.info) + '\t' + plain(p.name, sizeof p.name) + '\n';
}

/// In a process of its own; nothing is given back, since it ends.
std::string device_lines() {
  VulkanHandle library = ::dlopen("libvulkan.so.1", RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) return {};
  const auto get = reinterpret_cast<GetProcedure>(::dlsym(library, "vkGetInstanceProcAddr"));
  if (get == nullptr) return {};
  const auto create = procedure<CreateInstance>(get, nullptr, "vkCreateInstance");
  const ApplicationInfo application;
  InstanceInfo info;
  info.application = &application;
  VulkanHandle instance = nullptr;
  if (create == nullptr || create(&info, nullptr, &instance) != kSuccess) return {};
  const auto enumerate = procedure<EnumerateDevices>(get, instance, "vkEnumeratePhysicalDevices");
  const auto properties =
      procedure<GetProperties2>(get, instance, "vkGetPhysicalDeviceProperties2");
  const auto memory = procedure<GetMemory2>(get, instance, "vkGetPhysicalDeviceMemoryProperties2");
  if (enumerate == nullptr || properties == nullptr || memory == nullptr) return {};
  std::array<VulkanHandle, 32> devices{};
  auto count = static_cast<std::uint32_t>(devices.size());
  const Result listed = enumerate(instance, &count, devices.data());
  if (listed != kSuccess && listed != kIncomplete) return {};
  std::string lines;
  for (std::uint32_t i = 0; i < count; ++i) lines += device_line(devices[i], properties, memory);
  return lines;
}

}  // namespace

std::vector<FoundGpu> gpus_of_vulkan(double seconds) {
  // Without the loader there is nothing to run in a process of its own.
  void* const library = ::dlopen("libvulkan.so.1", RTLD_LAZY | RTLD_LOCAL);
  if (library == nullptr) return {};
  ::dlclose(library);
  return parse_vulkan(isolated(device_lines, seconds).value_or(""));
}

std::vector<FoundGpu> parse_vulkan(std::string_view lines) {
  std::vector<FoundGpu> found;
  while (!lines.empty()) {
    const std::size_t end = std::min(lines.find('\n'), lines.size());
    std::string_view line = lines.substr(0, end);
    lines.remove_prefix(std::min(end + 1, lines.size()));
    std::vector<std::string> fields;
    for (std::size_t tab; (tab = line.find('\t')) != std::string_view::npos;) {
      fields.emplace_back(line.substr(0, tab));
      line.remove_prefix(tab + 1);
    }
    if (fields.size() != 6 || line.empty()) continue;
    std::array<std::uint64_t, 5> numbers{};
    bool whole = true;
    for (std::size_t i = 0; i < numbers.size(); ++i) {
      const auto value = leading_number(fields[i]);
      whole = whole && value.has_value();
      numbers[i] = value.value_or(0);
    }
    const auto type = static_cast<std::int32_t>(numbers[0]);
    if (!whole || (type != kIntegrated && type != kDiscrete && type != kVirtual)) continue;
    FoundGpu one;
    one.vendor_id = static_cast<std::uint32_t>(numbers[1]);
    one.device_id = static_cast<std::uint32_t>(numbers[2]);
    one.gpu.memory_total_bytes = numbers[3];
    one.gpu.memory_free_bytes = numbers[4];
    one.gpu.vendor = vendor_of(one.vendor_id);
    one.gpu.driver = fields[5].substr(0, 200);
    one.gpu.name = std::string(line.substr(0, 200));
    one.gpu.api = "vulkan";
    one.gpu.integrated = type == kIntegrated;
    found.push_back(std::move(one));
  }
  return found;
}

}  // namespace hearth::machine
