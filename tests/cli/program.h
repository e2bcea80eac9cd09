// Running the real program, in a process of its own: with pipes, or on a terminal (pty).
#pragma once

#include <chrono>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "temporary_folder.h"

namespace hearth::testing {

struct ProgramResult {
  int exit_code = -1;  ///< 128 + signal when killed by one
  std::string output;
  std::string errors;
};

/// Runs hearth with its folders (configuration, history, models) in `home`, which nothing else
/// uses, and without HEARTH_* variables but those given.
class Program {
 public:
  explicit Program(std::vector<std::string> arguments) : arguments_(std::move(arguments)) {}
  Program& input(std::string text) {
    input_ = std::move(text);
    return *this;
  }
  Program& variable(const std::string& name, const std::string& value) {
    variables_[name] = value;
    return *this;
  }
  Program& home(const std::filesystem::path& path) {
    home_ = path;
    return *this;
  }
  /// Runs it to its end. stdin is closed after the input.
  [[nodiscard]] ProgramResult run() const;

 private:
  friend class Terminal;
  [[noreturn]] void execute() const;

  std::vector<std::string> arguments_;
  std::string input_;
  std::map<std::string, std::string> variables_;
  std::shared_ptr<TemporaryFolder> own_home_ = std::make_shared<TemporaryFolder>();
  std::filesystem::path home_;
};

/// hearth on a terminal of 80 columns. Waiting is for output, never for time; a test that waits in
/// vain fails after a minute.
class Terminal {
 public:
  explicit Terminal(const Program& program);
  Terminal(const Terminal&) = delete;
  Terminal& operator=(const Terminal&) = delete;
  ~Terminal();

  void type(const std::string& bytes);
  /// Reads until `text` has been printed after what was waited for before. False when the program
  /// ended or a minute passed without it.
  bool wait_for(const std::string& text);
  /// Waits until the program ends; its exit code.
  int finish();
  /// Everything printed so far.
  [[nodiscard]] const std::string& screen() const { return screen_; }

 private:
  bool read_more();

  int terminal_ = -1;
  int process_ = -1;
  std::string screen_;
  std::size_t seen_ = 0;
  std::chrono::steady_clock::time_point deadline_;
};

}  // namespace hearth::testing
