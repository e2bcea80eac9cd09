// What a model is, from the beginning of its remote files alone: enough for the planner, without
// the download.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "gguf/file.h"
#include "hub/sources.h"

namespace hearth::hub {

/// The headers of a remote model's files. Move-only.
class RemoteHeader {
 public:
  /// Metadata and tensors of the whole model; data() must not be asked for.
  [[nodiscard]] const gguf::File& file() const noexcept { return *file_; }
  /// Bytes of all its files together, where the servers tell; else 0.
  [[nodiscard]] std::uint64_t file_bytes() const noexcept { return file_bytes_; }
  [[nodiscard]] const RemoteModel& model() const noexcept { return model_; }
  /// What was fetched.
  [[nodiscard]] std::uint64_t fetched_bytes() const noexcept;

 private:
  friend RemoteHeader read_remote_header(const Network& network, RemoteModel model);
  RemoteModel model_;
  std::vector<std::string> headers_;  // by file; file_ looks into them
  std::uint64_t file_bytes_ = 0;
  std::unique_ptr<gguf::File> file_;
};

/// Most bytes of a header that are fetched.
inline constexpr std::uint64_t kMaxHeaderBytes = std::uint64_t{64} << 20;

/// Fetches the headers of a resolved model by range requests of growing size. Throws Error: also
/// when the server does not know ranges, or the file is no GGUF.
[[nodiscard]] RemoteHeader read_remote_header(const Network& network, RemoteModel model);

/// The same for a reference: of "hf:ORG/REPO" the file that the options' chooser picks.
[[nodiscard]] RemoteHeader read_remote_header(const Network& network, std::string_view reference,
                                              const ResolveOptions& options);

}  // namespace hearth::hub
