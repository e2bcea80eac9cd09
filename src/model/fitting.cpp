#include "model/fitting.h"

#include <algorithm>
#include <cstdio>

#include "model/cost.h"
#include "support/ascii.h"
#include "support/error.h"

namespace hearth::model {
namespace {

std::string gigabytes(std::size_t bytes) {
  char text[32];
  std::snprintf(text, sizeof text, "%.2f GB", static_cast<double>(bytes) / 1e9);
  return text;
}

}  // namespace

std::optional<spec::KvFormat> fitting_kv_format(const spec::ModelSpec& spec,
                                                const spec::Setup& given,
                                                const compute::Backend& backend,
                                                std::size_t bytes) {
  spec::Setup setup = given;
  for (const spec::KvFormat& format :
       {given.kv_type, spec::KvFormat(tensor::DType::kQ8_0), spec::parse_kv_format("tq4"),
        spec::parse_kv_format("tq3")}) {
    setup.kv_type = format;
    try {
      if (kv_bytes(spec, setup, backend) <= bytes) return format;
    } catch (const Error&) {
      continue;  // heads of this size do not have the format
    }
  }
  return std::nullopt;
}

std::string context_advice(const spec::ModelSpec& spec, const spec::Setup& given,
                           const compute::Backend& backend, std::int64_t tokens,
                           std::size_t bytes) {
  constexpr std::int64_t kAnswer = 512;
  constexpr std::int64_t kStep = 1024;
  spec::Setup setup = given;
  setup.context = (tokens + kAnswer + kStep - 1) / kStep * kStep;
  const std::int64_t limit = spec.position_limit > 0 ? spec.position_limit : spec.context_length;
  if (limit > 0 && setup.context > limit) {
    if (tokens > limit || spec.position_limit > 0) {
      return "the model knows contexts of " + std::to_string(limit) + " tokens: shorten it";
    }
    setup.context = limit;
  }
  const std::string context = "--ctx " + std::to_string(setup.context);
  const std::optional<spec::KvFormat> format = fitting_kv_format(spec, setup, backend, bytes);
  if (!format) {
    return "shorten it: with " + context + " keys and values take " +
           gigabytes(kv_bytes(spec, setup, backend)) + ", and " + gigabytes(bytes) + " are free";
  }
  setup.kv_type = *format;
  const std::string flags =
      *format == given.kv_type ? context : context + " --kv " + ascii_lower(format->name());
  return "use " + flags + " (keys and values take " + gigabytes(kv_bytes(spec, setup, backend)) +
         ", " + gigabytes(bytes) + " are free), or shorten it";
}

}  // namespace hearth::model
