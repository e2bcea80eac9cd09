#include "cli/standard_input.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "cli/interrupt.h"
#include "cli/main.h"
#include "support/error.h"

namespace hearth::cli {

std::string read_stdin(std::size_t limit, std::string_view what) {
  std::string text;
  char bytes[65536];
  for (;;) {
    const ssize_t count = read(STDIN_FILENO, bytes, sizeof bytes);
    if (count < 0 && errno == EINTR) {
      if (InterruptGuard::interrupted()) throw QuietExit{ExitCode::kInterrupted};
      continue;
    }
    if (count < 0) throw Error(fmt::format("cannot read stdin: {}", std::strerror(errno)));
    if (count == 0) return text;
    text.append(bytes, static_cast<std::size_t>(count));
    if (text.size() > limit) {
      throw Error(fmt::format("{} on stdin is larger than {} MiB", what, limit >> 20));
    }
  }
}

}  // namespace hearth::cli
