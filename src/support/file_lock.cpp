#include "support/file_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <thread>

#include "support/error.h"

namespace hearth {

FileLock::FileLock(const std::filesystem::path& path, std::chrono::milliseconds patience) {
  descriptor_ = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (descriptor_ < 0) {
    throw Error(
        "cannot make the lock '" + printable(path.string(), 300) + "': " + std::strerror(errno),
        "check that the folder can be written");
  }
  const auto deadline = std::chrono::steady_clock::now() + patience;
  // Asked again and again: a wait inside flock cannot be given an end.
  while (flock(descriptor_, LOCK_EX | LOCK_NB) != 0) {
    const int problem = errno;
    if (problem == EINTR) continue;
    if (problem == EWOULDBLOCK && std::chrono::steady_clock::now() < deadline) {
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
      continue;
    }
    close(descriptor_);
    throw Error("cannot lock '" + printable(path.string(), 300) + "': " +
                    (problem == EWOULDBLOCK ? "another hearth holds it" : std::strerror(problem)),
                "wait for the other one to end");
  }
}

FileLock::~FileLock() { close(descriptor_); }

}  // namespace hearth
