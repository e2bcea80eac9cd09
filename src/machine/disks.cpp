#include "machine/disks.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <set>
#include <utility>

#include "support/whole_io.h"

namespace hearth::machine {
namespace {

constexpr int kMaxLayers = 8;  // of encryption and volume groups

// Magic numbers of file systems: statfs(2) and linux/magic.h.
constexpr std::uint64_t kNetwork[] = {0x6969,     0x517B,     0xFF534D42, 0xFE534D42,
                                      0x00C36400, 0x01021997, 0x5346414F, 0x47504653,
                                      0x0BD00BD0, 0x19830326};  // NFS SMB CIFS SMB2 Ceph 9P AFS
                                                                // GPFS Lustre BeeGFS
constexpr std::uint64_t kInMemory[] = {0x01021994, 0x858458F6,
                                       0x958458F6};  // tmpfs ramfs hugetlbfs
constexpr std::uint64_t kVirtioFs = 0x6A656A63;

template <std::size_t N>
bool among(const std::uint64_t (&values)[N], std::uint64_t value) {
  return std::find(std::begin(values), std::end(values), value) != std::end(values);
}

bool made_by_a_hypervisor(const SystemFiles& files, const std::string& folder) {
  const std::string maker = files.line(folder + "/device/vendor").value_or("") + " " +
                            files.line(folder + "/device/model").value_or("");
  for (const char* word : {"QEMU", "VBOX", "VMware", "Virtual", "Msft", "Google PersistentDisk",
                           "Amazon Elastic Block Store"}) {
    if (maker.find(word) != std::string::npos) return true;
  }
  return false;
}

/// `folder` is the whole disk's, below /sys/devices.
std::string kind_of(const SystemFiles& files, const std::string& folder, const std::string& name) {
  if (name.starts_with("zram") || name.starts_with("ram") || name.starts_with("pmem")) {
    return "memory";
  }
  if (name.starts_with("nbd") || name.starts_with("rbd")) return "network";
  if (name.starts_with("vd") || name.starts_with("xvd") || made_by_a_hypervisor(files, folder)) {
    return "virtual";
  }
  if (name.starts_with("nvme")) return "nvme";
  const auto rotational = files.number(folder + "/queue/rotational");
  if (!rotational) return "unknown";
  return *rotational > 0 ? "hdd" : "ssd";
}

DeviceFacts facts_of_folder(const SystemFiles& files, std::string folder, int layers) {
  if (folder.empty()) return {"", "unknown"};
  // Partitions lie in the folder of their disk.
  if (files.exists(folder + "/partition")) folder.erase(folder.find_last_of('/'));
  const std::string name = folder.substr(folder.find_last_of('/') + 1);
  const std::vector<std::string> below = files.list(folder + "/slaves");
  if (!below.empty() && layers < kMaxLayers) {
    return facts_of_folder(files, files.resolved(folder + "/slaves/" + below.front()), layers + 1);
  }
  return {name, kind_of(files, folder, name)};
}

/// Of file systems with device numbers of their own (btrfs, ZFS, overlays): what is mounted, if it
/// is a device.
DeviceFacts facts_by_mount(const SystemFiles& files, unsigned major, unsigned minor) {
  const std::string numbers = std::to_string(major) + ":" + std::to_string(minor);
  for (const std::string& line : files.lines("/proc/self/mountinfo")) {
    // "36 35 98:0 /root /mount options - type source options", proc(5)
    const std::vector<std::string> words = words_of(line);
    if (words.size() < 5 || words[2] != numbers) continue;
    const auto dash = std::find(words.begin(), words.end(), "-");
    if (words.end() - dash < 3) continue;
    const std::string& type = dash[1];
    const std::string& source = dash[2];
    if (type == "fuse.sshfs" || type == "fuse.rclone" || type == "fuse.s3fs")
      return {"", "network"};
    if (!source.starts_with("/dev/")) continue;
    const std::string name = source.substr(source.find_last_of('/') + 1);
    return facts_of_folder(files, files.resolved("/sys/class/block/" + name), 0);
  }
  return {"", "unknown"};
}

std::filesystem::path nearest_existing(std::filesystem::path folder) {
  std::error_code trouble;
  if (folder.is_relative()) folder = std::filesystem::absolute(folder, trouble);
  while (!std::filesystem::is_directory(folder, trouble) && folder != folder.root_path()) {
    folder = folder.parent_path();
  }
  return folder;
}

}  // namespace

DeviceFacts device_facts(const SystemFiles& files, unsigned major, unsigned minor) {
  return facts_of_folder(
      files,
      files.resolved("/sys/dev/block/" + std::to_string(major) + ":" + std::to_string(minor)), 0);
}

DeviceFacts file_system_facts(const SystemFiles& files, std::uint64_t magic, unsigned major,
                              unsigned minor) {
  if (among(kInMemory, magic)) return {"", "memory"};
  if (among(kNetwork, magic)) return {"", "network"};
  if (magic == kVirtioFs) return {"", "virtual"};
  DeviceFacts facts = major > 0 ? device_facts(files, major, minor) : DeviceFacts{"", "unknown"};
  if (facts.kind == "unknown") facts = facts_by_mount(files, major, minor);
  return facts;
}

std::vector<Disk> disks_of(const SystemFiles& files,
                           const std::vector<std::filesystem::path>& folders) {
  std::vector<Disk> disks;
  std::set<dev_t> seen;
  for (const std::filesystem::path& wanted : folders) {
    const std::filesystem::path folder = nearest_existing(wanted);
    struct stat file {};
    struct statfs system {};
    if (::stat(folder.c_str(), &file) != 0 || ::statfs(folder.c_str(), &system) != 0) continue;
    if (!seen.insert(file.st_dev).second) continue;
    Disk disk;
    disk.path = folder.string();
    // The field's type differs between architectures; magic numbers have 32 bits.
    const auto magic = static_cast<std::uint32_t>(system.f_type);
    const DeviceFacts facts =
        file_system_facts(files, magic, gnu_dev_major(file.st_dev), gnu_dev_minor(file.st_dev));
    disk.device = facts.name;
    disk.kind = facts.kind;
    const auto block =
        static_cast<std::uint64_t>(system.f_frsize > 0 ? system.f_frsize : system.f_bsize);
    disk.total_bytes = block * system.f_blocks;
    disk.free_bytes = block * system.f_bavail;
    disks.push_back(std::move(disk));
  }
  return disks;
}

std::uint64_t free_bytes(const std::filesystem::path& folder) {
  struct statfs system {};
  if (::statfs(folder.c_str(), &system) != 0) return 0;
  return static_cast<std::uint64_t>(system.f_frsize > 0 ? system.f_frsize : system.f_bsize) *
         system.f_bavail;
}

std::optional<DirectFile> DirectFile::make(const std::filesystem::path& folder) {
  const int nameless = ::open(folder.c_str(), O_TMPFILE | O_RDWR | O_DIRECT | O_CLOEXEC, 0600);
  if (nameless >= 0) return DirectFile(nameless);
  if (errno != EOPNOTSUPP && errno != EISDIR && errno != ENOENT) return std::nullopt;
  // File systems without nameless files: one whose name is taken away at once.
  std::string name = (folder / ".hearth-probe-XXXXXX").string();
  const int named = ::mkostemp(name.data(), O_DIRECT | O_CLOEXEC);
  if (named < 0) return std::nullopt;
  ::unlink(name.c_str());
  return DirectFile(named);
}

DirectFile::DirectFile(DirectFile&& other) noexcept
    : descriptor_(std::exchange(other.descriptor_, -1)) {}

DirectFile::~DirectFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

bool DirectFile::write(std::span<const std::byte> bytes, std::uint64_t offset) const noexcept {
  return write_whole_at(descriptor_, offset, bytes);
}

bool DirectFile::read(std::span<std::byte> bytes, std::uint64_t offset) const noexcept {
  return read_whole_at(descriptor_, offset, bytes) == bytes.size();
}

bool DirectFile::sync() const noexcept { return ::fdatasync(descriptor_) == 0; }

}  // namespace hearth::machine
