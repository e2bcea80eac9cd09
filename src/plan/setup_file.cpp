#include "plan/setup_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "measure/json_reader.h"
#include "support/error.h"
#include "support/file.h"
#include "support/set_aside.h"
#include "support/utf8.h"

namespace hearth::plan {
namespace {

using OrderedJson = nlohmann::ordered_json;
using measure::JsonReader;
namespace fs = std::filesystem;

constexpr std::size_t kMaxBytes = std::size_t{64} << 10;
constexpr std::int64_t kMaxContext = std::int64_t{1} << 31;
/// Of memory and files: what doubles hold exactly.
constexpr std::int64_t kMaxStored = std::int64_t{1} << 53;
constexpr double kMaxNumber = 1e18;
constexpr measure::JsonRules kRules{.noun = "it", .max_bytes = kMaxBytes, .max_text = kMaxBytes};

/// A file that a newer Hearth wrote: nothing is wrong with it.
struct NewerVersion {};

template <class Integer>
void take(JsonReader& reader, const char* key, Integer& into, std::int64_t least,
          std::int64_t most) {
  into = static_cast<Integer>(reader.integer(key, into, least, most));
}

void take(JsonReader& reader, const char* key, double& into) {
  into = reader.number(key, into, 0, kMaxNumber);
}

void read_engine(JsonReader& reader, spec::Setup& setup) {
  const std::string model = reader.text("model");
  if (model.empty() || model.find('\0') != std::string::npos) throw Error("it names no model");
  setup.model = model;
  take(reader, "context", setup.context, 0, kMaxContext);
  take(reader, "sequences", setup.sequences, 1, 4096);
  take(reader, "batch_rows", setup.batch_rows, 1, 1 << 20);
  setup.kv_type = spec::parse_kv_format(reader.text("kv_type", setup.kv_type.name()));
  if (const std::string scaling = reader.text("rope_scaling"); !scaling.empty())
    setup.rope_scaling = spec::parse_rope_scaling(scaling);
  take(reader, "threads", setup.threads, 0, 1 << 14);
  setup.exact = reader.flag("exact", setup.exact);
  setup.mapped = reader.flag("mapped", setup.mapped);
  setup.instruction_set = reader.text("instruction_set", setup.instruction_set);
}

void read_kv(JsonReader& reader, SavedSetup& saved) {
  spec::Setup& setup = saved.setup;
  take(reader, "kv_budget", setup.kv_budget, 0, kMaxStored);
  const std::string folder = reader.text("kv_disk");
  saved.kv_disk_key = reader.text("kv_disk_key");
  if ((folder + saved.kv_disk_key).find('\0') != std::string::npos)
    throw Error("it names no folder or key for keys and values");
  setup.spill_folder = folder;
  take(reader, "kv_disk_bytes", setup.spill_bytes, 0, kMaxStored);
}

SavedSetup parse(std::string_view text) {
  const nlohmann::json json = measure::parse_json(text, "", kRules);
  JsonReader reader(json, "", "", kRules);
  const std::int64_t version = reader.integer("hearth_setup", 0, 1, std::int64_t{1} << 31);
  if (version == 0) reader.fail("hearth_setup", "is missing: it is the version");
  if (version > SavedSetup::kVersion) throw NewerVersion{};
  SavedSetup saved;
  read_engine(reader, saved.setup);
  read_kv(reader, saved);
  reader.inside("chosen", [&](JsonReader& chosen) {
    saved.name = chosen.text("name", saved.name);
    saved.quant = chosen.text("quant", saved.quant);
    saved.use = chosen.text("use", saved.use);
    saved.why = chosen.text("why", saved.why);
    saved.machine = chosen.text("machine", saved.machine);
    take(chosen, "at", saved.saved_at, 0, std::int64_t{1} << 40);
  });
  reader.inside("expected", [&](JsonReader& expected) {
    take(expected, "decode_tps", saved.expected.decode_tps);
    take(expected, "prefill_tps", saved.expected.prefill_tps);
    take(expected, "first_token_seconds", saved.expected.first_token_seconds);
    take(expected, "load_seconds", saved.expected.load_seconds);
    take(expected, "memory_bytes", saved.expected.memory_bytes);
  });
  reader.finish();
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
  for (const std::string& path :
       {setup.model.string(), setup.spill_folder.string(), saved.kv_disk_key}) {
    if (find_invalid_utf8(path) == std::string::npos) continue;
    throw Error(
        fmt::format("the setup cannot be saved: the path '{}' is not UTF-8", printable(path, 300)),
        "rename the file");
  }
  const Expectation& expected = saved.expected;
  const OrderedJson json = {
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
      {"kv_budget", setup.kv_budget},
      {"kv_disk", setup.spill_folder.string()},
      {"kv_disk_bytes", setup.spill_bytes},
      {"kv_disk_key", saved.kv_disk_key},
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
  return json.dump(2, ' ', false, OrderedJson::error_handler_t::replace) + "\n";
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
