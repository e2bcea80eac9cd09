#include "cli/settings.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <limits>

#include "support/ascii.h"
#include "support/error.h"
#include "support/utf8.h"

namespace hearth::cli {
namespace {

using generate::SamplerSettings;

[[noreturn]] void refuse(std::string_view value, std::string_view wanted) {
  throw Error(fmt::format("'{}' is not {}", printable(value), wanted), {}, ExitCode::kUsage);
}

double parse_number(std::string_view value) {
  double number = 0;
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), number);
  if (error != std::errc() || end != value.data() + value.size() || std::isnan(number))
    refuse(value, "a number");
  return number;
}

template <class Integer>
Integer parse_integer(std::string_view value, Integer least = std::numeric_limits<Integer>::min()) {
  Integer number = 0;
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), number);
  if (error != std::errc() || end != value.data() + value.size()) refuse(value, "a whole number");
  if (number < least) refuse(value, fmt::format("a whole number from {} up", least));
  return number;
}

bool parse_switch(std::string_view value) {
  if (value == "true" || value == "on" || value == "yes" || value == "1") return true;
  if (value == "false" || value == "off" || value == "no" || value == "0") return false;
  refuse(value, "true or false");
}

std::string parse_text(std::string_view value) {
  if (find_invalid_utf8(value) != std::string_view::npos) refuse(value, "valid UTF-8");
  return std::string(value);
}

std::string shown(const std::vector<std::string>& texts) {
  std::string result;
  for (const std::string& text : texts) {
    if (!result.empty()) result += ' ';
    result += '"' + printable(text) + '"';
  }
  return result.empty() ? "none" : result;
}

void apply_think(RunOptions& options, std::string_view value) {
  options.thinking_budget.reset();
  if (value == "on" || value == "true") {
    options.thinking = Thinking::kOn;
  } else if (value == "off" || value == "false" || value == "0") {
    options.thinking = Thinking::kOff;
  } else if (value == "auto") {
    options.thinking = Thinking::kModelDefault;
  } else {
    int budget = 0;
    const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), budget);
    if (error != std::errc() || end != value.data() + value.size() || budget < 0) {
      refuse(value, "on, off, auto or a number of tokens");
    }
    options.thinking = Thinking::kOn;
    options.thinking_budget = budget;
  }
}

std::string show_think(const RunOptions& options) {
  if (options.thinking_budget.has_value()) return std::to_string(*options.thinking_budget);
  if (options.thinking == Thinking::kModelDefault) return "auto";
  return options.thinking == Thinking::kOn ? "on" : "off";
}

void apply_logit_bias(RunOptions& options, std::string_view value) {
  const std::size_t equals = value.find('=');
  if (equals == std::string_view::npos) refuse(value, "of the form ID=BIAS");
  const auto id = parse_integer<text::TokenId>(value.substr(0, equals), 0);
  const double bias = parse_number(value.substr(equals + 1));
  options.sampler.logit_bias.emplace_back(id, static_cast<float>(bias));
}

std::string show_logit_bias(const RunOptions& options) {
  std::string result;
  for (const auto& [id, bias] : options.sampler.logit_bias) {
    result += fmt::format("{}{}={}", result.empty() ? "" : " ", id, bias);
  }
  return result.empty() ? "none" : result;
}

std::string show_order(const RunOptions& options) {
  std::string result;
  for (const generate::SamplerStep step : options.sampler.order) {
    if (!result.empty()) result += ',';
    result += generate::name(step);
  }
  return result;
}

void apply_kv(RunOptions& options, std::string_view value) {
  options.kv_type = spec::parse_kv_format(value);
}

std::string show_kv(const RunOptions& options) { return ascii_lower(options.kv_type.name()); }

void add_scaled_file(std::vector<std::string>& list, std::string_view value) {
  (void)parse_scaled_file(value);  // what is wrong with it is told before a model is loaded
  list.emplace_back(value);
}

template <float SamplerSettings::*field>
void apply_float(RunOptions& options, std::string_view value) {
  options.sampler.*field = static_cast<float>(parse_number(value));
}
template <float SamplerSettings::*field>
std::string show_float(const RunOptions& options) {
  return fmt::format("{}", options.sampler.*field);
}
template <std::int32_t SamplerSettings::*field>
void apply_int(RunOptions& options, std::string_view value) {
  options.sampler.*field = parse_integer<std::int32_t>(value);
}
template <std::int32_t SamplerSettings::*field>
std::string show_int(const RunOptions& options) {
  return std::to_string(options.sampler.*field);
}
template <bool RunOptions::*field>
void apply_switch(RunOptions& options, std::string_view value) {
  options.*field = parse_switch(value);
}
template <bool RunOptions::*field>
std::string show_switch(const RunOptions& options) {
  return options.*field ? "true" : "false";
}

