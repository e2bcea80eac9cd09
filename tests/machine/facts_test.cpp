// Facts read from trees of files as machines of several kinds show them.
#include "machine/facts.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include "fake_tree.h"
#include "machine/cgroup.h"
#include "machine/command.h"
#include "machine/cpu.h"
#include "machine/disks.h"
#include "machine/memory.h"
#include "machine/processes.h"
#include "machine/processors.h"

namespace hearth::machine {
namespace {

constexpr std::uint64_t kMebi = std::uint64_t{1} << 20;
constexpr const char* kMemory =
    "MemTotal:       16000000 kB\nMemFree: 100 kB\nMemAvailable:   12000000 kB\n"
    "SwapTotal:       8000000 kB\nSwapFree:        7000000 kB\n";

TEST(SystemFiles, ReadsWhatIsThereAndNothingElse) {
  FakeTree tree;
  tree.file("/proc/a", "  first \nsecond\n").file("/proc/n", "0x1f\n").file("/proc/b", "12 apples");
  const SystemFiles files = tree.files();
  EXPECT_EQ(files.line("/proc/a"), "first");
  EXPECT_EQ(files.lines("/proc/a").size(), 2U);
  EXPECT_EQ(files.number("/proc/n"), 31U);
  EXPECT_EQ(files.number("/proc/b"), 12U);
  EXPECT_FALSE(files.number("/proc/a").has_value());
  EXPECT_FALSE(files.line("/proc/c").has_value());
  EXPECT_FALSE(files.text("/proc").has_value());
  EXPECT_EQ(files.list("/proc"), (std::vector<std::string>{"a", "b", "n"}));
  EXPECT_TRUE(files.list("/sys").empty());
  EXPECT_EQ(files.text("/proc/a", 4), "  fi");
}

TEST(MainMemory, WithoutLimitsIsThatOfTheSystem) {
  FakeTree tree;
  tree.file("/proc/meminfo", kMemory)
      .file("/sys/kernel/mm/transparent_hugepage/enabled", "always [madvise] never\n");
  const MainMemory memory = main_memory(tree.files());
  EXPECT_EQ(memory.total_bytes, std::uint64_t{16000000} * 1024);
  EXPECT_EQ(memory.available_bytes, std::uint64_t{12000000} * 1024);
  EXPECT_EQ(memory.swap_used_bytes, std::uint64_t{1000000} * 1024);
  EXPECT_EQ(memory.huge_pages, "madvise");
}

TEST(MainMemory, OfNothingIsZero) {
  FakeTree tree;
  const MainMemory memory = main_memory(tree.files());
  EXPECT_EQ(memory.total_bytes, 0U);
  EXPECT_EQ(memory.huge_pages, "");
}

TEST(MainMemory, AContainersLimitIsTheMachine) {
  FakeTree tree;  // version 2, as inside docker
  tree.file("/proc/meminfo", kMemory)
      .file("/proc/self/cgroup", "0::/\n")
      .file("/sys/fs/cgroup/memory.max", "4000000000\n")
      .file("/sys/fs/cgroup/memory.current", "3000000000\n")
      .file("/sys/fs/cgroup/memory.stat", "anon 500000000\ninactive_file 2000000000\n")
      .file("/sys/fs/cgroup/cpu.max", "150000 100000\n");
  const MainMemory memory = main_memory(tree.files());
  EXPECT_EQ(memory.total_bytes, 4000000000U);
  // Two of the three gigabytes in use are page cache.
  EXPECT_EQ(memory.available_bytes, 3000000000U);
  EXPECT_DOUBLE_EQ(processor_quota(tree.files()), 1.5);
  EXPECT_EQ(limits(tree.files()).container, "cgroup");
}

TEST(MainMemory, TheTightestLimitOfAllParentsCounts) {
  FakeTree tree;
  tree.file("/proc/meminfo", kMemory)
      .file("/proc/self/cgroup", "0::/a/b\n")
      .file("/sys/fs/cgroup/a/b/memory.max", "max\n")
      .file("/sys/fs/cgroup/a/b/cpu.max", "max 100000\n")
      .file("/sys/fs/cgroup/a/memory.max", "2000000000\n")
      .file("/sys/fs/cgroup/a/memory.current", "100\n")
      .file("/sys/fs/cgroup/a/cpu.max", "200000 100000\n")
      .file("/sys/fs/cgroup/cpu.max", "400000 100000\n");
  const Limits found = limits(tree.files());
  EXPECT_EQ(found.memory_bytes, 2000000000U);
  EXPECT_DOUBLE_EQ(found.processors, 2);
  EXPECT_EQ(main_memory(tree.files()).available_bytes, 2000000000U - 100);
}

TEST(MainMemory, Version1GroupsLikewise) {
  FakeTree tree;
  tree.file("/proc/meminfo", kMemory)
      .file("/proc/self/cgroup", "5:memory:/docker/abc\n4:cpu,cpuacct:/docker/abc\n0::/\n")
      .file("/sys/fs/cgroup/memory/memory.limit_in_bytes", "1000000000\n")  // the path is not seen
      .file("/sys/fs/cgroup/memory/memory.usage_in_bytes", "600000000\n")
      .file("/sys/fs/cgroup/memory/memory.stat", "cache 5\ntotal_inactive_file 100000000\n")
      .file("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "50000\n")
      .file("/sys/fs/cgroup/cpu/cpu.cfs_period_us", "25000\n");
  const MainMemory memory = main_memory(tree.files());
  EXPECT_EQ(memory.total_bytes, 1000000000U);
  EXPECT_EQ(memory.available_bytes, 500000000U);
  const Limits found = limits(tree.files());
  EXPECT_DOUBLE_EQ(found.processors, 2);
  EXPECT_EQ(found.container, "docker");
}

TEST(Limits, UnlimitedGroupsAreNoLimit) {
  FakeTree tree;
  tree.file("/proc/self/cgroup", "5:memory:/\n4:cpu:/\n0::/\n")
      .file("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n")
      .file("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n");
  const Limits found = limits(tree.files());
  EXPECT_EQ(found.memory_bytes, 0U);
  EXPECT_EQ(found.processors, 0);
  EXPECT_EQ(found.container, "");
}

TEST(Limits, NamesTheContainer) {
  EXPECT_EQ(limits(FakeTree().file("/.dockerenv", "").files()).container, "docker");
  EXPECT_EQ(limits(FakeTree().file("/run/.containerenv", "").files()).container, "podman");
  EXPECT_EQ(limits(FakeTree().file("/run/systemd/container", "lxc\n").files()).container, "lxc");
  EXPECT_EQ(
      limits(FakeTree().file("/proc/1/environ", std::string("A=1\0container=lxc\0B=2", 22)).files())
          .container,
      "lxc");
  EXPECT_EQ(limits(FakeTree().file("/proc/self/cgroup", "0::/kubepods/x\n").files()).container,
            "kubernetes");
  EXPECT_EQ(
      limits(
          FakeTree().file("/proc/sys/kernel/osrelease", "5.15.1-microsoft-standard-WSL2\n").files())
          .container,
      "wsl");
}

TEST(Processors, KindsFastestFirst) {
  FakeTree tree;
  tree.file("/proc/cpuinfo", "processor\t: 0\nmodel\t\t: 7\nmodel name\t: Example 9000\n");
  for (int cpu = 0; cpu < 6; ++cpu) {
    tree.file("/sys/devices/system/cpu/cpu" + std::to_string(cpu) + "/cpufreq/cpuinfo_max_freq",
              cpu < 4 ? "5200000\n" : "3800000\n");
  }
  tree.file("/sys/devices/system/cpu/cpu0/cache/index0/level", "1\n")
      .file("/sys/devices/system/cpu/cpu0/cache/index0/type", "Data\n")
      .file("/sys/devices/system/cpu/cpu0/cache/index0/size", "48K\n")
      .file("/sys/devices/system/cpu/cpu0/cache/index1/level", "3\n")
      .file("/sys/devices/system/cpu/cpu0/cache/index1/size", "32M\n");
  const Topology topology{{{0, 0, 0, 0, 1},
                           {1, 0, 1, 0, 1},
                           {2, 1, 0, 0, 1},
                           {3, 1, 1, 0, 1},
                           {4, 2, 0, 1, 0},
                           {5, 3, 0, 1, 0}}};
  const Processors cpu = processors(tree.files(), topology, 4, 6);
  EXPECT_EQ(cpu.name, "Example 9000");
  ASSERT_EQ(cpu.kinds.size(), 2U);
  EXPECT_EQ(cpu.kinds[0].cores, 2);
  EXPECT_EQ(cpu.kinds[0].threads, 4);
  EXPECT_DOUBLE_EQ(cpu.kinds[0].max_ghz, 5.2);
  EXPECT_EQ(cpu.kinds[1].cores, 2);
  EXPECT_DOUBLE_EQ(cpu.kinds[1].max_ghz, 3.8);
  EXPECT_EQ(cpu.nodes, 2);
  EXPECT_EQ(cpu.l1_bytes, 48U * 1024);
  EXPECT_EQ(cpu.l3_bytes, 32 * kMebi);
}

TEST(Processors, WithoutTopologyAllCoresAreAlike) {
  FakeTree tree;
  tree.file("/proc/device-tree/model", std::string("Raspberry Pi 5 Model B\0", 23));
  const Processors cpu = processors(tree.files(), {}, 4, 8);
  EXPECT_EQ(cpu.name, "Raspberry Pi 5 Model B");
  ASSERT_EQ(cpu.kinds.size(), 1U);
  EXPECT_EQ(cpu.kinds[0].cores, 4);
  EXPECT_EQ(cpu.kinds[0].threads, 8);
  EXPECT_EQ(cpu.nodes, 1);
}

TEST(Processors, OnlineOnesAreCounted) {
  const auto count = [](const char* ranges) {
    return online_processors(FakeTree().file("/sys/devices/system/cpu/online", ranges).files());
  };
  EXPECT_EQ(count("0-3,8,10-11\n"), 7);
  EXPECT_EQ(count("0\n"), 1);
  EXPECT_EQ(count("3-1\n"), 0);
  EXPECT_EQ(count("x\n"), 0);
  EXPECT_GE(online_processors(SystemFiles()), usable_processors());
}

TEST(Power, OnBatteryAndHot) {
  FakeTree tree;
  tree.file("/sys/class/power_supply/AC/type", "Mains\n")
      .file("/sys/class/power_supply/AC/online", "0\n")
      .file("/sys/class/power_supply/BAT0/type", "Battery\n")
      .file("/sys/class/power_supply/BAT0/capacity", "71\n")
      .file("/sys/class/power_supply/BAT0/status", "Discharging\n")
      .file("/sys/class/power_supply/mouse/type", "Battery\n")
      .file("/sys/class/power_supply/mouse/scope", "Device\n")
      .file("/sys/class/power_supply/mouse/capacity", "3\n")
      .file("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "powersave\n")
      .file("/sys/devices/system/cpu/cpu3/thermal_throttle/package_throttle_count", "12\n");
  const Power found = power(tree.files());
  EXPECT_EQ(found.source, "battery");
  EXPECT_EQ(found.battery_percent, 71);
  EXPECT_EQ(found.governor, "powersave");
  EXPECT_TRUE(found.throttled);
}

TEST(Power, OnMainsAndUnknown) {
  FakeTree laptop;
  laptop.file("/sys/class/power_supply/AC/online", "1\n")
      .file("/sys/class/power_supply/BAT0/type", "Battery\n")
      .file("/sys/class/power_supply/BAT0/capacity", "100\n")
      .file("/sys/class/power_supply/BAT0/status", "Full\n");
  EXPECT_EQ(power(laptop.files()).source, "mains");
  EXPECT_FALSE(power(laptop.files()).throttled);
  FakeTree desktop;
  EXPECT_EQ(power(desktop.files()).source, "unknown");
  EXPECT_EQ(power(desktop.files()).battery_percent, -1);
  FakeTree raspberry;
  raspberry.file("/sys/devices/platform/soc/soc:firmware/get_throttled", "0x20000\n");
  EXPECT_TRUE(power(raspberry.files()).throttled);
  // The kernel writes the number without "0x".
  raspberry.file("/sys/devices/platform/soc/soc:firmware/get_throttled", "50005\n");
  EXPECT_TRUE(power(raspberry.files()).throttled);
}

TEST(Disks, PartitionsEncryptionAndVolumesLeadToTheDisk) {
  FakeTree tree;
  const std::string disk = "/sys/devices/pci/nvme/nvme0n1";
  tree.file(disk + "/queue/rotational", "0\n").file(disk + "/nvme0n1p2/partition", "2\n");
  tree.link("/sys/dev/block/259:2", disk + "/nvme0n1p2");
  const std::string mapped = "/sys/devices/virtual/block/dm-0";
  tree.link(mapped + "/slaves/nvme0n1p2", disk + "/nvme0n1p2");
  tree.link("/sys/dev/block/254:0", mapped);
  for (const unsigned major : {259U, 254U}) {
    const DeviceFacts facts = device_facts(tree.files(), major, major == 259 ? 2 : 0);
    EXPECT_EQ(facts.name, "nvme0n1");
    EXPECT_EQ(facts.kind, "nvme");
  }
}

TEST(Disks, KindsByNameAndSpin) {
  FakeTree tree;
  const auto add = [&](const std::string& name, const std::string& numbers,
                       const std::string& rotational) {
    tree.file("/sys/devices/x/" + name + "/queue/rotational", rotational);
    tree.link("/sys/dev/block/" + numbers, "/sys/devices/x/" + name);
  };
  add("sda", "8:0", "1\n");
  add("sdb", "8:16", "0\n");
  add("vda", "253:0", "1\n");
  add("zram0", "251:0", "0\n");
  add("sdc", "8:32", "1\n");
  tree.file("/sys/devices/x/sdc/device/vendor", "QEMU    \n");
  EXPECT_EQ(device_facts(tree.files(), 8, 0).kind, "hdd");
  EXPECT_EQ(device_facts(tree.files(), 8, 16).kind, "ssd");
  EXPECT_EQ(device_facts(tree.files(), 253, 0).kind, "virtual");
  EXPECT_EQ(device_facts(tree.files(), 251, 0).kind, "memory");
  EXPECT_EQ(device_facts(tree.files(), 8, 32).kind, "virtual");
  EXPECT_EQ(device_facts(tree.files(), 9, 9).kind, "unknown");
}

TEST(Disks, FileSystemsWithoutADeviceOfTheirOwn) {
  FakeTree tree;
  tree.file("/sys/devices/x/sdb/queue/rotational", "0\n");
  tree.link("/sys/class/block/sdb", "/sys/devices/x/sdb");
  tree.file("/proc/self/mountinfo",
            "22 27 0:40 / /data rw,relatime shared:1 - btrfs /dev/sdb rw,space_cache\n"
            "23 27 0:41 / /far rw - fuse.sshfs me@there:/ rw\n");
  constexpr std::uint64_t kBtrfs = 0x9123683E, kTmpfs = 0x01021994, kNfs = 0x6969,
                          kFuse = 0x65735546;
  EXPECT_EQ(file_system_facts(tree.files(), kBtrfs, 0, 40).name, "sdb");
  EXPECT_EQ(file_system_facts(tree.files(), kBtrfs, 0, 40).kind, "ssd");
  EXPECT_EQ(file_system_facts(tree.files(), kFuse, 0, 41).kind, "network");
  EXPECT_EQ(file_system_facts(tree.files(), kNfs, 0, 42).kind, "network");
  EXPECT_EQ(file_system_facts(tree.files(), kTmpfs, 0, 43).kind, "memory");
  EXPECT_EQ(file_system_facts(tree.files(), kBtrfs, 0, 99).kind, "unknown");
}

TEST(Disks, EachFileSystemOnce) {
  testing::TemporaryFolder folder;
  const std::vector<Disk> disks =
      disks_of(SystemFiles(), {folder.path() / "not" / "yet", folder.path(), "/proc"});
  ASSERT_GE(disks.size(), 1U);
  EXPECT_EQ(disks[0].path, folder.path().string());
  EXPECT_GT(disks[0].total_bytes, 0U);
  EXPECT_LE(disks.size(), 2U);
}

TEST(DirectFile, LeavesNothingBehind) {
  testing::TemporaryFolder folder;
  {
    auto file = DirectFile::make(folder.path());
    if (!file) GTEST_SKIP() << "this file system has no direct access";
    alignas(4096) static std::byte bytes[8192];
    bytes[5000] = std::byte{7};
    EXPECT_TRUE(file->write(bytes, 0));
    EXPECT_TRUE(file->sync());
    bytes[5000] = std::byte{0};
    EXPECT_TRUE(file->read(bytes, 0));
    EXPECT_EQ(bytes[5000], std::byte{7});
    EXPECT_FALSE(file->read(bytes, 8192));
    EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
  }
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
  EXPECT_FALSE(DirectFile::make(folder.path() / "missing").has_value());
}

TEST(Command, GivesWhatAProgramPrints) {
  EXPECT_EQ(command_output({"echo", "two words"}, 20), "two words\n");
  EXPECT_FALSE(command_output({"hearth-no-such-program"}, 20).has_value());
  EXPECT_FALSE(command_output({"false"}, 20).has_value());
  EXPECT_EQ(command_output({"cat"}, 20), "");  // its input is empty
}

TEST(Command, EndsWhatTakesTooLongOrPrintsTooMuch) {
  EXPECT_FALSE(command_output({"sleep", "600"}, 0.05).has_value());
  EXPECT_FALSE(command_output({"yes"}, 20).has_value());
}

TEST(Command, SurvivesWorkThatCrashes) {
  EXPECT_EQ(isolated([] { return std::string(100000, 'x'); }, 20), std::string(100000, 'x'));
  EXPECT_FALSE(isolated([]() -> std::string { throw 1; }, 20).has_value());
  EXPECT_FALSE(isolated([]() -> std::string { _exit(3); }, 20).has_value());
}

std::string stat_line(const std::string& name, int user, int system, int pages) {
  return "7 (" + name + ") S 1 7 7 0 -1 4194304 0 0 0 0 " + std::to_string(user) + " " +
         std::to_string(system) + " 0 0 20 0 1 0 100 5000000 " + std::to_string(pages) + " 0\n";
}

TEST(Processes, TellsWhoIsBusyOrLarge) {
  FakeTree tree;
  tree.file("/proc/7/stat", stat_line("odd ) name", 100, 50, 10))
      .file("/proc/8/stat", stat_line("large", 5, 5, 1 << 18))
      .file("/proc/9/stat", stat_line("kernel thread", 900, 900, 0))
      .file("/proc/x/stat", stat_line("none", 1, 1, 1));
  const auto before = process_states(tree.files());
  EXPECT_EQ(before.size(), 2U);
  EXPECT_EQ(before.at(7).name, "odd ) name");
  EXPECT_EQ(before.at(7).ticks, 150U);
  const auto ticks = static_cast<int>(sysconf(_SC_CLK_TCK));
  tree.file("/proc/7/stat", stat_line("odd ) name", 100 + ticks, 50, 10));
  const auto busy =
      busy_processes(before, process_states(tree.files()), 0.5, 0.3, std::uint64_t{1} << 30);
  ASSERT_EQ(busy.size(), 2U);
  EXPECT_EQ(busy[0].number, 7);
  EXPECT_DOUBLE_EQ(busy[0].processors, 2);
  EXPECT_EQ(busy[1].name, "large");
  EXPECT_EQ(busy[1].processors, 0);
}

TEST(Processes, TimeOfAllProcessors) {
  FakeTree tree;
  tree.file("/proc/stat", "cpu  100 200 300 9999 8888 10 20 50 0 0\ncpu0 1 2 3\n");
  const auto ticks = static_cast<double>(sysconf(_SC_CLK_TCK));
  const ProcessorTime time = processor_time(tree.files());
  EXPECT_DOUBLE_EQ(time.busy, 630 / ticks);
  EXPECT_DOUBLE_EQ(time.stolen, 50 / ticks);
  EXPECT_EQ(time.own, 0);
  EXPECT_EQ(processor_time(FakeTree().files()).busy, 0);
  EXPECT_GT(processor_time(SystemFiles()).own, 0);
}

TEST(Facts, OfThisMachineStayValid) {
  const SystemFiles files;
  Machine machine = machine_facts(files, {"/"});
  EXPECT_EQ(machine.cpu.name, cpu_name());
  EXPECT_EQ(machine.cpu.usable_cores, usable_cores());
  EXPECT_EQ(what_changed(machine, files), "");
  machine.memory.available_bytes = 0;
  refresh_facts(machine, files);
  EXPECT_GT(machine.memory.available_bytes, 0U);
}

TEST(Facts, SayWhatChanged) {
  const SystemFiles files;
  const Machine here = machine_facts(files, {});
  Machine other = here;
  other.cpu.name = "another";
  EXPECT_EQ(what_changed(other, files), "the processor is another one");
  other = here;
  other.cpu.usable_cores += 1;
  EXPECT_EQ(what_changed(other, files), "the number of usable cores is another one");
  other = here;
  other.memory.total_bytes /= 2;
  EXPECT_EQ(what_changed(other, files), "the size of memory is another one");
}

}  // namespace
}  // namespace hearth::machine
