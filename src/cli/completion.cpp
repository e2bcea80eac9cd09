// hearth completion: scripts for bash, zsh and fish, made from the commands and options themselves
// so that they cannot go stale.

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "cli/main.h"
#include "cli/said.h"
#include "cli/words.h"

namespace hearth::cli {
namespace {

std::vector<const CLI::App*> commands_of(const CLI::App& app) {
  return app.get_subcommands([](const CLI::App* sub) { return !sub->get_name().empty(); });
}

/// The words an option's value can be, from a placeholder like "on|off|BUDGET"; words in capitals
/// are not literal.
std::vector<std::string> choices(const CLI::Option& option) {
  std::vector<std::string> result;
  std::string type = option.get_type_name();
  if (type.find('|') == std::string::npos) return result;
  type += '|';
  std::string word;
  for (const char character : type) {
    if (character != '|') {
      word += character;
      continue;
    }
    const bool literal =
        std::none_of(word.begin(), word.end(), [](char c) { return 'A' <= c && c <= 'Z'; });
    if (literal && !word.empty()) result.push_back(word);
    word.clear();
  }
  return result;
}

bool takes_value(const CLI::Option& option) { return option.get_items_expected_max() > 0; }

/// For single quotes of the shells (fish knows the same form).
std::string quoted(std::string text) {
  std::string result = "'";
  for (const char character : text)
    result += character == '\'' ? std::string("'\\''") : std::string(1, character);
  return result + "'";
}

/// Whether the words after the command are, or begin with, a model.
bool takes_model(const CLI::App& command) {
  const std::vector<const CLI::Option*> options = command.get_options();
  const auto is_model = [](const CLI::Option* option) {
    return option->get_positional() && option->get_name() == "MODEL";
  };
  const std::string& name = command.get_name();
  return name == "serve" || name == "show" || name == "rm" ||
         std::any_of(options.begin(), options.end(), is_model);
}

std::string bash_script(const CLI::App& app) {
  std::string names, cases;
  for (const CLI::App* command : commands_of(app)) {
    names += (names.empty() ? "" : " ") + command->get_name();
    std::string values;
    std::string free_values;
    for (const CLI::Option* option : command->get_options()) {
      if (option->get_positional() || !takes_value(*option)) continue;
      std::string pattern;
      for (const std::string& name : option->get_lnames())
        pattern += (pattern.empty() ? "--" : "|--") + name;
      for (const std::string& name : option->get_snames())
        pattern += (pattern.empty() ? "-" : "|-") + name;
      const std::vector<std::string> words = choices(*option);
      if (words.empty()) {
        free_values += (free_values.empty() ? "" : "|") + pattern;
      } else {
        values +=
            fmt::format("        {}) COMPREPLY=($(compgen -W {} -- \"$current\")); return ;;\n",
                        pattern, quoted(joined(words, " ")));
      }
    }
    if (!free_values.empty())
      values += fmt::format("        {}) COMPREPLY=($(compgen -f -- \"$current\")); return ;;\n",
                            free_values);
    std::vector<std::string> options = option_names(*command), commands;
    for (const CLI::App* sub : commands_of(*command)) {
      commands.push_back(sub->get_name());
      for (std::string& name : option_names(*sub)) {
        if (std::find(options.begin(), options.end(), name) == options.end())
          options.push_back(std::move(name));
      }
    }
    cases +=
        fmt::format("    {})\n      case \"$previous\" in\n{}      esac\n      options={}{}{} ;;\n",
                    command->get_name(), values, quoted(joined(options, " ")),
                    commands.empty() ? "" : " commands=" + quoted(joined(commands, " ")),
                    takes_model(*command) ? " models=1" : "");
  }
  return fmt::format(R"(# bash completion for hearth. Load it with: source <(hearth completion bash)
_hearth() {{
  local current=${{COMP_WORDS[COMP_CWORD]}} previous=${{COMP_WORDS[COMP_CWORD-1]}} options=''
  local commands='' models='' names='' file
  COMPREPLY=()
  if ((COMP_CWORD == 1)); then
    COMPREPLY=($(compgen -W '{} {}' -- "$current"))
    return
  fi
  case "${{COMP_WORDS[1]}}" in
{}  esac
  if [[ $current == -* ]]; then
    COMPREPLY=($(compgen -W "$options" -- "$current"))
  elif [[ ${{COMP_WORDS[1]}} == completion ]]; then
    COMPREPLY=($(compgen -W 'bash zsh fish' -- "$current"))
  elif [[ $commands && $COMP_CWORD == 2 ]]; then
    COMPREPLY=($(compgen -W "$commands" -- "$current"))
  else
    if [[ $models ]]; then
      for file in "${{XDG_DATA_HOME:-$HOME/.local/share}}"/hearth/models/*.gguf; do
        file=${{file##*/}}
        file=${{file%.gguf}}
        [[ $file == '*' ]] || names+=" ${{file%-[0-9]*-of-[0-9]*}}"
      done
    fi
    COMPREPLY=($(compgen -W "$names" -- "$current") $(compgen -f -- "$current"))
  fi
}}
complete -o filenames -F _hearth hearth
)",
                     names, joined(option_names(app), " "), cases);
}

