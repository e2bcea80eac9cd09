// Graphics and neural processors from trees of files and tables of tools.
#include "machine/devices.h"

#include <gtest/gtest.h>

#include "fake_tree.h"

namespace hearth::machine {
namespace {

constexpr std::uint64_t kGibi = std::uint64_t{1} << 30;

void add_pci(FakeTree& tree, const std::string& address, const std::string& device_class,
             const std::string& vendor, const std::string& device, const std::string& driver) {
  const std::string folder = "/sys/bus/pci/devices/" + address;
  tree.file(folder + "/class", device_class + "\n")
      .file(folder + "/vendor", vendor + "\n")
      .file(folder + "/device", device + "\n")
      .link(folder + "/driver", "/sys/bus/pci/drivers/" + driver);
}

FakeTree desktop_tree() {
  FakeTree tree;
  add_pci(tree, "0000:00:02.0", "0x030000", "0x8086", "0xa780", "i915");
  add_pci(tree, "0000:01:00.0", "0x030000", "0x10de", "0x2204", "nvidia");
  add_pci(tree, "0000:03:00.0", "0x030000", "0x1002", "0x744c", "amdgpu");
  add_pci(tree, "0000:04:00.0", "0x030000", "0x1a03", "0x2000", "ast");  // a server's console
  add_pci(tree, "0000:05:00.0", "0x020000", "0x8086", "0x15f3", "igc");  // network
  tree.file("/sys/bus/pci/devices/0000:03:00.0/mem_info_vram_total", "25753026560\n")
      .file("/sys/bus/pci/devices/0000:03:00.0/mem_info_vram_used", "753026560\n")
      .file("/sys/bus/pci/devices/0000:03:00.0/mem_info_gtt_total", "16000000000\n")
      .file("/sys/bus/pci/devices/0000:03:00.0/max_link_speed", "16.0 GT/s PCIe\n")
      .file("/sys/bus/pci/devices/0000:03:00.0/current_link_width", "16\n")
      .file("/proc/driver/nvidia/gpus/0000:01:00.0/information",
            "Model: \t\t NVIDIA GeForce RTX 3090\nIRQ: 1\n")
      .file("/usr/share/misc/pci.ids",
            "# comment\n1001  Other\n\t744c  Wrong vendor\n1002  AMD\n\t73bf  Navi 21\n"
            "\t744c  Navi 31 [Radeon RX 7900 XTX]\n\t\t1eae 7901  Sub\n8086  Intel\n"
            "\ta780  Raptor Lake-S GT1 [UHD Graphics 770]\n");
  return tree;
}

TEST(Gpus, FromTheSystemsFiles) {
  const FakeTree tree = desktop_tree();
  const std::vector<FoundGpu> found = gpus_of_system(tree.files());
  ASSERT_EQ(found.size(), 3U);
  EXPECT_EQ(found[0].gpu.name, "Raptor Lake-S GT1 [UHD Graphics 770]");
  EXPECT_EQ(found[0].gpu.vendor, "intel");
  EXPECT_TRUE(found[0].gpu.integrated);
  EXPECT_EQ(found[1].gpu.name, "NVIDIA GeForce RTX 3090");
  EXPECT_EQ(found[1].gpu.driver, "nvidia");
  EXPECT_EQ(found[1].gpu.api, "");
  EXPECT_FALSE(found[1].gpu.integrated);
  EXPECT_EQ(found[2].gpu.name, "Navi 31 [Radeon RX 7900 XTX]");
  EXPECT_EQ(found[2].gpu.memory_total_bytes, 25753026560U);
  EXPECT_EQ(found[2].gpu.memory_free_bytes, 25000000000U);
  EXPECT_NEAR(found[2].gpu.link_bytes_per_second, 31.5e9, 0.1e9);
}

TEST(Gpus, NoneOnABareMachine) {
  FakeTree tree;
  EXPECT_TRUE(gpus(tree.files(), 1).empty());
  EXPECT_TRUE(npus(tree.files()).empty());
}

TEST(Gpus, IntegratedOnesOfAmdWorkInMainMemory) {
  FakeTree tree;
  add_pci(tree, "0000:c4:00.0", "0x038000", "0x1002", "0x1586", "amdgpu");
  const std::string folder = "/sys/bus/pci/devices/0000:c4:00.0/";
  tree.file(folder + "mem_info_vram_total", "1000000000\n")
      .file(folder + "mem_info_vram_used", "400000000\n")
      .file(folder + "mem_info_gtt_total", "60000000000\n")
      .file(folder + "mem_info_gtt_used", "1000\n")
      .file("/usr/share/hwdata/pci.ids", "x\n1002  AMD\n\t1586  Strix Halo [Radeon 8060S]\n");
  const auto found = gpus(tree.files(), 1);
  ASSERT_EQ(found.size(), 1U);
  EXPECT_TRUE(found[0].integrated);
  EXPECT_EQ(found[0].memory_total_bytes, 61000000000U);
  EXPECT_EQ(found[0].memory_free_bytes, 61000000000U - 400001000);
  EXPECT_EQ(found[0].link_bytes_per_second, 0);
}

TEST(Gpus, OfSystemsOnAChip) {
  FakeTree tree;
  tree.link("/sys/class/drm/card0/device/driver", "/sys/bus/platform/drivers/v3d")
      .link("/sys/class/drm/card1/device/driver", "/sys/bus/platform/drivers/vc4-drm")
      .folder("/sys/class/drm/card1-HDMI-A-1");
  const auto found = gpus(tree.files(), 1);
  ASSERT_EQ(found.size(), 1U);
  EXPECT_EQ(found[0].name, "Broadcom VideoCore");
  EXPECT_TRUE(found[0].integrated);
}

TEST(Gpus, TableOfNvidiaSmi) {
  const auto found = parse_nvidia_smi(
      "NVIDIA GeForce RTX 3090, 00000000:01:00.0, 24576, 23912, 550.54.14, 4, 16\n"
      "NVIDIA GB10, 0000000F:01:00.0, [N/A], [N/A], 580.1, 1, 1\n"
      "garbage\n, , , , , , \n");
  ASSERT_EQ(found.size(), 2U);
  EXPECT_EQ(found[0].gpu.name, "NVIDIA GeForce RTX 3090");
  EXPECT_EQ(found[0].address, "0000:01:00.0");
  EXPECT_EQ(found[0].gpu.memory_total_bytes, 24 * kGibi);
  EXPECT_EQ(found[0].gpu.memory_free_bytes, std::uint64_t{23912} << 20);
  EXPECT_EQ(found[0].gpu.driver, "550.54.14");
  EXPECT_EQ(found[0].gpu.api, "cuda");
  EXPECT_NEAR(found[0].gpu.link_bytes_per_second, 31.5e9, 0.1e9);
  EXPECT_TRUE(found[1].gpu.integrated);
  EXPECT_EQ(found[1].address, "000f:01:00.0");
  EXPECT_TRUE(parse_nvidia_smi("NVIDIA-SMI has failed\n").empty());
}

TEST(Gpus, TableOfRocmSmi) {
  const auto found = parse_rocm_smi(
      "WARNING: something\n"
      "device,Card Series,Card Model,Card Vendor,PCI Bus,VRAM Total Memory (B),VRAM Total Used "
      "Memory (B),Driver version\n"
      "card0,Radeon RX 7900 XTX,0x744c,AMD,0000:03:00.0,25753026560,753026560,6.7.0\n"
      "card1,short line\nsystem,,,,,,,6.7.0\n");
  ASSERT_EQ(found.size(), 1U);
  EXPECT_EQ(found[0].gpu.name, "Radeon RX 7900 XTX");
  EXPECT_EQ(found[0].gpu.memory_free_bytes, 25000000000U);
  EXPECT_EQ(found[0].gpu.driver, "6.7.0");
  EXPECT_EQ(found[0].address, "0000:03:00.0");
}

TEST(Gpus, LinesOfVulkan) {
  const auto found = parse_vulkan(
      "2\t4318\t8708\t25769803776\t25000000000\tNVIDIA 550.54.14\tNVIDIA GeForce RTX 3090\n"
      "1\t32902\t42880\t8000000000\t8000000000\tIntel open-source Mesa driver\tIntel UHD 770\n"
      "4\t65541\t0\t1\t1\tllvmpipe\tllvmpipe (LLVM 15)\n"
      "x\t1\t1\t1\t1\td\tn\n1\t2\n");
  ASSERT_EQ(found.size(), 2U);
  EXPECT_EQ(found[0].gpu.vendor, "nvidia");
  EXPECT_EQ(found[0].device_id, 8708U);
  EXPECT_FALSE(found[0].gpu.integrated);
  EXPECT_TRUE(found[1].gpu.integrated);
}

TEST(Gpus, WhatSeveralSourcesTellIsOneDevice) {
  const FakeTree tree = desktop_tree();
  std::vector<FoundGpu> all = gpus_of_system(tree.files());
  merge_gpus(all,
             parse_nvidia_smi(
                 "NVIDIA GeForce RTX 3090, 00000000:01:00.0, 24576, 23912, 550.54.14, 4, 8\n"));
  merge_gpus(all,
             parse_vulkan("2\t4318\t8708\t25769803776\t1\tNVIDIA 550\tNVIDIA GeForce RTX 3090\n"
                          "2\t4098\t29772\t25753026560\t5\tradv Mesa 24\tRADV NAVI31\n"
                          "1\t32902\t42880\t8000000000\t7\tMesa\tIntel UHD 770\n"
                          "2\t9999\t1\t5\t5\tx\tStranger\n"));
  ASSERT_EQ(all.size(), 4U);
  EXPECT_EQ(all[0].gpu.api, "vulkan");
  EXPECT_EQ(all[0].gpu.memory_total_bytes, 8000000000U);
  EXPECT_EQ(all[1].gpu.api, "cuda");
  EXPECT_EQ(all[1].gpu.memory_free_bytes,
            std::uint64_t{23912} << 20);  // the vendor's tool knows better
  EXPECT_EQ(all[2].gpu.api, "vulkan");
  EXPECT_EQ(all[2].gpu.memory_free_bytes, 25000000000U);
  EXPECT_EQ(all[3].gpu.name, "Stranger");
}

TEST(Gpus, TwoAlikeStayTwo) {
  std::vector<FoundGpu> all = parse_nvidia_smi(
      "A, 00000000:01:00.0, 1000, 900, 5, 4, 16\nA, 00000000:02:00.0, 1000, 800, 5, 4, 16\n");
  all[0].device_id = all[1].device_id = 7;
  merge_gpus(all, parse_vulkan("2\t4318\t7\t10\t10\td\tA\n2\t4318\t7\t10\t10\td\tA\n"));
  EXPECT_EQ(all.size(), 2U);
}

TEST(Gpus, LinkSpeeds) {
  EXPECT_NEAR(link_speed(2.5, 1), 0.25e9, 1e6);
  EXPECT_NEAR(link_speed(8, 16), 15.75e9, 1e7);
  EXPECT_EQ(link_speed(0, 16), 0);
  EXPECT_EQ(link_speed(16, 0), 0);
}

TEST(Npus, NamedByTheirDrivers) {
  FakeTree tree;
  tree.link("/sys/class/accel/accel0/device/driver", "/sys/bus/pci/drivers/intel_vpu")
      .link("/sys/class/accel/accel1/device/driver", "/sys/bus/pci/drivers/something_new")
      .file("/dev/apex_0", "")
      .link("/sys/class/drm/renderD128/device/driver", "/sys/bus/pci/drivers/i915")
      .file("/sys/class/drm/renderD128/device/class", "0x030000\n")
      .link("/sys/class/drm/renderD129/device/driver", "/sys/bus/platform/drivers/RKNPU");
  const std::vector<Npu> found = npus(tree.files());
  ASSERT_EQ(found.size(), 4U);
  EXPECT_EQ(found[0].name, "Intel NPU");
  EXPECT_EQ(found[0].device, "/dev/accel/accel0");
  EXPECT_EQ(found[1].name, "something_new");
  EXPECT_EQ(found[2].name, "Google Coral");
  EXPECT_EQ(found[3].name, "Rockchip NPU");
  EXPECT_EQ(found[3].device, "/dev/dri/renderD129");
}

}  // namespace
}  // namespace hearth::machine
