#include "machine/command.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cmath>

namespace hearth::machine {
namespace {

constexpr std::size_t kMaxOutput = std::size_t{1} << 20;
using Clock = std::chrono::steady_clock;

/// Reads until the end, the deadline or too much; whether the end was reached.
bool read_all(int descriptor, Clock::time_point deadline, std::string& output) {
  char buffer[4096];
  while (output.size() <= kMaxOutput) {
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now());
    if (left.count() <= 0) return false;
    pollfd waited{descriptor, POLLIN, 0};
    const int ready =
        ::poll(&waited, 1, static_cast<int>(std::min<long long>(left.count(), 60000)));
    if (ready < 0 && errno != EINTR) return false;
    if (ready <= 0) continue;
    const ssize_t got = ::read(descriptor, buffer, sizeof buffer);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return got == 0;
    output.append(buffer, static_cast<std::size_t>(got));
  }
  return false;
}

/// Whether the child ended well; it is killed at the deadline.
bool ended_well(pid_t child, Clock::time_point deadline) {
  int status = 0;
  while (Clock::now() < deadline) {
    const pid_t ended = ::waitpid(child, &status, WNOHANG);
    if (ended == child) return WIFEXITED(status) && WEXITSTATUS(status) == 0;
    if (ended < 0 && errno != EINTR) return false;
    ::poll(nullptr, 0, 2);
  }
  ::kill(child, SIGKILL);
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return false;
}

/// Starts `child`, whose standard output is a pipe, and collects what it writes there.
std::optional<std::string> collect(const std::function<void(int output)>& child, double seconds) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return std::nullopt;
  const pid_t process = ::fork();
  if (process < 0) {
    ::close(ends[0]);
    ::close(ends[1]);
    return std::nullopt;
  }
  if (process == 0) {
    const int nowhere = ::open("/dev/null", O_RDWR | O_CLOEXEC);
    ::dup2(nowhere, STDIN_FILENO);
    ::dup2(nowhere, STDERR_FILENO);
    ::dup2(ends[1], STDOUT_FILENO);
    child(ends[1]);
    ::_exit(127);
  }
  ::close(ends[1]);
  const auto deadline = Clock::now() + std::chrono::milliseconds(std::lround(seconds * 1e3));
  std::string output;
  const bool complete = read_all(ends[0], deadline, output);
  ::close(ends[0]);
  if (!complete) ::kill(process, SIGKILL);
  return ended_well(process, deadline) && complete ? std::optional(std::move(output))
                                                   : std::nullopt;
}

}  // namespace

std::optional<std::string> command_output(const std::vector<std::string>& arguments,
                                          double seconds) {
  // Everything that allocates is done before the fork.
  std::vector<char*> words;
  for (const std::string& argument : arguments)
    words.push_back(const_cast<char*>(argument.c_str()));
  words.push_back(nullptr);
  return collect([&](int) { ::execvp(words[0], words.data()); }, seconds);
}

std::optional<std::string> isolated(const std::function<std::string()>& work, double seconds) {
  return collect(
      [&](int output) {
        std::string result;
        try {
          result = work();
        } catch (...) {
          ::_exit(1);
        }
        std::size_t done = 0;
        while (done < result.size()) {
          const ssize_t wrote = ::write(output, result.data() + done, result.size() - done);
          if (wrote < 0 && errno == EINTR) continue;
          if (wrote <= 0) ::_exit(1);
          done += static_cast<std::size_t>(wrote);
        }
        ::_exit(0);
      },
      seconds);
}

}  // namespace hearth::machine
