#include "hub/network.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <limits>
#include <system_error>
#include <thread>

#include "support/error.h"
#include "support/file.h"

namespace hearth::hub {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMaxTokenBytes = 4096;

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr ? value : "";
}

/// An address such as https://huggingface.co, from a variable.
std::string endpoint(const char* name, std::string fallback) {
  std::string value = variable(name);
  if (value.empty()) return fallback;
  if (value.find("://") == std::string::npos) value = "https://" + value;
  while (value.ends_with('/')) value.pop_back();
  const bool known = value.starts_with("https://") || value.starts_with("http://");
  const bool plain =
      std::all_of(value.begin(), value.end(), [](char c) { return c > 32 && c < 127; });
  if (!known || !plain || value.find('@') != std::string::npos) {
    throw Error(fmt::format("{} is no address: '{}'", name, printable(value)),
                "set it to something like https://HOST, or unset it", ExitCode::kUsage);
  }
  return value;
}

bool switched_on(const char* name) {
  const std::string value = variable(name);
  if (value.empty() || value == "0" || value == "false" || value == "no") return false;
  if (value == "1" || value == "true" || value == "yes") return true;
  throw Error(fmt::format("{} is '{}'", name, printable(value)), "set it to 1 or 0",
              ExitCode::kUsage);
}

std::string trimmed(std::string text) {
  while (!text.empty() && static_cast<unsigned char>(text.back()) <= 32) text.pop_back();
  return text;
}

/// HF_TOKEN, else the file that Hugging Face's own tool keeps it in.
std::string huggingface_token() {
  std::string token = trimmed(variable("HF_TOKEN"));
  if (token.empty()) {
    const std::string home = variable("HOME"), hf_home = variable("HF_HOME");
    const fs::path path =
        (hf_home.empty() ? fs::path(home) / ".cache/huggingface" : fs::path(hf_home)) / "token";
    std::error_code ignored;
    if (!fs::is_regular_file(path, ignored)) return {};
    try {
      token = trimmed(read_file(path, kMaxTokenBytes));
    } catch (const Error&) {
      return {};  // not ours to complain about; a model that needs it will say so
    }
  }
  // It becomes a header: nothing in it may end one.
  if (!std::all_of(token.begin(), token.end(), [](char c) { return c > 32 && c < 127; })) {
    throw Error("HF_TOKEN holds characters that no token has", "copy the token again",
                ExitCode::kUsage);
  }
  return token;
}

void sleep_unless_cancelled(Milliseconds time, const std::atomic<bool>* cancel) {
  constexpr Milliseconds kSlice{50};
  const auto end = std::chrono::steady_clock::now() + time;
  while (cancel == nullptr || !cancel->load()) {
    const auto left =
        std::chrono::duration_cast<Milliseconds>(end - std::chrono::steady_clock::now());
    if (left.count() <= 0) return;
    std::this_thread::sleep_for(std::min(left, kSlice));
  }
}

}  // namespace

Network network_from_environment(const std::atomic<bool>* cancel) {
  Network network;
  network.huggingface = endpoint("HF_ENDPOINT", network.huggingface);
  network.huggingface_token = huggingface_token();
  network.ollama = endpoint("HEARTH_OLLAMA_REGISTRY", network.ollama);
  if (switched_on("HEARTH_OFFLINE")) network.offline = "HEARTH_OFFLINE is set";
  network.cancel = cancel;
  network.now = [] {
    return std::chrono::duration_cast<Milliseconds>(
        std::chrono::steady_clock::now().time_since_epoch());
  };
  network.sleep = [cancel](Milliseconds time) { sleep_unless_cancelled(time, cancel); };
  network.date = [] { return std::time(nullptr); };
  network.free_space = [](const fs::path& folder) {
    std::error_code error;
    const fs::space_info space = fs::space(folder, error);
    return error ? std::numeric_limits<std::uint64_t>::max() : space.available;
  };
  return network;
}

void require_online(const Network& network, std::string_view wanted) {
  if (network.offline.empty()) return;
  throw Error(fmt::format("{} needs the network, and {}", wanted, network.offline),
              "allow it (HEARTH_OFFLINE=0, offline = false), or use what hearth list shows");
}

void throw_if_cancelled(const Network& network) {
  if (!network.cancelled()) return;
  throw Error("interrupted", "the same command goes on where it stopped", ExitCode::kInterrupted);
}

}  // namespace hearth::hub
