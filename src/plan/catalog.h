// The catalog: models that people run, with the numbers needed to plan them, files and scores, each
// with its source. data/catalog.json is part of the program; a user's file extends it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace hearth::plan {

struct CatalogFile {
  std::string quant;  // "Q4_K_M", "UD-Q4_K_M", "MXFP4"
  std::string file;
  std::uint64_t bytes = 0;
  bool exact = false;  // false: converted from a rounded value
  std::string source;
};

struct Score {
  std::string benchmark;
  double value = 0;  // percent
  std::string mode;  // "thinking", "0-shot" …; empty: not said
  std::string source, link;
};

/// Architecture numbers; 0: unknown or not applicable.
struct CatalogShape {
  std::int64_t layers = 0, width = 0, heads = 0, kv_heads = 0, head_size = 0;
  std::int64_t feed_forward = 0, vocabulary = 0;
  bool tied = false;  // output matrix = embedding table
  std::int64_t experts = 0, experts_used = 0, expert_width = 0, shared_expert_width = 0;
  std::int64_t dense_layers = 0;         // of a mixture: layers without experts
  std::int64_t moe_layers = 0;           // layers with experts, where not all but dense_layers
  std::int64_t expert_matrices = 3;      // gate, up, down
  std::int64_t kv_layers = 0;            // whose keys and values grow with the context; 0: all
  std::int64_t window = 0;               // cells that windowed layers keep
  std::int64_t full_every = 0;           // every so many-th layer has no window
  std::int64_t global_kv_heads = 0;      // of the layers without window, where they differ
  std::int64_t global_head_size = 0;     // likewise
  std::int64_t shared_kv_layers = 0;     // last layers that use the keys and values of others
  std::int64_t latent_size = 0;          // values per layer and token of latent attention
  std::int64_t per_layer_embedding = 0;  // width of embeddings that each layer looks up
  double kv_bytes_per_token = 0;         // where none of the above describes it
  double state_bytes = 0;                // recurrent state of a sequence
};

struct CatalogModel {
  std::string name, repo, family, architecture;
  std::string role;  // "chat", "code", "embedding", "rerank", "vision", "tool-router", "test"
  std::vector<std::string> modalities;
  std::string license, license_source;
  double parameters = 0, active_parameters = 0;  // active: 0 for dense models
  std::string parameters_source, active_source;
  std::int64_t context = 0;  // trained; 0: unknown
  std::string context_source;
  std::string published_quant;  // the format it was published in, when not 16 bits
  CatalogShape shape;
  std::string shape_source;
  std::vector<std::string> repositories;  // with GGUF files
  std::vector<CatalogFile> files;
  std::vector<Score> scores;
  std::string notes;
  bool from_user = false;
};

struct Catalog {
  std::string compiled, attribution;
  std::map<std::string, std::string> sources;
  std::vector<CatalogModel> models;
  /// What was wrong with a user's file, a sentence each; what they name is left out.
  std::vector<std::string> warnings;

  /// By name, or by repository ("Qwen/Qwen3-4B"), without regard to case; null when there is none.
  [[nodiscard]] const CatalogModel* find(std::string_view name) const noexcept;
};

/// Reads a catalog strictly. `source` is for messages. Throws Error.
[[nodiscard]] Catalog parse_catalog(std::string_view text, const std::string& source);

/// The catalog that is part of the program. Throws Error only if the build was broken.
[[nodiscard]] Catalog builtin_catalog();

/// The built-in catalog with the entries of the user's files, in order: an entry of a known name
/// changes those of its keys that it has; others are added. Files that do not exist are left out;
/// those that are broken are set aside (support/set_aside.h); `warnings` tells of them, and of
/// single entries that are broken.
[[nodiscard]] Catalog load_catalog(const std::vector<std::filesystem::path>& user_files);

}  // namespace hearth::plan
