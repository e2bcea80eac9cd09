// What the opaque handles of hearth/hearth.h are, and how exceptions become statuses.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "generate/chat_prompt.h"
#include "generate/compute_turn.h"
#include "generate/grammar/grammar.h"
#include <hearth/hearth.h>
#include "serve/served_model.h"
#include "support/error.h"

struct hearth_error {
  std::string message, hint;
};

struct hearth_cancel {
  std::atomic<bool> cancelled{false};
};

struct hearth_model {
  std::unique_ptr<hearth::serve::ServedModel> model;
  std::string name;
  std::optional<hearth::generate::ChatPrompt> chat;
  /// Made when a request first asks for it: it takes a moment and some megabytes.
  std::once_flag trie_once;
  std::shared_ptr<const hearth::generate::grammar::TokenTrie> trie;
  hearth::generate::grammar::GrammarCache grammars;
};

namespace hearth::capi {

/// Stores an error, if the caller wants one. When memory is short for it there is none.
void store_error(hearth_error** error, const std::string& message,
                 const std::string& hint) noexcept;
/// The status and error of the exception that is being handled.
hearth_status describe_exception(hearth_error** error) noexcept;

/// Calls `body`, which returns a status, and turns what it throws into a status and `*error`.
hearth_status guarded(hearth_error** error, const auto& body) noexcept {
  if (error != nullptr) *error = nullptr;
  try {
    return body();
  } catch (...) {
    return describe_exception(error);
  }
}

/// Throws Error (exit code 2) when a pointer that is needed is null.
void require(const void* pointer, const char* name);

}  // namespace hearth::capi
