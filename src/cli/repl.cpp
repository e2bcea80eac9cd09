#include "cli/repl.h"

#include <fmt/format.h>
#include <unistd.h>

#include <charconv>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <map>
#include <optional>

#include "cli/config.h"
#include "cli/history.h"
#include "cli/interrupt.h"
#include "cli/line_editor.h"
#include "cli/main.h"
#include "cli/output.h"
#include "cli/suggest.h"
#include "cli/terminal.h"
#include "support/error.h"
#include "support/write_target.h"

namespace hearth::cli {
namespace {

constexpr std::string_view kPrompt = "> ";
constexpr std::string_view kContinuation = ". ";
constexpr std::string_view kFence = "\"\"\"";

constexpr const char* kHelp =
    "  Write a message and press Enter. A line that ends with \\ goes on; \"\"\" begins and ends\n"
    "  a text of several lines; so does pasting one, or Alt-Enter.\n"
    "  Ctrl-C stops the reply; Ctrl-D or /quit leaves.\n"
    "\n"
    "  /system [TEXT]      show or set the system message (/system none: no message)\n"
    "  /set [NAME [VALUE]] show or change settings: /set temp 0.5, /set temp default\n"
    "  /save FILE          save the conversation and the changed settings\n"
    "  /load FILE          go on with a saved conversation\n"
    "  /retry              another answer to the last message (a seed that is set counts on)\n"
    "  /clear              forget the conversation\n"
    "  /lora [N [SCALE]]   show adapters and control vectors, or change one: /lora 1 0.5, /lora 1 "
    "off\n"
    "  /stats              figures of the last answer, and memory\n"
    "  /quit               leave\n"
    "\n"
    "  A message that begins with / is written with two: //like this.\n";

std::string_view trimmed_line(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

/// The file that is meant by what follows /save or /load: quotes are taken off, ~/ is the home
/// folder.
std::filesystem::path file_named(std::string_view argument) {
  const bool quoted = argument.size() > 1 && argument.front() == '"' && argument.back() == '"';
  if (quoted) argument = argument.substr(1, argument.size() - 2);
  if (argument.starts_with("~/")) return home_folder() / argument.substr(2);
  return argument;
}

/// Throws Error when `path` is a file that is no saved conversation: it may be anything.
void require_replaceable(const std::filesystem::path& path, bool anything_to_save) {
  std::error_code ignored;  // where nothing can be asked, writing says what is wrong
  if (!std::filesystem::exists(write_target(path), ignored)) return;
  if (!anything_to_save) {
    throw Error(
        fmt::format("'{}' exists, and there is no message to save", printable(path.string(), 300)),
        "write a message first, or choose another name");
  }
  try {
    (void)generate::load_conversation(path);
  } catch (const Error&) {
    throw Error(fmt::format("'{}' exists and is not a saved conversation: it stays as it is",
                            printable(path.string(), 300)),
                "choose another name, or remove it first");
  }
}

/// `values` with one that is set in the chat; "default" takes earlier ones back.
std::vector<SettingValue> with_value(std::vector<SettingValue> values, const Setting& setting,
                                     std::string_view value) {
  if (value == "default" || setting.kind != SettingKind::kList) {
    std::erase_if(values, [&](const SettingValue& old) {
      return old.setting == &setting && old.layer == Layer::kChat;
    });
  }
  if (value != "default")
    values.push_back({&setting, std::string(value), Layer::kChat, std::string(setting.name)});
  return values;
}

class Repl {
 public:
  Repl(Engine& engine, std::vector<SettingValue> values)
      : engine_(engine),
        values_(std::move(values)),
        history_(user_folders().state / "history"),
        editor_(STDIN_FILENO, STDOUT_FILENO, history_) {
    base_.sampler = engine.recommended().settings;
    options_ = apply_settings(base_, values_);
    if (chat() != nullptr) chat()->conversation.system = options_.system;
  }

  void run() {
    greet();
    while (!done_) {
      const std::optional<std::string> message = read_message();
      if (!message.has_value()) break;
      if (message->find_first_not_of(" \t\n") == std::string::npos) continue;
      history_.add(*message);
      try {
        handle(*message);
      } catch (const Error& error) {
        complain(error);
      }
    }
  }

 private:
  using Handler = void (Repl::*)(std::string_view argument);
  static const std::map<std::string, Handler, std::less<>>& commands() {
    static const std::map<std::string, Handler, std::less<>> table = {
        {"/help", &Repl::help},   {"/system", &Repl::system}, {"/set", &Repl::set},
        {"/save", &Repl::save},   {"/load", &Repl::load},     {"/retry", &Repl::retry},
        {"/clear", &Repl::clear}, {"/stats", &Repl::stats},   {"/quit", &Repl::quit},
        {"/lora", &Repl::lora},
    };
    return table;
  }

  [[nodiscard]] generate::Chat* chat() { return engine_.chat(); }

  generate::Chat& need_chat(const char* what) {
    if (chat() != nullptr) return *chat();
    throw Error(fmt::format("{} needs a conversation, but text is only continued here", what),
                "use a model with a chat template, without --raw");
  }

  void greet() {
    fmt::print("{}{}. /help shows what you can do here.\n\n", printable(engine_.name()),
               chat() != nullptr ? "" : " (no chat template: it continues your text)");
    std::fflush(stdout);
  }

  static void complain(const Error& error) {
    std::fflush(stdout);
    fmt::print(stderr, "{}{}\n", error.what(), error.hint().empty() ? "" : "; " + error.hint());
  }

  /// A whole message, of several lines if need be; nothing at the end.
  std::optional<std::string> read_message() {
    std::string message;
    bool fenced = false, more = false;
    while (true) {
      LineEditor::Result line = editor_.read(more ? kContinuation : kPrompt, kContinuation);
      if (line.kind == LineEditor::Kind::kEnd) {
        if (!more) return std::nullopt;
        return message;
      }
      if (line.kind == LineEditor::Kind::kInterrupted) {
        if (!more && line.text.empty()) fmt::print("Write /quit or press Ctrl-D to leave.\n");
        std::fflush(stdout);
        return std::string();
      }
      std::string& text = line.text;
      if (!more && text.starts_with(kFence)) {
        fenced = true;
        text.erase(0, kFence.size());
        if (text.empty()) {
          more = true;
          continue;
        }
      }
      if (fenced && text.ends_with(kFence)) {
        text.resize(text.size() - kFence.size());
        if (text.empty() && message.ends_with('\n')) message.pop_back();
        return message + text;
      }
      const bool goes_on = !fenced && text.ends_with('\\');
      if (goes_on) text.pop_back();
      message += text;
      if (!fenced && !goes_on) return message;
      message += '\n';
      more = true;
    }
  }

  void handle(const std::string& message) {
    if (message.front() != '/') return answer(message);
    if (message.starts_with("//")) return answer(message.substr(1));
    const std::size_t space = std::min(message.find_first_of(" \n"), message.size());
    const std::string name = message.substr(0, space);
    const auto found = commands().find(name);
    if (found == commands().end()) {
      std::vector<std::string> names;
      for (const auto& [known, handler] : commands()) names.push_back(known);
      const std::string nearest = suggestion(name, names);
      throw Error(fmt::format("unknown command '{}'", printable(name)),
                  nearest.empty() ? "see /help" : nearest);
    }
    (this->*found->second)(trimmed_line(std::string_view(message).substr(space)));
  }

  /// Runs one generation with Ctrl-C caught and shows it.
  void generate(const std::function<Answer(ReplyPrinter&)>& run) {
    const TerminalMode quiet(STDIN_FILENO, TerminalMode::Kind::kQuiet);
    const InterruptGuard guard(/*second_ends=*/false);
    ReplyPrinter printer;
    try {
      const Answer answer = run(printer);
      printer.finish();
      last_ = answer.result;
      engine_.answered(answer.result, options_);
      engine_.save_in_background();
      const std::string note = remark(engine_, answer);
      if (!note.empty()) fmt::print(stderr, "({})\n", note);
      if (answer.result.finish == generate::FinishReason::kCancelled)
        fmt::print(stderr, "(stopped)\n");
      if (options_.stats) fmt::print(stderr, "{}", statistics(engine_, answer.result));
    } catch (...) {
      printer.finish();
      throw;
    }
    if (printer.broken()) done_ = true;
    fmt::print("\n");
    std::fflush(stdout);
  }

  /// The settings of this try: a seed that is set counts on with every retry, which would give
  /// the same answer otherwise.
  [[nodiscard]] RunOptions options_of_try() const {
    RunOptions options = options_;
    if (options.sampler.seed.has_value()) *options.sampler.seed += tries_;
    return options;
  }

  void go_on(const std::string& text) {
    last_text_ = text;
    const RunOptions options = options_of_try();
    generate([&](ReplyPrinter& printer) {
      return complete(engine_, text, options, options.special, [&](std::string_view piece) {
        printer.text(piece);
        return !printer.broken();
      });
    });
  }

  void answer(const std::string& text) {
    tries_ = 0;
    if (chat() == nullptr) return go_on(text);
    generate([&](ReplyPrinter& printer) {
      return converse(printer, [&](const generate::ChatOptions& options, const auto& on_event) {
        return chat()->send(text, options, on_event);
      });
    });
  }

  template <class Ask>
  Answer converse(ReplyPrinter& printer, const Ask& ask) {
    generate::ChatOptions options = chat_options(options_of_try());
    const generate::Json no_tools = generate::Json::array();
    options.tools = &no_tools;
    generate::ChatReply reply = ask(options, [&](const text::ReplyEvent& event) {
      if (event.kind == text::ReplyEvent::Kind::kText) printer.text(event.text);
      if (event.kind == text::ReplyEvent::Kind::kReasoning) printer.reasoning(event.text);
    });
    return {std::move(reply.text), std::move(reply.reasoning), std::move(reply.tool_calls),
            std::move(reply.result), reply.dropped_messages};
  }

  void help(std::string_view) { fmt::print("{}\n", kHelp); }

  void system(std::string_view argument) {
    std::string& message = need_chat("/system").conversation.system;
    if (!argument.empty()) {
      set_value(*find_setting("system"), argument == "none" ? "" : argument);
    }
    fmt::print("{}\n\n", message.empty() ? "No system message."
                                         : "System message: " + printable(message, 4000));
  }

  void set(std::string_view argument) {
    if (argument.empty()) {
      for (const Setting& setting : all_settings()) {
        if (!setting.at_load)
          fmt::print("  {:<20} {}\n", setting.name, printable(setting.show(options_), 300));
      }
      fmt::print("\n");
      return;
    }
    const std::size_t space = std::min(argument.find_first_of(" ="), argument.size());
    const std::string_view name = argument.substr(0, space);
    const std::string_view value =
        trimmed_line(argument.substr(std::min(space + 1, argument.size())));
    const Setting* setting = find_setting(name);
    if (setting == nullptr) {
      std::vector<std::string> names;
      for (const Setting& known : all_settings()) names.emplace_back(known.name);
      const std::string nearest = suggestion(name, names);
      throw Error(fmt::format("unknown setting '{}'", printable(name)),
                  nearest.empty() ? "/set lists all of them" : nearest);
    }
    if (!value.empty()) {
      if (setting->at_load) {
        throw Error(fmt::format("{} cannot be changed while the model is loaded", setting->name),
                    fmt::format("leave and start again with --{}", setting->name));
      }
      set_value(*setting, value);
    }
    fmt::print("{} = {}\n\n", setting->name, printable(setting->show(options_), 4000));
  }

  void lora(std::string_view argument) {
    const std::vector<Adapters::Entry>& entries = engine_.adapters().entries();
    if (entries.empty()) {
      throw Error("no adapters are loaded",
                  "leave and start again with --lora FILE or --control-vector FILE");
    }
    if (!argument.empty()) change_adapter(argument);
    for (std::size_t i = 0; i < entries.size(); ++i) {
      fmt::print("  {}  {:<30} {}\n", i + 1, printable(entries[i].name),
                 entries[i].scale == 0 ? "off" : fmt::format("{}", entries[i].scale));
    }
    fmt::print("\n");
  }

  /// "N SCALE", "N on" or "N off".
  void change_adapter(std::string_view argument) {
    const std::vector<Adapters::Entry>& entries = engine_.adapters().entries();
    const std::size_t space = std::min(argument.find(' '), argument.size());
    const std::string_view value = trimmed_line(argument.substr(space));
    std::size_t number = 0;
    const auto [end, problem] = std::from_chars(argument.data(), argument.data() + space, number);
    if (problem != std::errc() || end != argument.data() + space || number < 1 ||
        number > entries.size()) {
      throw Error(fmt::format("there is no adapter {}", printable(argument.substr(0, space))),
                  "/lora lists them");
    }
    const Adapters::Entry& entry = entries[number - 1];
    float scale = entry.given == 0 ? 1.0F : entry.given;
    if (value == "off") {
      scale = 0;
    } else if (value != "on") {
      const auto [stop, wrong] = std::from_chars(value.data(), value.data() + value.size(), scale);
      if (wrong != std::errc() || stop != value.data() + value.size() || !std::isfinite(scale))
        throw Error(fmt::format("'{}' is not a scale", printable(value)),
                    "give a number, on or off");
    }
    engine_.set_adapter_scale(number - 1, scale);
  }

  /// Applies one changed setting; on an error nothing is changed.
  void set_value(const Setting& setting, std::string_view value) {
    std::vector<SettingValue> changed = with_value(values_, setting, value);
    options_ = apply_settings(base_, changed);
    values_ = std::move(changed);
    if (setting.name == "system" && chat() != nullptr)
      chat()->conversation.system = options_.system;
  }

  void save(std::string_view argument) {
    if (argument.empty())
      throw Error("/save needs the name of a file", "for example /save talk.json");
    generate::SavedConversation saved;
    saved.conversation = need_chat("/save").conversation;
    saved.model = engine_.name();
    for (const SettingValue& value : values_) {
      const bool kept = !value.setting->at_load && value.setting->kind != SettingKind::kList;
      if (kept && value.setting->name != "system")
        saved.settings[std::string(value.setting->name)] = value.value;
    }
    const std::filesystem::path path = file_named(argument);
    require_replaceable(path, !saved.conversation.messages.empty());
    generate::save_conversation(saved, path);
    fmt::print("Saved {} messages to {}.\n\n", saved.conversation.messages.size(),
               printable(path.string(), 300));
  }

  void load(std::string_view argument) {
    if (argument.empty())
      throw Error("/load needs the name of a file", "for example /load talk.json");
    generate::Chat& target = need_chat("/load");
    const std::filesystem::path path = file_named(argument);
    generate::SavedConversation saved = generate::load_conversation(path);
    std::vector<SettingValue> changed = values_;
    for (const auto& [name, value] : saved.settings) {
      const Setting* setting = find_setting(name);
      if (setting == nullptr || setting->at_load) {
        fmt::print("(setting {} was not taken)\n", printable(name));
        continue;
      }
      changed = with_value(std::move(changed), *setting, value);
    }
    try {
      options_ = apply_settings(base_, changed);
    } catch (const Error& error) {
      throw Error(fmt::format("nothing was loaded from '{}': a setting in it is wrong: {}",
                              printable(path.string(), 300), error.what()),
                  error.hint());
    }
    values_ = std::move(changed);
    tries_ = 0;
    target.conversation = std::move(saved.conversation);
    fmt::print("Loaded {} messages{}.\n\n", target.conversation.messages.size(),
               saved.model.empty() || saved.model == engine_.name()
                   ? ""
                   : fmt::format(" of a conversation with {}", printable(saved.model)));
  }

  void retry(std::string_view) {
    if (chat() == nullptr) {
      if (last_text_.empty()) throw Error("there is nothing to retry", "write a text first");
      ++tries_;
      return go_on(last_text_);
    }
    ++tries_;
    generate([&](ReplyPrinter& printer) {
      return converse(printer, [&](const generate::ChatOptions& options, const auto& on_event) {
        return chat()->retry(options, on_event);
      });
    });
  }

  void clear(std::string_view) {
    if (chat() != nullptr) chat()->conversation.messages = generate::Json::array();
    last_text_.clear();
    fmt::print("The conversation is forgotten.\n\n");
  }

  void stats(std::string_view) {
    if (!last_.has_value()) throw Error("there was no answer yet");
    fmt::print("{}\n", statistics(engine_, *last_));
  }

  void quit(std::string_view) { done_ = true; }

  Engine& engine_;
  std::vector<SettingValue> values_;
  RunOptions base_;
  RunOptions options_;
  History history_;
  LineEditor editor_;
  std::optional<generate::GenerateResult> last_;
  std::string last_text_;    // completed last, when there is no chat
  std::uint64_t tries_ = 0;  // how often the last message was answered again
  bool done_ = false;
};

}  // namespace

void chat_on_terminal(Engine& engine, std::vector<SettingValue> values) {
  Repl(engine, std::move(values)).run();
}

}  // namespace hearth::cli
