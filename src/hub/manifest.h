// What the store knows about a model: one JSON file per model, manifests/NAME.json.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace hearth::hub {

/// One file of a model. Either a blob of the store, named by its hash, or an adopted file that
/// stays where another program put it.
struct StoredFile {
  std::string name;  ///< in models/, with .gguf
  std::uint64_t size = 0;
  std::string sha256;   ///< empty for adopted files whose hash nobody has told
  std::string url;      ///< where it came from, without query; may be empty
  std::string adopted;  ///< absolute path of an adopted file; empty for blobs

  [[nodiscard]] std::string blob() const { return "sha256-" + sha256; }
};

struct Manifest {
  std::string name;
  std::string reference;          ///< what to pull to get it again: "hf:ORG/REPO:Q4_K_M"
  std::string requested;          ///< what was asked for, when that differs: a catalog name
  std::string source;             ///< "huggingface", "ollama", "url", "file", "lmstudio", "folder"
  std::string quant;              ///< empty: not known
  std::string added;              ///< UTC, ISO 8601: 2026-11-21T16:00:00Z
  std::vector<StoredFile> files;  ///< one, or the parts of a split model in order
  /// Low-rank adapters that are applied to it, blobs all of them; their names are only told.
  std::vector<StoredFile> adapters;
  /// Small texts that came with the model, by kind: "template", "system", "params", "license"
  /// (Ollama's registry has them), "messages" (a conversation's beginning, as JSON).
  std::map<std::string, std::string> texts;

  [[nodiscard]] std::uint64_t size() const;
};

/// Reads a manifest. Everything is checked: names are safe for the file system, hashes are hashes,
/// sizes add up without overflow. Throws Error naming `source` and what is wrong.
[[nodiscard]] Manifest parse_manifest(std::string_view text, std::string_view source);
[[nodiscard]] std::string to_text(const Manifest& manifest);

/// Most bytes that a manifest may have.
inline constexpr std::size_t kMaxManifestBytes = std::size_t{1} << 22;

/// The time now, as manifests have it.
[[nodiscard]] std::string utc_now();

}  // namespace hearth::hub
