#include "hub/hub_fixture.h"

#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <nlohmann/json.hpp>
#include <random>
#include <stdexcept>
#include <string_view>

#include "gguf/writer.h"
#include "hub/sha256.h"
#include "support/file.h"
#include "temporary_folder.h"

extern char** environ;

namespace hearth::testing {

FakeNetwork::FakeNetwork() {
  // The servers of tests are on this machine, whatever proxies its people use.
  ::setenv("no_proxy", "127.0.0.1", 1);
  network_.chunk_bytes = std::uint64_t{64} << 10;
  network_.connections = 4;
  network_.now = [this] { return now_; };
  network_.sleep = [this](hub::Milliseconds time) {
    sleeps_.push_back(time.count());
    now_ += time;
  };
  network_.date = [] { return std::time_t{1'000'000'000}; };
  network_.free_space = [this](const std::filesystem::path&) { return free_space_; };
}

std::string noise(std::size_t size, std::uint32_t seed) {
  std::mt19937 random(seed);
  std::string bytes(size, '\0');
  for (char& byte : bytes) byte = static_cast<char>(random());
  return bytes;
}

namespace {

gguf::Writer tiny_writer(int tensors, const std::string& name) {
  gguf::Writer writer;
  writer.set("general.architecture", "llama");
  writer.set("general.name", name);
  writer.set("llama.context_length", std::uint32_t{2048});
  const std::vector<float> values(4096, 0.5F);
  for (int i = 0; i < tensors; ++i)
    writer.add_floats("blk." + std::to_string(i) + ".ffn_norm.weight", {4096}, values);
  return writer;
}

}  // namespace

std::string tiny_model(int tensors, const std::string& name) {
  return tiny_writer(tensors, name).bytes();
}

std::vector<std::string> split_model(int parts) {
  const TemporaryFolder folder;
  std::vector<std::string> result;
  gguf::SplitLimits limits;
  limits.max_tensors = 1;
  for (const auto& path : tiny_writer(parts, "split").write_split(folder / "m.gguf", limits))
    result.push_back(read_file(path));
  return result;
}

void FakeHuggingFace::add(const std::string& path, const std::string& content) {
  files_[path] = content;
}

Reply FakeHuggingFace::tree() const {
  nlohmann::json entries = nlohmann::json::array();
  entries.push_back({{"type", "directory"}, {"path", "BF16"}, {"size", 0}});
  entries.push_back({{"type", "file"}, {"path", "README.md"}, {"size", 10}, {"oid", "abc"}});
  for (const auto& [path, content] : files_) {
    const auto other = announced_.find(path);
    const std::string hash = other == announced_.end() ? hub::sha256_of(content) : other->second;
    entries.push_back({{"type", "file"},
                       {"path", path},
                       {"size", content.size()},
                       {"oid", "git"},
                       {"lfs", {{"oid", hash}, {"size", content.size()}, {"pointerSize", 134}}}});
  }
  Reply reply;
  reply.body = entries.dump();
  return reply;
}

const std::string* FakeHuggingFace::file(const std::string& request_path) const {
  constexpr std::string_view kMark = "/resolve/main/";
  const std::size_t at = request_path.find(kMark);
  if (at == std::string::npos) return nullptr;
  const auto found = files_.find(request_path.substr(at + kMark.size()));
  return found == files_.end() ? nullptr : &found->second;
}

Reply FakeHuggingFace::answer(const SeenRequest& request) const {
  if (request.path.starts_with("/api/models/o/r/tree/main")) return tree();
  if (const std::string* content = file(request.path)) return ranged(request, *content);
  Reply reply;
  reply.status = 404;
  return reply;
}

int start_self(const std::string& filter, const std::map<std::string, std::string>& variables) {
  std::vector<std::string> environment;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    // Where this process runs a share of the tests, the child still runs the one that is meant.
    if (!std::string_view(*entry).starts_with("GTEST_")) environment.emplace_back(*entry);
  }
  for (const auto& [name, value] : variables) environment.push_back(name + "=" + value);
  std::vector<std::string> arguments = {"self", "--gtest_filter=" + filter,
                                        "--gtest_also_run_disabled_tests"};
  std::vector<char*> argument_pointers, environment_pointers;
  for (std::string& argument : arguments) argument_pointers.push_back(argument.data());
  for (std::string& entry : environment) environment_pointers.push_back(entry.data());
  argument_pointers.push_back(nullptr);
  environment_pointers.push_back(nullptr);
  const int process = ::fork();
  if (process < 0) throw std::runtime_error("fork");
  if (process == 0) {
    ::execve("/proc/self/exe", argument_pointers.data(), environment_pointers.data());
    ::_exit(127);
  }
  return process;
}

int wait_for(int process) {
  int status = 0;
  if (::waitpid(process, &status, 0) != process) throw std::runtime_error("waitpid");
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

}  // namespace hearth::testing
