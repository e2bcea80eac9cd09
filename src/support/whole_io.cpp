#include "support/whole_io.h"

#include <unistd.h>

#include <cerrno>

namespace hearth {

bool write_whole(int descriptor, std::span<const std::byte> bytes) noexcept {
  while (!bytes.empty()) {
    const ssize_t wrote = ::write(descriptor, bytes.data(), bytes.size());
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote == 0) errno = EIO;  // nothing of something: the disk does not go on
    if (wrote <= 0) return false;
    bytes = bytes.subspan(static_cast<std::size_t>(wrote));
  }
  return true;
}

bool write_whole_at(int descriptor, std::uint64_t offset,
                    std::span<const std::byte> bytes) noexcept {
  while (!bytes.empty()) {
    const ssize_t wrote =
        ::pwrite(descriptor, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote == 0) errno = EIO;  // nothing of something: the disk does not go on
    if (wrote <= 0) return false;
    offset += static_cast<std::uint64_t>(wrote);
    bytes = bytes.subspan(static_cast<std::size_t>(wrote));
  }
  return true;
}

std::optional<std::size_t> read_whole_at(int descriptor, std::uint64_t offset,
                                         std::span<std::byte> bytes) noexcept {
  std::size_t done = 0;
  while (done < bytes.size()) {
    const std::span<std::byte> rest = bytes.subspan(done);
    const ssize_t got =
        ::pread(descriptor, rest.data(), rest.size(), static_cast<off_t>(offset + done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return std::nullopt;
    if (got == 0) break;
    done += static_cast<std::size_t>(got);
  }
  return done;
}

}  // namespace hearth
