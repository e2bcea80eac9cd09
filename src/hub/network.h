// What fetching needs from outside: endpoints, credentials, time, disk space. Plain data, so that
// tests can give their own.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <ctime>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>

namespace hearth::hub {

using Milliseconds = std::chrono::milliseconds;

struct Network {
  std::string huggingface = "https://huggingface.co";
  std::string huggingface_token;  ///< sent to that host alone; empty: none
  std::string ollama = "https://registry.ollama.ai";
  /// Why nothing may be fetched: "HEARTH_OFFLINE is set"; empty: it may.
  std::string offline;

  int connections = 6;                                 ///< per file
  std::uint64_t chunk_bytes = std::uint64_t{4} << 20;  ///< what is kept of a cut download
  int attempts = 8;  ///< failures in a row, without progress between them, before giving up

  const std::atomic<bool>* cancel = nullptr;  ///< set: stop soon, keeping what is there

  std::function<Milliseconds()> now;        ///< a clock that never goes back
  std::function<void(Milliseconds)> sleep;  ///< returns early when cancelled
  std::function<std::time_t()> date;        ///< for Retry-After dates
  std::function<std::uint64_t(const std::filesystem::path&)> free_space;  ///< bytes for this user

  [[nodiscard]] bool cancelled() const noexcept { return cancel != nullptr && cancel->load(); }
};

/// The real world: HF_ENDPOINT, HF_TOKEN (else the token file that `hf auth login` writes),
/// HEARTH_OLLAMA_REGISTRY, HEARTH_OFFLINE; the system's clocks and disks. Throws Error
/// (ExitCode::kUsage) for a variable that cannot be used.
[[nodiscard]] Network network_from_environment(const std::atomic<bool>* cancel);

/// Throws Error when `network` is offline, saying what was wanted: "fetching hf:a/b".
void require_online(const Network& network, std::string_view wanted);

/// Throws Error (ExitCode::kInterrupted) when it was cancelled.
void throw_if_cancelled(const Network& network);

}  // namespace hearth::hub
