// The settings of `run` and `up`: one table from which flags, config files, HEARTH_* variables and
// the chat's /set are made, so that all of them know the same names, check the same ranges and show
// the same help.
//
// Precedence, weakest first: Hearth's defaults, the model's general.sampling.*, a saved setup, the
// config file, HEARTH_* variables, flags, /set.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cli/adapters.h"
#include "cli/kv_disk.h"
#include "generate/sampler_settings.h"
#include "generate/session.h"
#include "spec/kv_format.h"
#include "spec/rope_scaling.h"

namespace hearth::cli {

enum class Thinking : std::uint8_t { kModelDefault, kOn, kOff };

/// Everything that can be set for generating text.
struct RunOptions {
  generate::SamplerSettings sampler;
  std::int64_t max_tokens = -1;
  generate::Overflow overflow = generate::Overflow::kStop;
  std::vector<std::string> stops;
  std::string system;
  Thinking thinking = Thinking::kModelDefault;
  /// Most tokens of reasoning; then its end is forced.
  std::optional<int> thinking_budget;

  // Fixed when the model is loaded:
  std::int64_t context = 0;
  int threads = 0;
  spec::KvFormat kv_type = tensor::DType::kF16;
  std::optional<spec::RopeScaling> rope_scaling;  // absent: as the file says
  bool exact = false;
  bool mapped = false;
  KvDisk kv_disk;               // nothing is kept unless asked for
  std::string kv_disk_key;      // a key file; empty: what is kept is not encrypted
  std::uint64_t kv_budget = 0;  // 0: keys and values take the memory that the context needs
  AdapterOptions adapters;

  bool raw = false;
  bool special = false;
  bool json = false;
  bool stats = false;
  bool measurements = true;  // are kept
};

/// What keys and values are kept in: exact evaluation needs single precision.
[[nodiscard]] spec::KvFormat kv_format(const RunOptions& options);

enum class SettingKind : std::uint8_t {
  kValue,
  kList,    ///< may be given several times
  kSwitch,  ///< true or false; as a flag without a value: true
};

struct Setting {
  std::string_view
      name;  ///< "top-k": the long flag, the config key and, as HEARTH_TOP_K, the variable
  std::string_view flags;        ///< "--top-k"; may begin with a short one: "-n,--max-tokens"
  std::string_view placeholder;  ///< "N"
  std::string_view group;        ///< heading in the help
  std::string_view help;
  SettingKind kind = SettingKind::kValue;
  bool at_load = false;  ///< cannot be changed in a running chat
  /// Throws Error (exit code 2) saying what is wrong with the value.
  void (*apply)(RunOptions& options, std::string_view value) = nullptr;
  /// The current value, as it could be given.
  std::string (*show)(const RunOptions& options) = nullptr;
};

[[nodiscard]] std::span<const Setting> all_settings();
/// By name; underscores count as dashes. Null when there is none.
[[nodiscard]] const Setting* find_setting(std::string_view name);

/// Where a value came from; a later layer overrides an earlier one, lists as a whole.
enum class Layer : std::uint8_t { kSetup, kConfigFile, kEnvironment, kFlags, kChat };

struct SettingValue {
  const Setting* setting = nullptr;
  std::string value;
  Layer layer = Layer::kFlags;
  std::string source;  ///< for messages: "--temp", "HEARTH_TEMP", "/home/…/config line 3"
};

/// `base` with the values applied by precedence, then validated. Throws Error (exit code 2) naming
/// the source.
[[nodiscard]] RunOptions apply_settings(RunOptions base, std::span<const SettingValue> values);

}  // namespace hearth::cli