/// zsh's _arguments takes brackets, colons and backslashes in descriptions only escaped.
std::string zsh_description(const std::string& text) {
  std::string result;
  for (const char character : text) {
    if (character == '[' || character == ']' || character == ':' || character == '\\')
      result += '\\';
    result += character;
  }
  return result;
}

std::string zsh_script(const CLI::App& app) {
  std::string names, cases;
  for (const CLI::App* command : commands_of(app)) {
    names += fmt::format("    {}\n", quoted(command->get_name() + ":" +
                                            zsh_description(command->get_description())));
    std::string arguments;
    for (const CLI::Option* option : command->get_options()) {
      if (option->get_positional()) continue;
      std::vector<std::string> flags;
      for (const std::string& name : option->get_lnames()) flags.push_back("--" + name);
      for (const std::string& name : option->get_snames()) flags.push_back("-" + name);
      for (const std::string& flag : flags) {
        std::string spec = flag + "[" + zsh_description(option->get_description()) + "]";
        const std::vector<std::string> words = choices(*option);
        if (takes_value(*option)) {
          spec += ":" + zsh_description(option->get_type_name()) + ":";
          if (!words.empty()) spec += "(" + joined(words, " ") + ")";
        }
        arguments += fmt::format("        {} \\\n", quoted(spec));
      }
    }
    const char* words =
        command->get_name() == "completion" ? "'*:shell:(bash zsh fish)'" : "'*:file:_files'";
    cases += fmt::format("      {})\n        _arguments \\\n{}        {} ;;\n", command->get_name(),
                         arguments, words);
  }
  return fmt::format(R"(#compdef hearth
# zsh completion for hearth. Load it with: source <(hearth completion zsh)
_hearth() {{
  local -a commands
  commands=(
{}  )
  local context state line
  _arguments -C '1:command:->command' '*::argument:->argument'
  case $state in
  command) _describe command commands ;;
  argument)
    case $words[1] in
{}    esac ;;
  esac
}}
compdef _hearth hearth
)",
                     names, cases);
}

std::string fish_script(const CLI::App& app) {
  std::string script =
      "# fish completion for hearth. Load it with: hearth completion fish | source\n";
  for (const CLI::App* command : commands_of(app)) {
    const std::string& name = command->get_name();
    script += fmt::format("complete -c hearth -n __fish_use_subcommand -f -a {} -d {}\n", name,
                          quoted(command->get_description()));
    if (name == "completion")
      script +=
          "complete -c hearth -n '__fish_seen_subcommand_from completion' -f -a 'bash zsh fish'\n";
    for (const CLI::Option* option : command->get_options()) {
      if (option->get_positional()) continue;
      std::string line =
          fmt::format("complete -c hearth -n '__fish_seen_subcommand_from {}'", name);
      for (const std::string& flag : option->get_lnames()) line += " -l " + flag;
      for (const std::string& flag : option->get_snames()) line += " -s " + flag;
      if (takes_value(*option)) line += " -r";
      const std::vector<std::string> words = choices(*option);
      if (!words.empty()) line += " -f -a " + quoted(joined(words, " "));
      script += line + " -d " + quoted(option->get_description()) + "\n";
    }
  }
  return script;
}

}  // namespace

void add_completion_command(CLI::App& app) {
  auto shell = std::make_shared<std::string>();
  CLI::App* command = app.add_subcommand("completion", "Print a completion script for a shell");
  command->add_option("SHELL", *shell, "bash, zsh or fish")
      ->required()
      ->check(CLI::IsMember({"bash", "zsh", "fish"}))
      ->type_name("");
  command->footer(
      "Examples:\n"
      "  source <(hearth completion bash)                    # this shell\n"
      "  hearth completion bash > ~/.local/share/bash-completion/completions/hearth\n"
      "  hearth completion zsh > ~/.zsh/completions/_hearth  # a folder of $fpath\n"
      "  hearth completion fish > ~/.config/fish/completions/hearth.fish\n");
  command->callback([&app, shell] {
    const std::string script = *shell == "bash"  ? bash_script(app)
                               : *shell == "zsh" ? zsh_script(app)
                                                 : fish_script(app);
    fmt::print("{}", script);
  });
}

}  // namespace hearth::cli
