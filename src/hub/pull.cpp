#include "hub/pull.h"

#include <fmt/format.h>

#include <utility>

#include "gguf/file.h"
#include "hub/import.h"
#include "hub/sha256.h"
#include "support/error.h"

namespace hearth::hub {
namespace {

namespace fs = std::filesystem;

/// Names of the files in models/: NAME.gguf, or NAME-00001-of-00003.gguf.
std::string file_name(const std::string& name, std::size_t index, std::size_t count) {
  if (count == 1) return name + ".gguf";
  return fmt::format("{}-{:05}-of-{:05}.gguf", name, index + 1, count);
}

/// Removes the lock's file while the lock is still held, however the work ended.
class LockFileRemover {
 public:
  explicit LockFileRemover(const FileLock& lock) : lock_(lock) {}
  LockFileRemover(const LockFileRemover&) = delete;
  LockFileRemover& operator=(const LockFileRemover&) = delete;
  ~LockFileRemover() { lock_.remove_file(); }

 private:
  const FileLock& lock_;
};

class Puller {
 public:
  Puller(const Store& store, const Network& network, RemoteModel model, const PullOptions& options)
      : store_(store), network_(network), model_(std::move(model)), options_(options) {}

  PullResult run() {
    Manifest manifest = draft();
    store_.check_name(manifest);
    if (options_.approve && !all_there(manifest) && !options_.approve(model_))
      throw Error("nothing was fetched", "", ExitCode::kInterrupted);
    // A blob that another hearth removes before the manifest names it is fetched again.
    constexpr int kAttempts = 3;
    bool fetched = false;
    for (int attempt = 0; attempt < kAttempts; ++attempt) {
      for (std::size_t i = 0; i < model_.files.size(); ++i) fetched |= ensure(manifest.files[i], i);
      if (!store_.commit(manifest)) continue;
      return {manifest, store_.models() / manifest.files.front().name, !fetched};
    }
    throw Error(fmt::format("another hearth keeps removing the files of {}", manifest.name),
                "pull again when it is done");
  }

 private:
  Manifest draft() const {
    Manifest manifest;
    manifest.name = options_.name.empty() ? model_.name : options_.name;
    if (!is_safe_name(manifest.name)) {
      throw Error(fmt::format("'{}' cannot be a model's name", printable(manifest.name)),
                  "choose one of letters, digits, dots, dashes and underscores with --name",
                  ExitCode::kUsage);
    }
    manifest.reference = model_.reference;
    manifest.requested = model_.requested;
    manifest.source = model_.source;
    manifest.quant = model_.quant;
    manifest.added = utc_now();
    manifest.texts = model_.texts;
    for (std::size_t i = 0; i < model_.files.size(); ++i) {
      const RemoteFile& file = model_.files[i];
      manifest.files.push_back({file_name(manifest.name, i, model_.files.size()), file.size,
                                file.sha256, file.url.substr(0, file.url.find('?')), ""});
    }
    return manifest;
  }

  bool all_there(const Manifest& manifest) const {
    for (const StoredFile& file : manifest.files) {
      if (file.sha256.empty() || !store_.has_blob(file.sha256)) return false;
    }
    return true;
  }

  void note(const std::string& text) const {
    if (options_.on_note) options_.on_note(text);
  }

  /// Makes the blob be there; true when it was fetched.
  bool ensure(StoredFile& file, std::size_t index) {
    if (!file.sha256.empty() && store_.has_blob(file.sha256)) return false;
    const RemoteFile& remote = model_.files[index];
    const DownloadRequest request{remote.url,
                                  model_.bearer,
                                  remote.size,
                                  remote.sha256,
                                  options_.name.empty() ? model_.name : options_.name,
                                  model_.reference};
    const std::string key = download_key(request);
    const FileLock lock = FileLock::take(
        store_.downloads() / (key + ".lock"),
        [&] { note(fmt::format("another hearth is fetching {}; waiting for it", file.name)); },
        network_.cancel);
    const LockFileRemover remover(lock);
    throw_if_cancelled(network_);
    if (!file.sha256.empty() && store_.has_blob(file.sha256)) return false;
    const Downloaded done =
        download(network_, request, store_.downloads(), [&](const Progress& progress) {
          if (options_.on_progress) options_.on_progress(progress, index, model_.files.size());
        });
    if (file.sha256.empty() && model_.files.size() == 1) check(done, key);
    store_.land(done.path, done.sha256);
    forget_notes(store_.downloads(), key);
    file.sha256 = done.sha256;
    file.size = done.size;
    return true;
  }

  /// A file whose hash nobody announced must at least be a model, with all its tensors. (Parts of
  /// split ones can only be judged together.)
  void check(const Downloaded& done, const std::string& key) const {
    try {
      (void)gguf::File::open(done.path);
    } catch (const Error&) {
      std::error_code ignored;
      fs::remove(done.path, ignored);
      forget_notes(store_.downloads(), key);
      throw;
    }
  }

  const Store& store_;
  const Network& network_;
  RemoteModel model_;
  const PullOptions& options_;
};

/// A file here must have the hash that was asked for before the store gets a link to it.
void check_local_hash(const Network& network, const fs::path& file, const std::string& wanted) {
  if (split_place(file.filename().string())) {
    throw Error(fmt::format("{} is one of several parts of a model, and a SHA-256 is that of one",
                            in_quotes(file.string(), kPathLimit)),
                "pull it without --sha256", ExitCode::kUsage);
  }
  const std::string found = sha256_of_file(file, [&] { throw_if_cancelled(network); });
  if (found == wanted) return;
  throw Error(fmt::format("{} does not have the SHA-256 that was asked for, but {}",
                          in_quotes(file.string(), kPathLimit), found),
              "check the file and the hash");
}

}  // namespace

PullResult pull(const Store& store, const Network& network, std::string_view text,
                const PullOptions& options) {
  std::vector<std::string> warnings = store.prepare();
  if (options.on_note) {
    for (const std::string& warning : warnings) options.on_note(warning);
  }
  const Reference reference = parse_reference(text, network.huggingface);
  if (const auto* file = std::get_if<FileReference>(&reference)) {
    if (!options.sha256.empty()) check_local_hash(network, file->path, options.sha256);
    const Manifest manifest = adopt_file(store, file->path, options.name);
    return {manifest, store.models() / manifest.files.front().name, true};
  }
  RemoteModel model = resolve(network, reference, options.resolve);
  if (!options.sha256.empty()) {
    if (model.files.size() != 1 ||
        (!model.files[0].sha256.empty() && model.files[0].sha256 != options.sha256)) {
      throw Error(fmt::format("{} does not have the SHA-256 that was asked for", model.reference),
                  "check the reference and the hash");
    }
    model.files[0].sha256 = options.sha256;
  }
  return Puller(store, network, std::move(model), options).run();
}

}  // namespace hearth::hub
