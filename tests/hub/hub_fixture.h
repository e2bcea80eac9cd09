// What tests of the hub share: a network with a clock of its own, content to serve, and models.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "hub/fake_server.h"
#include "hub/network.h"

namespace hearth::testing {

/// A network whose clock only moves while something sleeps, and whose sleeps take no time.
class FakeNetwork {
 public:
  FakeNetwork();
  [[nodiscard]] hub::Network& network() { return network_; }
  [[nodiscard]] const std::vector<std::int64_t>& sleeps() const { return sleeps_; }  ///< ms
  void set_free_space(std::uint64_t bytes) { free_space_ = bytes; }

 private:
  hub::Milliseconds now_{1000};
  std::vector<std::int64_t> sleeps_;
  std::uint64_t free_space_ = std::numeric_limits<std::uint64_t>::max();
  hub::Network network_;
};

/// `size` bytes that do not repeat; the same for the same seed.
[[nodiscard]] std::string noise(std::size_t size, std::uint32_t seed = 1);

/// A GGUF file of `tensors` tensors with 4096 values each.
[[nodiscard]] std::string tiny_model(int tensors = 2, const std::string& name = "tiny");
/// The parts of such a model, one tensor in each.
[[nodiscard]] std::vector<std::string> split_model(int parts);

/// Files as Hugging Face serves them: /api/models/o/r/tree/main and /o/r/resolve/main/PATH.
class FakeHuggingFace {
 public:
  void add(const std::string& path, const std::string& content);
  /// The hash that the tree announces for `path`, instead of the right one.
  void announce(const std::string& path, const std::string& sha256) { announced_[path] = sha256; }
  [[nodiscard]] Reply tree() const;
  /// The file that a path of a request names; null when it names none.
  [[nodiscard]] const std::string* file(const std::string& request_path) const;
  /// Answers both.
  [[nodiscard]] Reply answer(const SeenRequest& request) const;

 private:
  std::map<std::string, std::string> files_, announced_;
};

/// Runs this test program again as another process: only the test `filter`, with `variables` in its
/// environment. Returns its process id.
[[nodiscard]] int start_self(const std::string& filter,
                             const std::map<std::string, std::string>& variables);
/// Waits for it; its exit code, or 128 + the signal that killed it.
int wait_for(int process);

}  // namespace hearth::testing
