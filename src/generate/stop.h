// Stop strings in a stream of text: found across the pieces in which the text arrives.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace hearth::generate {

/// Text that may be the beginning of a stop string is held back until it is clear that it is not.
/// The match that begins earliest wins; neither it nor anything after it is passed on.
class StopMatcher {
 public:
  /// Empty strings are ignored.
  explicit StopMatcher(std::vector<std::string> stops);

  /// Returns the text that is now certain. Nothing after a stop string was found.
  [[nodiscard]] std::string push(std::string_view text);
  /// What was held back, when the text ended without a stop string.
  [[nodiscard]] std::string finish();

  [[nodiscard]] bool stopped() const noexcept { return stopped_; }
  /// The stop string that was found; empty before.
  [[nodiscard]] const std::string& matched() const noexcept { return matched_; }

 private:
  [[nodiscard]] std::size_t possible_beginning() const;

  std::vector<std::string> stops_;
  std::string held_;
  std::string matched_;
  bool stopped_ = false;
};

}  // namespace hearth::generate
