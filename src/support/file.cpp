#include "support/file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <fstream>
#include <mutex>
#include <utility>

#include "support/error.h"
#include "support/file_error.h"
#include "support/write_target.h"

namespace hearth {
namespace {

/// What the SIGBUS handler may look at: plain atomics in static storage, because a handler may
/// touch nothing else.
struct MappedRange {
  std::atomic<std::uintptr_t> begin{0};
  std::atomic<std::uintptr_t> end{0};
  std::atomic<bool> damaged{false};
};

constexpr int kMaxMappings = 1024;
std::array<MappedRange, kMaxMappings> mapped_ranges;
struct sigaction previous_action;

/// Puts zero pages over a mapping from the page of `address` to its end: the file ends before that
/// page, so everything behind it is lost too, and one replacement instead of one per page keeps
/// clear of the limit on memory areas.
bool replace_lost_pages(std::uintptr_t address) {
  for (MappedRange& range : mapped_ranges) {
    const std::uintptr_t end = range.end.load();
    if (address < range.begin.load() || address >= end) continue;
    range.damaged.store(true);
    const auto page_size = static_cast<std::uintptr_t>(sysconf(_SC_PAGESIZE));
    const std::uintptr_t page = address & ~(page_size - 1);
    return mmap(reinterpret_cast<void*>(page), end - page, PROT_READ,
                MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0) != MAP_FAILED;
  }
  return false;
}

void on_bus_error(int signal_number, siginfo_t* info, void* context) {
  // Only the kernel's own faults carry an address; a signal sent by a process does not.
  const bool is_fault = info->si_code == BUS_ADRERR;
  const int saved_errno = errno;
  if (is_fault && replace_lost_pages(reinterpret_cast<std::uintptr_t>(info->si_addr))) {
    errno = saved_errno;
    return;
  }
  if ((previous_action.sa_flags & SA_SIGINFO) != 0) {
    if (previous_action.sa_sigaction != nullptr) {
      previous_action.sa_sigaction(signal_number, info, context);
      return;
    }
  } else if (previous_action.sa_handler != SIG_DFL && previous_action.sa_handler != SIG_IGN) {
    previous_action.sa_handler(signal_number);
    return;
  }
  signal(SIGBUS, SIG_DFL);
  raise(SIGBUS);
}

void install_bus_handler() {
  static std::once_flag once;
  std::call_once(once, [] {
    struct sigaction action = {};
    action.sa_sigaction = on_bus_error;
    action.sa_flags = SA_SIGINFO | SA_NODEFER;
    sigaction(SIGBUS, &action, &previous_action);
  });
}

int register_range(const std::byte* data, std::size_t size) {
  static std::mutex mutex;
  const std::lock_guard lock(mutex);
  for (int slot = 0; slot < kMaxMappings; ++slot) {
    MappedRange& range = mapped_ranges[slot];
    if (range.begin.load() != 0) continue;
    const auto begin = reinterpret_cast<std::uintptr_t>(data);
    range.damaged.store(false);
    range.end.store(begin + size);
    range.begin.store(begin);
    return slot;
  }
  throw Error("more than " + std::to_string(kMaxMappings) + " files are mapped at once",
              "close models that are not in use");
}

class FileDescriptor {
 public:
  explicit FileDescriptor(int descriptor) : descriptor_(descriptor) {}
  FileDescriptor(FileDescriptor&& other) noexcept
      : descriptor_(std::exchange(other.descriptor_, -1)) {}
  FileDescriptor(const FileDescriptor&) = delete;
  FileDescriptor& operator=(const FileDescriptor&) = delete;
  ~FileDescriptor() {
    if (descriptor_ >= 0) ::close(descriptor_);
  }
  [[nodiscard]] int get() const { return descriptor_; }

