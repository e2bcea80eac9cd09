#include "program.h"

#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <stdexcept>

extern char** environ;

namespace hearth::testing {
namespace {

int exit_code_of(int status) {
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/// Whether the machine was busy when it was probed is not the test's affair.
void drop_disturbance(std::string& errors) {
  const std::size_t begin = errors.find("hearth: other programs kept ");
  if (begin == std::string::npos) return;
  const std::size_t end = errors.find('\n', begin);
  errors.erase(begin, end == std::string::npos ? end : end + 1 - begin);
}

}  // namespace

void Program::execute() const {
  std::vector<std::string> environment;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string text = *entry;
    const bool ours = text.starts_with("HEARTH_") || text.starts_with("XDG_") ||
                      text.starts_with("HOME=") || text.starts_with("TERM=") ||
                      text.starts_with("NO_COLOR=");
    const bool given = variables_.contains(text.substr(0, text.find('=')));
    if (!given && (!ours || text.starts_with("HEARTH_CPU="))) environment.push_back(text);
  }
  const std::filesystem::path home = home_.empty() ? own_home_->path() : home_;
  if (!variables_.contains("HOME")) environment.push_back("HOME=" + home.string());
  environment.push_back("TERM=xterm");
  for (const auto& [name, value] : variables_) environment.push_back(name + "=" + value);
  std::vector<char*> argument_pointers, environment_pointers;
  std::string program = HEARTH_TEST_PROGRAM;
  std::vector<std::string> arguments = arguments_;
  argument_pointers.push_back(program.data());
  for (std::string& argument : arguments) argument_pointers.push_back(argument.data());
  argument_pointers.push_back(nullptr);
  for (std::string& entry : environment) environment_pointers.push_back(entry.data());
  environment_pointers.push_back(nullptr);
  execve(program.c_str(), argument_pointers.data(), environment_pointers.data());
  _exit(127);
}

ProgramResult Program::run() const {
  std::array<std::array<int, 2>, 3> pipes{};
  for (auto& ends : pipes) {
    if (pipe2(ends.data(), O_CLOEXEC) != 0) throw std::runtime_error("pipe2");
  }
  const pid_t process = fork();
  if (process < 0) throw std::runtime_error("fork");
  if (process == 0) {
    dup2(pipes[0][0], 0);
    dup2(pipes[1][1], 1);
    dup2(pipes[2][1], 2);
    execute();
  }
  close(pipes[0][0]);
  close(pipes[1][1]);
  close(pipes[2][1]);
  signal(SIGPIPE, SIG_IGN);
  std::size_t written = 0;
  ProgramResult result;
  std::array<std::string*, 3> targets = {nullptr, &result.output, &result.errors};
  std::array<pollfd, 3> polled = {
      {{pipes[0][1], POLLOUT, 0}, {pipes[1][0], POLLIN, 0}, {pipes[2][0], POLLIN, 0}}};
  while (polled[1].fd >= 0 || polled[2].fd >= 0) {
    if (polled[0].fd >= 0 && written == input_.size()) {
      close(polled[0].fd);
      polled[0].fd = -1;
    }
    if (poll(polled.data(), polled.size(), -1) < 0 && errno != EINTR) break;
    if (polled[0].fd >= 0 && polled[0].revents != 0) {
      const ssize_t count = write(polled[0].fd, input_.data() + written, input_.size() - written);
      written = count < 0 ? input_.size() : written + static_cast<std::size_t>(count);
    }
    for (std::size_t index = 1; index < 3; ++index) {
      if (polled[index].fd < 0 || polled[index].revents == 0) continue;
      char bytes[65536];
      const ssize_t count = read(polled[index].fd, bytes, sizeof bytes);
      if (count > 0) {
        targets[index]->append(bytes, static_cast<std::size_t>(count));
      } else {
        close(polled[index].fd);
        polled[index].fd = -1;
      }
    }
  }
  if (polled[0].fd >= 0) close(polled[0].fd);
  int status = 0;
  waitpid(process, &status, 0);
  result.exit_code = exit_code_of(status);
  drop_disturbance(result.errors);
  return result;
}

Terminal::Terminal(const Program& program)
    : deadline_(std::chrono::steady_clock::now() + std::chrono::minutes(1)) {
  winsize size{};
  size.ws_row = 24;
  size.ws_col = 80;
  process_ = forkpty(&terminal_, nullptr, nullptr, &size);
  if (process_ < 0) throw std::runtime_error("forkpty");
  if (process_ == 0) program.execute();
}

Terminal::~Terminal() {
  if (process_ > 0) {
    kill(process_, SIGKILL);
    waitpid(process_, nullptr, 0);
  }
  close(terminal_);
}

void Terminal::type(const std::string& bytes) {
  for (std::size_t written = 0; written < bytes.size();) {
    const ssize_t count = write(terminal_, bytes.data() + written, bytes.size() - written);
    if (count <= 0) return;
    written += static_cast<std::size_t>(count);
  }
}

bool Terminal::read_more() {
  const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
      deadline_ - std::chrono::steady_clock::now());
  pollfd polled{terminal_, POLLIN, 0};
  if (left.count() <= 0 || poll(&polled, 1, static_cast<int>(left.count())) <= 0) return false;
  char bytes[65536];
  const ssize_t count = read(terminal_, bytes, sizeof bytes);
  if (count <= 0) return false;
  screen_.append(bytes, static_cast<std::size_t>(count));
  return true;
}

bool Terminal::wait_for(const std::string& text) {
  while (true) {
    const std::size_t found = screen_.find(text, seen_);
    if (found != std::string::npos) {
      seen_ = found + text.size();
      return true;
    }
    if (!read_more()) return false;
  }
}

int Terminal::finish() {
  while (read_more()) {
  }
  int status = 0;
  waitpid(process_, &status, 0);
  process_ = -1;
  return exit_code_of(status);
}

}  // namespace hearth::testing
