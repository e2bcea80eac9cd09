// What keeps a model from being loaded before anything is, where callers do more than tell it.
#pragma once

#include <cstddef>
#include <string>
#include <utility>

#include "support/error.h"

namespace hearth::model {

/// Its memory is more than the machine has left.
class MemoryShortage : public Error {
 public:
  MemoryShortage(std::string message, std::string hint, std::size_t missing_bytes)
      : Error(std::move(message), std::move(hint), ExitCode::kDoesNotFit), missing(missing_bytes) {}

  std::size_t missing;  ///< bytes
};

/// It has fewer positions than the context that was asked for: no memory will help.
class ContextTooLong : public Error {
 public:
  ContextTooLong(std::string message, std::string hint)
      : Error(std::move(message), std::move(hint), ExitCode::kDoesNotFit) {}
};

}  // namespace hearth::model