 private:
  int descriptor_;
};

FileDescriptor open_for_reading(const std::filesystem::path& path, std::size_t& size) {
  // O_NONBLOCK: opening a named pipe must not wait for a writer (it is refused below); regular
  // files ignore it.
  FileDescriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  if (file.get() < 0) {
    if (errno == ENOENT) {
      throw Error("no such file: '" + printable(path.string(), 300) + "'", "check the path");
    }
    throw_file_error("open", path);
  }
  struct stat status = {};
  if (::fstat(file.get(), &status) != 0) throw_file_error("examine", path);
  if (S_ISDIR(status.st_mode)) {
    throw Error("'" + printable(path.string(), 300) + "' is a folder, not a file",
                "name a file in it");
  }
  if (!S_ISREG(status.st_mode)) {
    throw Error("'" + printable(path.string(), 300) + "' is not a regular file");
  }
  size = static_cast<std::size_t>(status.st_size);
  return file;
}

}  // namespace

Mapping::Mapping(const std::filesystem::path& path) : path_(path) {
  const FileDescriptor file = open_for_reading(path, size_);
  if (size_ == 0) return;
  void* mapped = ::mmap(nullptr, size_, PROT_READ, MAP_SHARED, file.get(), 0);
  if (mapped == MAP_FAILED) throw_file_error("map", path);
  data_ = static_cast<const std::byte*>(mapped);
  install_bus_handler();
  try {
    slot_ = register_range(data_, size_);
  } catch (...) {
    ::munmap(mapped, size_);
    throw;
  }
}

Mapping::Mapping(Mapping&& other) noexcept { *this = std::move(other); }

Mapping& Mapping::operator=(Mapping&& other) noexcept {
  if (this == &other) return *this;
  release();
  path_ = std::move(other.path_);
  data_ = std::exchange(other.data_, nullptr);
  size_ = std::exchange(other.size_, 0);
  slot_ = std::exchange(other.slot_, -1);
  return *this;
}

Mapping::~Mapping() { release(); }

void Mapping::forget_pages() const noexcept {
  if (data_ != nullptr) ::madvise(const_cast<std::byte*>(data_), size_, MADV_DONTNEED);
}

void Mapping::release() noexcept {
  if (slot_ >= 0) {
    mapped_ranges[slot_].end.store(0);
    mapped_ranges[slot_].begin.store(0);
    slot_ = -1;
  }
  if (data_ != nullptr) {
    ::munmap(const_cast<std::byte*>(data_), size_);
    data_ = nullptr;
  }
}

bool Mapping::damaged() const noexcept { return slot_ >= 0 && mapped_ranges[slot_].damaged.load(); }

void Mapping::release(std::size_t offset, std::size_t size) const noexcept {
  const auto page_size = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  // The page at the end stays: its other half may be read next.
  const std::size_t begin = offset - offset % page_size;
  const std::size_t end = offset + size;
  const std::size_t whole = (end - end % page_size) - begin;
  if (end > size_ || end < begin + page_size) return;
  ::madvise(const_cast<std::byte*>(data_) + begin, whole, MADV_DONTNEED);
}

void Mapping::check() const {
  if (!damaged()) return;
  throw Error(
      "the file '" + printable(path_.string(), 300) + "' became shorter while it was in use",
      "restore the file and load it again");
}

std::string read_file(const std::filesystem::path& path, std::size_t limit) {
  std::size_t size = 0;
  const FileDescriptor file = open_for_reading(path, size);
  if (size > limit) {
    throw Error("'" + printable(path.string(), 300) + "' is larger than " + std::to_string(limit) +
                " bytes");
  }
  std::string bytes(size, '\0');
  std::size_t done = 0;
  while (done < size) {
    const ssize_t got = ::read(file.get(), bytes.data() + done, size - done);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw_file_error("read", path);
    if (got == 0) break;
    done += static_cast<std::size_t>(got);
  }
  bytes.resize(done);
  return bytes;
}

namespace {
constexpr std::size_t kWriteBufferBytes = std::size_t{1} << 20;
}  // namespace

AtomicFile::AtomicFile(std::filesystem::path path)
    : path_(write_target(path)), temporary_(path_.string() + ".XXXXXX") {
  descriptor_ = ::mkostemp(temporary_.data(), O_CLOEXEC);
  if (descriptor_ < 0) throw_file_error("write", path_);
}

AtomicFile::AtomicFile(AtomicFile&& other) noexcept
    : path_(std::move(other.path_)),
      temporary_(std::exchange(other.temporary_, {})),
      pending_(std::exchange(other.pending_, {})),
      descriptor_(std::exchange(other.descriptor_, -1)) {}

AtomicFile::~AtomicFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
  if (!temporary_.empty()) ::unlink(temporary_.c_str());
}

void AtomicFile::fail() const { throw_file_error("write", path_); }

void AtomicFile::write(std::span<const std::byte> bytes) {
  if (pending_.size() + bytes.size() > kWriteBufferBytes) flush();
  if (bytes.size() >= kWriteBufferBytes) {
    write_through(bytes);
  } else {
    pending_.insert(pending_.end(), bytes.begin(), bytes.end());
  }
}

void AtomicFile::flush() {
  write_through(pending_);
  pending_.clear();
}

void AtomicFile::write_through(std::span<const std::byte> bytes) const {
  std::size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t wrote = ::write(descriptor_, bytes.data() + done, bytes.size() - done);
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote < 0) fail();
    done += static_cast<std::size_t>(wrote);
  }
}

void AtomicFile::sync() {
  flush();
  pending_.shrink_to_fit();
  // mkostemp makes the file private; models and settings are readable by all.
  if (::fchmod(descriptor_, 0644) != 0 || ::fsync(descriptor_) != 0) fail();
  if (::close(std::exchange(descriptor_, -1)) != 0) fail();
}

void AtomicFile::commit() {
  if (descriptor_ >= 0) sync();
  if (::rename(temporary_.c_str(), path_.c_str()) != 0) fail();
  temporary_.clear();
}

void write_file_atomically(const std::filesystem::path& path, std::span<const std::byte> bytes) {
  AtomicFile file(path);
  file.write(bytes);
  file.commit();
}

void write_file_atomically(const std::filesystem::path& path, const std::string& text) {
  write_file_atomically(path, std::as_bytes(std::span(text)));
}

}  // namespace hearth
