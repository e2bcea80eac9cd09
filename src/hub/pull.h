// From a reference to a model in the store.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>

#include "hub/download.h"
#include "hub/sources.h"
#include "hub/store.h"

namespace hearth::hub {

struct PullOptions {
  ResolveOptions resolve;
  std::string name;    ///< in the store; empty: from the source
  std::string sha256;  ///< that a single file must have; empty: what the server announces
  /// What is about to be fetched; false: do not (pull then throws Error kInterrupted).
  std::function<bool(const RemoteModel&)> approve;
  /// Progress of file `index` of `count`.
  std::function<void(const Progress&, std::size_t index, std::size_t count)> on_progress;
  std::function<void(std::string_view)> on_note;  ///< one sentence about what is happening
};

struct PullResult {
  Manifest manifest;
  std::filesystem::path path;  ///< of the first file, in models/
  bool already_there = false;  ///< nothing had to be fetched
};

/// Fetches what `reference` names and makes it appear in the store; a local file is adopted. What
/// is there already is not fetched again; files that another hearth is fetching are waited for.
/// Throws Error.
[[nodiscard]] PullResult pull(const Store& store, const Network& network,
                              std::string_view reference, const PullOptions& options);

}  // namespace hearth::hub