template <float SamplerSettings::*field>
constexpr Setting float_setting(std::string_view name, std::string_view flags,
                                std::string_view help) {
  return {name,
          flags,
          "X",
          "Sampling",
          help,
          SettingKind::kValue,
          false,
          apply_float<field>,
          show_float<field>};
}
template <std::int32_t SamplerSettings::*field>
constexpr Setting int_setting(std::string_view name, std::string_view flags,
                              std::string_view help) {
  return {
      name,           flags, "N", "Sampling", help, SettingKind::kValue, false, apply_int<field>,
      show_int<field>};
}

constexpr auto kSettings = std::to_array<Setting>({
    {"system", "--system", "TEXT", "Prompt", "System message that goes before the conversation",
     SettingKind::kValue, false,
     [](RunOptions& o, std::string_view v) { o.system = parse_text(v); },
     [](const RunOptions& o) { return o.system.empty() ? std::string("none") : o.system; }},
    {"raw", "--raw", "", "Prompt",
     "Complete the prompt as it is, without the model's chat template", SettingKind::kSwitch, true,
     apply_switch<&RunOptions::raw>, show_switch<&RunOptions::raw>},
    {"special", "--special", "", "Prompt",
     "Without a chat template: control tokens written in the prompt count as such",
     SettingKind::kSwitch, false, apply_switch<&RunOptions::special>,
     show_switch<&RunOptions::special>},
    {"think", "--think", "on|off|BUDGET", "Prompt",
     "Reasoning: on, off, auto (what the model does by itself), or at most BUDGET tokens of it",
     SettingKind::kValue, false, apply_think, show_think},

    {"max-tokens", "-n,--max-tokens", "N", "Length",
     "Generate at most N tokens; -1: until the model ends its text", SettingKind::kValue, false,
     [](RunOptions& o, std::string_view v) { o.max_tokens = parse_integer<std::int64_t>(v, -1); },
     [](const RunOptions& o) { return std::to_string(o.max_tokens); }},
    {"stop", "--stop", "TEXT", "Length",
     "End before TEXT would be generated; may be given several times", SettingKind::kList, false,
     [](RunOptions& o, std::string_view v) {
       if (!v.empty()) o.stops.push_back(parse_text(v));
     },
     [](const RunOptions& o) { return shown(o.stops); }},
    {"overflow", "--overflow", "stop|shift", "Length",
     "When the context is full: stop, or drop its older half (and the conversation's oldest turns) "
     "and go on",
     SettingKind::kValue, false,
     [](RunOptions& o, std::string_view v) {
       if (v != "stop" && v != "shift") refuse(v, "stop or shift");
       o.overflow = v == "stop" ? generate::Overflow::kStop : generate::Overflow::kShift;
     },
     [](const RunOptions& o) {
       return std::string(o.overflow == generate::Overflow::kStop ? "stop" : "shift");
     }},

    float_setting<&SamplerSettings::temperature>("temp", "--temp",
                                                 "Temperature; 0: always the likeliest token"),
    int_setting<&SamplerSettings::top_k>("top-k", "--top-k",
                                         "Choose among the N likeliest tokens; 0: all"),
    float_setting<&SamplerSettings::top_p>(
        "top-p", "--top-p",
        "Choose among the likeliest tokens that together have probability X; 1: all"),
    float_setting<&SamplerSettings::min_p>(
        "min-p", "--min-p",
        "Choose among tokens at least X times as likely as the likeliest; 0: all"),
    float_setting<&SamplerSettings::typical>("typical", "--typical",
                                             "Locally typical sampling with mass X; 1: off"),
    {"seed", "--seed", "N", "Sampling",
     "Seed of the random numbers: the same seed gives the same text", SettingKind::kValue, false,
     [](RunOptions& o, std::string_view v) {
       if (v == "random") {
         o.sampler.seed.reset();
       } else {
         o.sampler.seed = parse_integer<std::uint64_t>(v);
       }
     },
     [](const RunOptions& o) {
       return o.sampler.seed.has_value() ? std::to_string(*o.sampler.seed) : "random";
     }},
    float_setting<&SamplerSettings::repeat_penalty>("repeat-penalty", "--repeat-penalty",
                                                    "Divide logits of recent tokens by X; 1: off"),
    float_setting<&SamplerSettings::frequency_penalty>(
        "frequency-penalty", "--frequency-penalty",
        "Lower logits of recent tokens by X per occurrence"),
    float_setting<&SamplerSettings::presence_penalty>("presence-penalty", "--presence-penalty",
                                                      "Lower logits of recent tokens by X"),
    int_setting<&SamplerSettings::repeat_last_n>("repeat-last-n", "--repeat-last-n",
                                                 "Tokens that count as recent; -1: all, 0: none"),
    float_setting<&SamplerSettings::dry_multiplier>(
        "dry-multiplier", "--dry-multiplier",
        "Strength of DRY, which makes verbatim repetition unlikely; 0: off"),
    float_setting<&SamplerSettings::dry_base>("dry-base", "--dry-base",
                                              "DRY: growth of the penalty per repeated token"),
    int_setting<&SamplerSettings::dry_allowed_length>("dry-allowed-length", "--dry-allowed-length",
                                                      "DRY: shortest repetition that is penalized"),
    int_setting<&SamplerSettings::dry_last_n>(
        "dry-last-n", "--dry-last-n", "DRY: tokens that are searched for repetitions; -1: all"),
    {"dry-breaker", "--dry-breaker", "TEXT", "Sampling",
     "DRY: text that repetitions do not reach across; may be given several times (default: "
     "newline, colon, quote, asterisk)",
     SettingKind::kList, false,
     [](RunOptions& o, std::string_view v) { o.sampler.dry_breakers.push_back(parse_text(v)); },
     [](const RunOptions& o) { return shown(o.sampler.dry_breakers); }},
    float_setting<&SamplerSettings::xtc_probability>(
        "xtc-probability", "--xtc-probability",
        "Probability with which XTC removes the likeliest tokens; 0: off"),
    float_setting<&SamplerSettings::xtc_threshold>(
        "xtc-threshold", "--xtc-threshold",
        "XTC: probability from which a token counts among the likeliest"),
    int_setting<&SamplerSettings::mirostat>(
        "mirostat", "--mirostat",
        "0: off; 2: Mirostat v2, instead of top-k, top-p, min-p, typical and XTC"),
    float_setting<&SamplerSettings::mirostat_tau>("mirostat-tau", "--mirostat-tau",
                                                  "Mirostat: surprise to hold, in bits"),
    float_setting<&SamplerSettings::mirostat_eta>("mirostat-eta", "--mirostat-eta",
                                                  "Mirostat: how fast it adapts"),
    {"logit-bias", "--logit-bias", "ID=BIAS", "Sampling",
     "Add BIAS to the logit of token ID (-inf: never choose it); may be given several times",
     SettingKind::kList, false, apply_logit_bias, show_logit_bias},
    {"samplers", "--samplers", "NAMES", "Sampling",
     "Order of the chain, names separated by commas; what is not listed is not applied (default: "
     "penalties,dry,top-k,typical,top-p,min-p,xtc,temperature)",
     SettingKind::kValue, false,
     [](RunOptions& o, std::string_view v) { o.sampler.order = generate::parse_order(v); },
     show_order},

    {"ctx", "-c,--ctx", "N", "Engine",
     "Tokens the context holds (default: the model's, at most 8192)", SettingKind::kValue, true,
     [](RunOptions& o, std::string_view v) { o.context = parse_integer<std::int64_t>(v, 0); },
     [](const RunOptions& o) {
       return o.context == 0 ? std::string("auto") : std::to_string(o.context);
     }},
    {"threads", "-t,--threads", "N", "Engine", "Threads (default: one per physical core)",
     SettingKind::kValue, true,
     [](RunOptions& o, std::string_view v) {
       o.threads = parse_integer<int>(v, 0);
       if (o.threads > 1024) refuse(v, "a number of threads up to 1024");
     },
     [](const RunOptions& o) {
       return o.threads == 0 ? std::string("auto") : std::to_string(o.threads);
     }},
    {"kv", "--kv", "FORMAT", "Engine",
     "Keeps keys and values in f16, bf16, q8_0, f32, tq4, tq3.5, tq3, tq2.5, tq2 or q4_0r, or "
     "KEYS:VALUES",
     SettingKind::kValue, true, apply_kv, show_kv},
    {"rope-scaling", "--rope-scaling", "KIND:FACTOR", "Engine",
     "Read contexts FACTOR times as long as the model was trained with: yarn:FACTOR, "
     "linear:FACTOR, or none, in place of what the file says; :ORIGINAL behind it is the trained "
     "context (default: file)",
     SettingKind::kValue, true,
     [](RunOptions& o, std::string_view v) {
       o.rope_scaling.reset();
       if (v != "file") o.rope_scaling = spec::parse_rope_scaling(v);
     },
     [](const RunOptions& o) { return o.rope_scaling ? o.rope_scaling->name() : "file"; }},
    {"kv-disk", "--kv-disk", "DIR:SIZE", "Engine",
     "Keep what the model remembers of conversations in files, to go on from there another time: "
     "on, off, DIR, SIZE or DIR:SIZE (default: off)",
     SettingKind::kValue, true,
     [](RunOptions& o, std::string_view v) { o.kv_disk = parse_kv_disk(v); },
     [](const RunOptions& o) { return show_kv_disk(o.kv_disk); }},
    {"kv-disk-key", "--kv-disk-key", "FILE", "Engine",
     "Encrypt what --kv-disk keeps with the key in FILE (hearth sessions key FILE makes one); off: "
     "with none",
     SettingKind::kValue, true,
     [](RunOptions& o, std::string_view v) {
       if (v.empty()) refuse(v, "a file");
       o.kv_disk_key = v == "off" ? std::string() : std::string(v);
     },
     [](const RunOptions& o) { return o.kv_disk_key.empty() ? "off" : o.kv_disk_key; }},
    {"kv-budget", "--kv-budget", "SIZE", "Engine",
     "Most memory for keys and values; the rest is in a file in --kv-disk's folder and read for "
     "every token (default: off)",
     SettingKind::kValue, true,
     [](RunOptions& o, std::string_view v) { o.kv_budget = parse_kv_budget(v); },
     [](const RunOptions& o) {
       return o.kv_budget == 0 ? std::string("off") : std::to_string(o.kv_budget);
     }},
    {"exact", "--exact", "", "Engine",
     "Compute with float32 activations, reproducibly and more slowly", SettingKind::kSwitch, true,
     apply_switch<&RunOptions::exact>, show_switch<&RunOptions::exact>},
    {"mapped", "--mapped", "", "Engine",
     "Use the weights where they are in the file instead of copying them", SettingKind::kSwitch,
     true, apply_switch<&RunOptions::mapped>, show_switch<&RunOptions::mapped>},
    {"lora", "--lora", "FILE[:SCALE]", "Engine",
     "Apply a LoRA adapter (GGUF or PEFT folder), SCALE times as strongly; may be given several "
     "times",
     SettingKind::kList, true,
     [](RunOptions& o, std::string_view v) { add_scaled_file(o.adapters.loras, v); },
     [](const RunOptions& o) { return shown(o.adapters.loras); }},
    {"control-vector", "--control-vector", "FILE[:STRENGTH]", "Engine",
     "Add a control vector (GGUF) to the layers' outputs; may be given several times",
     SettingKind::kList, true,
     [](RunOptions& o, std::string_view v) { add_scaled_file(o.adapters.control_vectors, v); },
     [](const RunOptions& o) { return shown(o.adapters.control_vectors); }},

    {"json", "--json", "", "Output", "Print one JSON object instead of the text",
     SettingKind::kSwitch, true, apply_switch<&RunOptions::json>, show_switch<&RunOptions::json>},
    {"stats", "--stats", "", "Output",
     "Print load time, token counts and tokens per second to stderr", SettingKind::kSwitch, false,
     apply_switch<&RunOptions::stats>, show_switch<&RunOptions::stats>},
    {"measurements", "--measurements", "", "Output",
     "Keep how fast answers were, and nothing else of them, on this machine (default: true)",
     SettingKind::kSwitch, false, apply_switch<&RunOptions::measurements>,
     show_switch<&RunOptions::measurements>},
});

