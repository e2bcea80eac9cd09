// Where models come from: what a reference names on Hugging Face, in Ollama's registry or under an
// address, as files to download. Protocol facts: huggingface.co/docs/hub/api (tree, resolve) and
// the OCI distribution specification (manifests, blobs).
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "hub/network.h"
#include "hub/reference.h"

namespace hearth::hub {

/// Bytes of a manifest that are read at most, from Ollama's registry or its folder of models.
inline constexpr std::size_t kMaxOllamaManifest = std::size_t{1} << 20;

struct RemoteFile {
  std::string name;  ///< path in the repository, or last part of the address
  std::string url;
  std::uint64_t size = 0;  ///< 0: not known
  std::string sha256;      ///< empty: not known
};

/// One of the models that a repository offers: a file, or all parts of a split one in order.
struct Candidate {
  std::string quant;  ///< "Q4_K_M"; empty when the name tells none
  std::string name;   ///< without .gguf and the number of the part
  std::vector<RemoteFile> files;

  [[nodiscard]] std::uint64_t size() const noexcept;
};

/// Picks one of several; nothing: none of them will do. The planner gives one that knows what this
/// machine can run.
using Chooser = std::function<std::optional<std::size_t>(std::span<const Candidate>)>;

/// Q4_K_M, or what is nearest to it in size and quality.
[[nodiscard]] std::optional<std::size_t> choose_usual_quant(std::span<const Candidate> candidates);

/// What the catalog knows a name to be.
struct Source {
  /// "hf:ORG/REPO", with :QUANT or :FILE when the catalog names one; or an address.
  std::string reference;
};
using CatalogLookup = std::function<std::optional<Source>(std::string_view name)>;

/// A model that can be fetched.
struct RemoteModel {
  std::string name;       ///< proposed for the store
  std::string reference;  ///< in full: "hf:ORG/REPO:FILE.gguf"
  std::string requested;  ///< the catalog's name; empty when none was used
  std::string source;     ///< "huggingface", "ollama", "url"
  std::string quant;
  std::string bearer;  ///< credential for the hosts of the files
  std::vector<RemoteFile> files;
  std::map<std::string, std::string> texts;  ///< as in Manifest
};

struct ResolveOptions {
  CatalogLookup catalog;                 ///< may be empty: then no name is known
  Chooser chooser = choose_usual_quant;  ///< asked when no quantization was named
};

/// Finds out what `reference` names, asking its server. Throws Error: offline, unknown, ambiguous,
/// refused, or a local file (which needs no fetching).
[[nodiscard]] RemoteModel resolve(const Network& network, const Reference& reference,
                                  const ResolveOptions& options);

/// The models that a repository on Hugging Face offers, by name. Projectors and files that are no
/// models (importance matrices) are left out. Throws Error.
[[nodiscard]] std::vector<Candidate> list_candidates(const Network& network,
                                                     const HuggingFaceReference& reference);

/// The text at `url`, at most `limit` bytes. Throws Error, also when it is longer.
[[nodiscard]] std::string fetch_text(const Network& network, const std::string& url,
                                     std::size_t limit, const std::string& bearer = {},
                                     const std::string& accept = {});

}  // namespace hearth::hub
