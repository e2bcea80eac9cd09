// Sampling settings by the names that OpenAI, Ollama, llama-server and most local clients share.
// Internal to the dialects; read_sampling() reads them.
#pragma once

#include <array>

#include "serve/dialects/fields.h"

namespace hearth::serve {

inline constexpr auto kSamplingFields = std::to_array<Field>({
    {.name = "temperature", .types = kNumber, .what = "0 is greedy", .least = 0, .most = 100},
    {.name = "top_p", .types = kNumber, .least = 0, .most = 1},
    {.name = "min_p", .types = kNumber, .least = 0, .most = 1},
    {.name = "typical_p", .types = kNumber, .least = 0, .most = 1},
    {.name = "top_k", .types = kInteger, .what = "0 or less: all", .least = -1, .most = kMostInt32},
    {.name = "repeat_penalty", .types = kNumber, .least = 0.001, .most = 1000},
    {.name = "repeat_last_n",
     .types = kInteger,
     .what = "0: none, -1: the whole context",
     .least = -1,
     .most = kMostInt32},
    {.name = "frequency_penalty", .types = kNumber, .least = -100, .most = 100},
    {.name = "presence_penalty", .types = kNumber, .least = -100, .most = 100},
    {.name = "mirostat", .types = kInteger, .what = "0: off, 2: version 2", .least = 0, .most = 2},
    {.name = "mirostat_tau", .types = kNumber, .least = 0, .most = 1000},
    {.name = "mirostat_eta", .types = kNumber, .least = 0, .most = 1},
    {.name = "dry_multiplier", .types = kNumber, .least = 0, .most = 100},
    {.name = "dry_base", .types = kNumber, .least = 1, .most = 100},
    {.name = "dry_allowed_length", .types = kInteger, .least = 1, .most = kMostInt32},
    {.name = "dry_penalty_last_n", .types = kInteger, .least = -1, .most = kMostInt32},
    {.name = "dry_sequence_breakers",
     .types = kArray,
     .items = kString,
     .most_items = 64,
     .most_bytes = kMostStopBytes},
    {.name = "xtc_probability", .types = kNumber, .least = 0, .most = 1},
    {.name = "xtc_threshold", .types = kNumber, .least = 0, .most = 1},
    {.name = "seed", .types = kInteger, .what = "-1: a random one"},
    {.name = "logit_bias",
     .types = kObject | kArray,
     .what = "{id: bias} or [[id, bias]]; false bans; texts for ids: /completion, /infill",
     .most_items = 65536},
});

/// Two tables as one.
template <std::size_t A, std::size_t B>
constexpr std::array<Field, A + B> concat(const std::array<Field, A>& a,
                                          const std::array<Field, B>& b) {
  std::array<Field, A + B> all;
  for (std::size_t i = 0; i < A; ++i) all[i] = a[i];
  for (std::size_t i = 0; i < B; ++i) all[A + i] = b[i];
  return all;
}

}  // namespace hearth::serve
