#include "support/file_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>
#include <thread>
#include <utility>

#include "support/error.h"

namespace hearth {
namespace {

[[noreturn]] void fail(const std::filesystem::path& path) {
  throw Error("cannot lock '" + printable(path.string(), 300) + "': " + std::strerror(errno),
              "check that the folder can be written and its file system knows flock");
}

int open_lock_file(const std::filesystem::path& path) {
  const int descriptor = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (descriptor < 0) fail(path);
  return descriptor;
}

/// Whether `path` still names the open file: its last holder may have removed it meanwhile.
bool is_current(const std::filesystem::path& path, int descriptor) {
  struct stat opened = {}, named = {};
  return ::fstat(descriptor, &opened) == 0 && ::stat(path.c_str(), &named) == 0 &&
         opened.st_dev == named.st_dev && opened.st_ino == named.st_ino;
}

}  // namespace

std::optional<FileLock> FileLock::try_take(const std::filesystem::path& path) {
  for (;;) {
    FileLock lock(path, open_lock_file(path));
    if (::flock(lock.descriptor_, LOCK_EX | LOCK_NB) != 0) {
      if (errno == EWOULDBLOCK) return std::nullopt;
      if (errno == EINTR) continue;
      fail(path);
    }
    if (is_current(path, lock.descriptor_)) return lock;
  }
}

FileLock FileLock::take(const std::filesystem::path& path, const std::function<void()>& on_wait,
                        const std::atomic<bool>* cancel) {
  if (std::optional<FileLock> lock = try_take(path)) return std::move(*lock);
  if (on_wait) on_wait();
  for (;;) {
    FileLock lock(path, open_lock_file(path));
    while (::flock(lock.descriptor_, LOCK_EX) != 0) {
      if (errno != EINTR) fail(path);
      if (cancel != nullptr && cancel->load()) {
        throw Error("interrupted while another hearth was working", "", ExitCode::kInterrupted);
      }
    }
    if (is_current(path, lock.descriptor_)) return lock;
  }
}

FileLock FileLock::take_within(const std::filesystem::path& path,
                               std::chrono::milliseconds patience) {
  const auto deadline = std::chrono::steady_clock::now() + patience;
  // Asked again and again: a wait inside flock cannot be given an end.
  for (;;) {
    if (std::optional<FileLock> lock = try_take(path)) return std::move(*lock);
    if (std::chrono::steady_clock::now() >= deadline) {
      throw Error("cannot lock '" + printable(path.string(), 300) + "': another hearth holds it",
                  "wait for the other one to end");
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
}

FileLock::FileLock(FileLock&& other) noexcept
    : path_(std::move(other.path_)), descriptor_(std::exchange(other.descriptor_, -1)) {}

FileLock::~FileLock() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

void FileLock::remove_file() const noexcept { ::unlink(path_.c_str()); }

}  // namespace hearth
