// The models that `hearth serve` offers: those that were named, and those of the store.
#pragma once

#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "serve/models.h"

namespace hearth::cli {

struct ServedModels {
  std::vector<std::string> named;              ///< as on the command line: paths, names
  std::map<std::string, std::string> aliases;  ///< another name to a name
  bool only_named = false;                     ///< the store's others are not offered
};

class LocalModels final : public serve::ModelDirectory {
 public:
  /// Throws Error when a named model does not exist, or an alias leads nowhere.
  explicit LocalModels(const ServedModels& models);

  [[nodiscard]] std::vector<serve::AvailableModel> list() override;
  /// The same without aliases.
  [[nodiscard]] std::vector<serve::AvailableModel> models() const;
  [[nodiscard]] std::optional<serve::AvailableModel> find(std::string_view name) override;
  void used(const std::filesystem::path& path) override;

  /// Other names, in lower case, and what they stand for.
  [[nodiscard]] const std::map<std::string, std::string>& aliases() const noexcept {
    return aliases_;
  }
  /// Those of the command line.
  [[nodiscard]] const std::vector<serve::AvailableModel>& named() const noexcept { return named_; }

 private:
  [[nodiscard]] std::optional<serve::AvailableModel> find_named(std::string_view name) const;

  std::vector<serve::AvailableModel> named_;
  std::map<std::string, std::string> aliases_;  // by name in lower case
  bool only_named_;
};

}  // namespace hearth::cli