/// Lists begin empty in the layer that sets them.
void clear_list(RunOptions& options, const Setting& setting) {
  if (setting.name == "stop") options.stops.clear();
  if (setting.name == "dry-breaker") options.sampler.dry_breakers.clear();
  if (setting.name == "logit-bias") options.sampler.logit_bias.clear();
  if (setting.name == "lora") options.adapters.loras.clear();
  if (setting.name == "control-vector") options.adapters.control_vectors.clear();
}

}  // namespace

spec::KvFormat kv_format(const RunOptions& options) {
  return options.exact ? spec::KvFormat(tensor::DType::kF32) : options.kv_type;
}

std::span<const Setting> all_settings() { return kSettings; }

const Setting* find_setting(std::string_view name) {
  std::string wanted(name);
  std::replace(wanted.begin(), wanted.end(), '_', '-');
  if (wanted == "n") wanted = "max-tokens";
  const auto* const found =
      std::find_if(kSettings.begin(), kSettings.end(),
                   [&](const Setting& setting) { return setting.name == wanted; });
  return found == kSettings.end() ? nullptr : found;
}

RunOptions apply_settings(RunOptions base, std::span<const SettingValue> values) {
  for (const Setting& setting : kSettings) {
    Layer layer = Layer::kSetup;
    for (const SettingValue& value : values) {
      if (value.setting == &setting) layer = std::max(layer, value.layer);
    }
    bool first = true;
    for (const SettingValue& value : values) {
      if (value.setting != &setting || value.layer != layer) continue;
      if (first && setting.kind == SettingKind::kList) clear_list(base, setting);
      first = false;
      try {
        setting.apply(base, value.value);
        generate::validate(base.sampler);
      } catch (const Error& error) {
        throw Error(fmt::format("{}: {}", value.source, error.what()), error.hint(),
                    ExitCode::kUsage);
      }
    }
  }
  return base;
}

}  // namespace hearth::cli
