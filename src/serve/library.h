// Changes to the store of models that clients may ask for: fetching, making from files, copying,
// removing.
#pragma once

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include "hub/network.h"
#include "hub/sources.h"
#include "hub/store.h"
#include "serve/dialects/ollama.h"
#include "serve/models.h"

namespace hearth::serve {

struct LibraryOptions {
  std::filesystem::path folder;  ///< of the store
  /// The network as the user allows it; may throw Error. `cancel` ends what it fetches.
  std::function<hub::Network(const std::atomic<bool>* cancel)> network;
  std::function<hub::ResolveOptions()> resolve;
  bool read_only = false;  ///< every change is refused (403)
};

/// Any thread. All throw RequestFailure, or Error where the store fails.
class Library {
 public:
  Library(LibraryOptions options, ModelManager& models)
      : options_(std::move(options)), store_(options_.folder), models_(models) {}

  /// What happens meanwhile: a sentence, and of downloads the digest and bytes. False: give up.
  using Status = std::function<bool(std::string_view status, std::string_view digest,
                                    std::uint64_t total, std::uint64_t completed)>;
  /// Fetches what an Ollama client calls `name`: a name of its registry, hf.co/USER/REPO[:QUANT].
  void pull(const std::string& name, const Status& status);
  /// Makes a model of blobs, or of another model with other texts: what is given replaces what that
  /// one has. Throws RequestFailure for a template that is no Jinja.
  void create(const OllamaCreate& wanted, const Status& status);
  void copy(const std::string& source, const std::string& destination);
  /// Unloads it, too.
  void remove(const std::string& name);

  [[nodiscard]] bool has_blob(std::string_view sha256) const { return store_.has_blob(sha256); }

  /// A blob that comes in pieces; it appears when it is whole and its hash is right.
  class Upload {
   public:
    ~Upload();
    void write(std::string_view bytes);
    /// Throws RequestFailure (400) when the hash is another.
    void finish();

   private:
    friend class Library;
    struct Impl;
    explicit Upload(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> impl_;
  };
  [[nodiscard]] Upload upload(const std::string& sha256);

 private:
  void require_changes() const;
  [[nodiscard]] hub::Manifest manifest_of(const std::string& name);
  [[nodiscard]] hub::StoredFile blob_file(const std::string& digest, const char* parameter) const;
  void check_free(const hub::Manifest& manifest) const;
  void commit(const hub::Manifest& manifest) const;

  LibraryOptions options_;
  hub::Store store_;
  ModelManager& models_;
};

}  // namespace hearth::serve
