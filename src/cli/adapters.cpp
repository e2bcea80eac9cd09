#include "cli/adapters.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <charconv>
#include <cmath>
#include <filesystem>

#include "support/error.h"

namespace hearth::cli {

void add_adapter_options(CLI::App& command, AdapterOptions& options) {
  const auto add = [&](const char* flag, std::vector<std::string>& values, const char* type,
                       const char* help) {
    command.add_option(flag, values, help)
        ->type_name(type)
        ->expected(1)
        ->allow_extra_args(false)
        ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  };
  add("--lora", options.loras, "FILE[:SCALE]",
      "Apply a LoRA adapter (GGUF or PEFT folder); may be given several times");
  add("--control-vector", options.control_vectors, "FILE[:STRENGTH]",
      "Add a control vector (GGUF); may be given several times");
}

ScaledFile parse_scaled_file(std::string_view value) {
  if (value.empty()) {
    throw Error("the name of the file is missing", "for example adapter.gguf:0.5",
                ExitCode::kUsage);
  }
  const std::size_t colon = value.rfind(':');
  std::error_code problem;
  if (colon == std::string_view::npos || colon == 0 || std::filesystem::exists(value, problem))
    return {std::string(value), 1};
  const std::string_view text = value.substr(colon + 1);
  float scale = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), scale);
  if (error != std::errc() || end != text.data() + text.size() || !std::isfinite(scale)) {
    throw Error(fmt::format("'{}' is not a scale", printable(text)),
                "give FILE, or FILE:NUMBER such as adapter.gguf:0.5", ExitCode::kUsage);
  }
  return {std::string(value.substr(0, colon)), scale};
}

Adapters::Adapters(model::LoadedModel& model, const AdapterOptions& options) : model_(&model) {
  const auto add = [&](const std::string& value, bool control) {
    const ScaledFile file = parse_scaled_file(value);
    Entry entry;
    entry.name = std::filesystem::path(file.path).filename().string();
    entry.control = control;
    entry.scale = entry.given = file.scale;
    if (entry.name.empty()) entry.name = file.path;
    if (control) {
      entry.vector = model.load_control_vector(file.path);
    } else {
      entry.adapter = model.load_adapter(file.path);
    }
    entries_.push_back(std::move(entry));
  };
  for (const std::string& value : options.loras) add(value, false);
  for (const std::string& value : options.control_vectors) add(value, true);
}

std::shared_ptr<const model::AdapterSet> Adapters::chosen() const {
  std::vector<model::AdapterChoice> adapters;
  std::vector<model::ControlChoice> vectors;
  for (const Entry& entry : entries_) {
    if (entry.scale == 0) continue;
    if (entry.control) {
      vectors.push_back({entry.vector, entry.scale});
    } else {
      adapters.push_back({entry.adapter, entry.scale});
    }
  }
  if (adapters.empty() && vectors.empty()) return nullptr;
  return model_->mix(adapters, vectors);
}

}  // namespace hearth::cli
