#include "plan/setup_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <initializer_list>
#include <nlohmann/json.hpp>

#include "support/error.h"
#include "support/file.h"
#include "support/set_aside.h"
#include "support/utf8.h"

namespace hearth::plan {
namespace {

using Json = nlohmann::ordered_json;
namespace fs = std::filesystem;

constexpr std::size_t kMaxBytes = std::size_t{64} << 10;
constexpr std::int64_t kMaxContext = std::int64_t{1} << 31;
constexpr double kMaxNumber = 1e18;

/// A file that a newer Hearth wrote: nothing is wrong with it.
struct NewerVersion {};

[[noreturn]] void refuse(std::string_view what) { throw Error(std::string(what)); }

void only_known(const Json& object, std::string_view where,
                std::initializer_list<std::string_view> known) {
  if (!object.is_object()) refuse(fmt::format("{} is no object", where));
  for (const auto& [key, value] : object.items()) {
    if (std::find(known.begin(), known.end(), key) == known.end())
      refuse(fmt::format("{} has an unknown member '{}'", where, printable(key)));
  }
}

void take(const Json& object, const char* key, std::string& into) {
  const auto found = object.find(key);
  if (found == object.end()) return;
  if (!found->is_string()) refuse(fmt::format("'{}' is no text", key));
  into = found->get<std::string>();
}

void take(const Json& object, const char* key, bool& into) {
  const auto found = object.find(key);
  if (found == object.end()) return;
  if (!found->is_boolean()) refuse(fmt::format("'{}' is neither true nor false", key));
  into = found->get<bool>();
}

template <class Integer>
void take(const Json& object, const char* key, Integer& into, std::int64_t least,
          std::int64_t most) {
  const auto found = object.find(key);
  if (found == object.end()) return;
  const bool whole = found->is_number_unsigned()
                         ? found->get<std::uint64_t>() <= static_cast<std::uint64_t>(most)
                         : found->is_number_integer();
  const std::int64_t value = whole ? found->get<std::int64_t>() : 0;
  if (!whole || value < least || value > most)
    refuse(fmt::format("'{}' is no whole number from {} to {}", key, least, most));
  into = static_cast<Integer>(value);
}

void take(const Json& object, const char* key, double& into) {
  const auto found = object.find(key);
  if (found == object.end()) return;
  const double value = found->is_number() ? found->get<double>() : -1;
  if (!(value >= 0 && value <= kMaxNumber)) refuse(fmt::format("'{}' is no positive number", key));
  into = value;
}

void read_engine(const Json& json, spec::Setup& setup) {
  std::string model, kv_type = setup.kv_type.name(), rope_scaling;
  take(json, "model", model);
  if (model.empty() || model.find('\0') != std::string::npos) refuse("it names no model");
  setup.model = model;
  take(json, "context", setup.context, 0, kMaxContext);
  take(json, "sequences", setup.sequences, 1, 4096);
  take(json, "batch_rows", setup.batch_rows, 1, 1 << 20);
  take(json, "kv_type", kv_type);
  take(json, "rope_scaling", rope_scaling);
  try {
    setup.kv_type = spec::parse_kv_format(kv_type);
    if (!rope_scaling.empty()) setup.rope_scaling = spec::parse_rope_scaling(rope_scaling);
  } catch (const Error& error) {
    refuse(error.what());
  }
  take(json, "threads", setup.threads, 0, 1 << 14);
  take(json, "exact", setup.exact);
  take(json, "mapped", setup.mapped);
  take(json, "instruction_set", setup.instruction_set);
}

SavedSetup parse(std::string_view text) {
  if (text.size() > kMaxBytes) refuse("it is too large");
  const Json json = Json::parse(text.begin(), text.end(), nullptr, /*allow_exceptions=*/false);
  if (json.is_discarded()) refuse("it is not JSON");
  if (!json.is_object()) refuse("it is no object");
  std::int64_t version = 0;
  take(json, "hearth_setup", version, 1, std::int64_t{1} << 31);
  if (version == 0) refuse("'hearth_setup', its version, is missing");
  if (version > SavedSetup::kVersion) throw NewerVersion{};
  only_known(
      json, "it",
      {"hearth_setup", "model", "context", "sequences", "batch_rows", "kv_type", "rope_scaling",
       "threads", "exact", "mapped", "instruction_set", "chosen", "expected"});
  SavedSetup saved;
  read_engine(json, saved.setup);
  if (const auto chosen = json.find("chosen"); chosen != json.end()) {
    only_known(*chosen, "'chosen'", {"name", "quant", "use", "why", "machine", "at"});
    take(*chosen, "name", saved.name);
    take(*chosen, "quant", saved.quant);
    take(*chosen, "use", saved.use);
    take(*chosen, "why", saved.why);
    take(*chosen, "machine", saved.machine);
    take(*chosen, "at", saved.saved_at, 0, std::int64_t{1} << 40);
  }
  if (const auto expected = json.find("expected"); expected != json.end()) {
    only_known(
        *expected, "'expected'",
        {"decode_tps", "prefill_tps", "first_token_seconds", "load_seconds", "memory_bytes"});
    take(*expected, "decode_tps", saved.expected.decode_tps);
    take(*expected, "prefill_tps", saved.expected.prefill_tps);
    take(*expected, "first_token_seconds", saved.expected.first_token_seconds);
    take(*expected, "load_seconds", saved.expected.load_seconds);
    take(*expected, "memory_bytes", saved.expected.memory_bytes);
  }
  return saved;
}

}  // namespace

fs::path setup_path(const fs::path& config_folder, std::string_view name) {
  const auto plain = [](char c) { return ('a' <= c && c <= 'z') || ('0' <= c && c <= '9'); };
  const bool known = !name.empty() && name.size() <= 40 && plain(name.front()) &&
                     std::all_of(name.begin(), name.end(), [&](char c) {
                       return plain(c) || c == '-' || c == '_' || c == '.';
                     });
  if (!known) {
    throw Error(fmt::format("'{}' is no name of a setup", printable(name)),
                "use small letters, digits and dashes", ExitCode::kUsage);
  }
  return config_folder / "setups" / (std::string(name) + ".json");
}

std::string write_setup(const SavedSetup& saved) {
  const spec::Setup& setup = saved.setup;
  if (find_invalid_utf8(setup.model.string()) != std::string::npos) {
    throw Error(fmt::format("the setup cannot be saved: the path '{}' is not UTF-8",
                            printable(setup.model.string(), 300)),
                "rename the file");
  }
  const Expectation& expected = saved.expected;
  const Json json = {
      {"hearth_setup", SavedSetup::kVersion},
      {"model", setup.model.string()},
      {"context", setup.context},
      {"sequences", setup.sequences},
      {"batch_rows", setup.batch_rows},
      {"kv_type", setup.kv_type.name()},
      {"rope_scaling", setup.rope_scaling ? setup.rope_scaling->name() : std::string()},
      {"threads", setup.threads},
      {"exact", setup.exact},
      {"mapped", setup.mapped},
      {"instruction_set", setup.instruction_set},
      {"chosen",
       {{"name", saved.name},
        {"quant", saved.quant},
        {"use", saved.use},
        {"why", saved.why},
        {"machine", saved.machine},
        {"at", saved.saved_at}}},
      {"expected",
       {{"decode_tps", expected.decode_tps},
        {"prefill_tps", expected.prefill_tps},
        {"first_token_seconds", expected.first_token_seconds},
        {"load_seconds", expected.load_seconds},
        {"memory_bytes", expected.memory_bytes}}},
  };
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

SavedSetup read_setup(std::string_view text) {
  try {
    return parse(text);
  } catch (const NewerVersion&) {
    throw Error("a newer Hearth wrote it");
  }
}

void save_setup(const fs::path& path, const SavedSetup& saved) {
  std::error_code problem;
  fs::create_directories(path.parent_path(), problem);
  write_file_atomically(path, write_setup(saved));
}

std::optional<SavedSetup> load_setup(const fs::path& path,
                                     const std::function<void(const std::string&)>& warn) {
  std::error_code problem;
  if (!fs::exists(path, problem)) return std::nullopt;
  std::string why;
  if (fs::is_regular_file(path, problem) && fs::file_size(path, problem) > kMaxBytes) {
    why = "it is too large";
  } else {
    const std::string text = read_file(path, kMaxBytes);
    try {
      return parse(text);
    } catch (const NewerVersion&) {
      throw Error(fmt::format("the setup '{}' was written by a newer Hearth",
                              printable(path.string(), 300)),
                  "use that one, or move the file away");
    } catch (const Error& error) {
      why = error.what();
    }
  }
  const fs::path kept = set_aside(path);
  if (warn) {
    warn(fmt::format("the setup '{}' cannot be used ({}); it was set aside as '{}'",
                     printable(path.string(), 300), why, printable(kept.filename().string(), 300)));
  }
  return std::nullopt;
}

}  // namespace hearth::plan
