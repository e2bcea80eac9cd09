// Texts in a disk store: saved, found again, and what lies in the folder. For the tests of the
// store.
#pragma once

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <memory>
#include <span>
#include <vector>

#include "remembered_text.h"
#include "state/disk_store.h"
#include "temporary_folder.h"

namespace hearth::state {

namespace fs = std::filesystem;
using hearth::testing::Kind;
using hearth::testing::RememberedText;
using hearth::testing::TemporaryFolder;
using Text = std::vector<std::int32_t>;

inline const StoreIdentity kModel{"tiny", {1, 2}};

inline Text text_of(std::size_t size, std::uint32_t seed) {
  return RememberedText::random_text(size, seed);
}

inline Text joined(const Text& beginning, std::size_t from, std::size_t size, std::uint32_t seed) {
  Text text(beginning.begin(), beginning.begin() + static_cast<std::ptrdiff_t>(from));
  const Text end = text_of(size, seed);
  text.insert(text.end(), end.begin(), end.end());
  return text;
}

inline DiskStoreOptions options_for(const fs::path& folder) {
  DiskStoreOptions options;
  options.folder = folder;
  options.reserve_bytes = 0;
  return options;
}

inline void save(DiskStore& store, RememberedText& model, const Text& text,
                 const PrefixKey& key = {}, std::span<const float> logits = {}) {
  SequenceState sequence(model.pool());
  for (std::int64_t at = 0; at < static_cast<std::int64_t>(text.size());) {
    at = std::min<std::int64_t>(at + 512, static_cast<std::int64_t>(text.size()));
    model.evaluate(sequence, text, at);
  }
  store.save(key, text, sequence, logits);
}

/// Tokens of `text` that the store gives back rightly; -1 when it gives back something else.
inline std::int64_t stored(DiskStore& store, RememberedText& model, const Text& text,
                           const PrefixKey& key = {}, std::vector<float>* logits = nullptr) {
  const auto found = store.find(key, model.pool(), text, static_cast<std::int64_t>(text.size()));
  if (!found) return 0;
  SequenceState sequence(model.pool());
  if (!store.load(*found, sequence, logits)) return 0;
  return sequence.length() == found->length && model.right(sequence, text) ? found->length : -1;
}

inline std::vector<fs::path> segment_files(const fs::path& folder) {
  std::vector<fs::path> files;
  for (const fs::directory_entry& each : fs::directory_iterator(folder)) {
    if (each.path().extension() == ".kv") files.push_back(each.path());
  }
  return files;
}

inline std::shared_ptr<const StoreKey> key_of(int number) {
  std::array<std::byte, StoreKey::kBytes> bytes{};
  bytes.fill(static_cast<std::byte>(number));
  return std::make_shared<const StoreKey>(bytes);
}

/// Runs `work` in a process of its own; its exit code, or 128 + the signal that ended it.
template <class Work>
int in_child(const Work& work) {
  const pid_t child = ::fork();
  if (child == 0) {
    ::alarm(300);
    try {
      ::_exit(work());
    } catch (const std::exception& error) {
      std::fprintf(stderr, "%s\n", error.what());
      ::_exit(125);
    }
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

}  // namespace hearth::state
