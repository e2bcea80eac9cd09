// The local model store. Layout of its folder (docs/models-store.md):
//
//   store.json               schema version
//   store.lock               flock: held while anything below is changed
//   blobs/sha256-HEX         whole, verified files
//   models/NAME.gguf         links to blobs or adopted files, and files that people put there
//   manifests/NAME.json      what is known about a model; a model of ours is listed by it
//   downloads/KEY.part …     unfinished downloads (hub/part_file.h)
//   used/NAME                touched when the model is used
//
// A model appears by its manifest, which is written last, and disappears by it, first. So whatever
// dies in between, nothing incomplete is ever listed.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "hub/manifest.h"
#include "support/file_lock.h"

namespace hearth::hub {

struct StoredModel {
  Manifest manifest;  ///< of files put there by hand: only name, quant and files
  bool by_hand = false;
  /// What keeps it from being used, in one sentence; empty when it is whole.
  std::string problem;
  std::filesystem::path path;  ///< of the first file, in models/
  std::string used;            ///< UTC as Manifest::added; empty: never
};

struct UnfinishedDownload {
  std::string key;  ///< name of its files in downloads/
  std::string name, reference;
  std::uint64_t done = 0, size = 0;
  bool running = false;  ///< a hearth is at it now
};

struct Listing {
  std::vector<StoredModel> models;  ///< by name; those with a problem included
  std::vector<UnfinishedDownload> unfinished;
  std::vector<std::string> warnings;  ///< what was found malformed and set aside
};

struct Removal {
  std::uint64_t freed = 0;          ///< bytes
  std::vector<std::string> kept;    ///< adopted files, which stay where they are
  std::vector<std::string> shared;  ///< names of models that still need a blob of it
};

class Store {
 public:
  static constexpr std::uint64_t kVersion = 1;

  /// Touches nothing.
  explicit Store(std::filesystem::path folder);

  /// What is there. Malformed manifests are set aside (under the lock) and told in the warnings.
  /// Throws Error when the store was made by a newer Hearth or cannot be read.
  [[nodiscard]] Listing list() const;
  /// The model called `name`, by hand or not. Nothing when there is none.
  [[nodiscard]] std::optional<StoredModel> find(std::string_view name) const;
  /// The model whose first file is called `file_name` in models(). Of models that Hearth put there
  /// only this one's manifest is read.
  [[nodiscard]] std::optional<StoredModel> find_file(std::string_view file_name) const;

  /// Makes the folders and brings an older layout up to date. Call before writing. Returns what was
  /// found malformed and set aside.
  std::vector<std::string> prepare() const;

  [[nodiscard]] std::filesystem::path folder() const { return folder_; }
  [[nodiscard]] std::filesystem::path models() const { return folder_ / "models"; }
  [[nodiscard]] std::filesystem::path downloads() const { return folder_ / "downloads"; }
  [[nodiscard]] std::filesystem::path blob_path(std::string_view sha256) const;
  [[nodiscard]] bool has_blob(std::string_view sha256) const;

  /// Throws Error when a model with the files of `manifest` cannot be called as it wants: the name
  /// belongs to another model or to a file put there by hand. Cheap: ask before downloading.
  void check_name(const Manifest& manifest) const;
  /// Moves a verified file, made durable, among the blobs.
  void land(const std::filesystem::path& file, std::string_view sha256) const;
  /// Makes the model appear, in place of an older one of the same name and reference. False when
  /// one of its blobs is not there: another hearth removed it meanwhile. Throws Error.
  [[nodiscard]] bool commit(const Manifest& manifest) const;
  /// Removes the model (or file put there by hand) called `name` and blobs that no other needs;
  /// also unfinished downloads of it. Throws Error when there is none, or a hearth is fetching it.
  Removal remove(std::string_view name) const;

  /// Notes that the model at `path` is used now. Failures are ignored: it is a convenience.
  void mark_used(const std::filesystem::path& path) const noexcept;

 private:
  [[nodiscard]] FileLock lock() const;
  [[nodiscard]] std::filesystem::path manifest_path(std::string_view name) const;
  [[nodiscard]] std::uint64_t version(std::vector<std::string>& warnings) const;
  [[nodiscard]] std::vector<Manifest> read_manifests(std::vector<std::string>& warnings,
                                                     bool locked) const;
  [[nodiscard]] std::string problem_of(const Manifest& manifest) const;
  [[nodiscard]] StoredModel stored(Manifest manifest) const;
  void add_by_hand(std::vector<StoredModel>& models, std::span<const Manifest> manifests) const;
  void add_unfinished(Listing& listing) const;
  [[nodiscard]] std::string last_use(std::string_view name) const;
  void check_name_locked(const Manifest& manifest, std::span<const Manifest> all) const;
  void link(const StoredFile& file) const;
  std::uint64_t remove_unneeded(std::span<const StoredFile> files,
                                std::span<const Manifest> others) const;

  std::filesystem::path folder_;
};

}  // namespace hearth::hub
