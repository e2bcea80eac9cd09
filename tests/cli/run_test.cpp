// The program as a process: what scripts and people see.
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <functional>
#include <nlohmann/json.hpp>

#include "gguf/writer.h"
#include "program.h"
#include "shared_dir.h"
#include "support/file.h"

namespace hearth::testing {
namespace {

const std::filesystem::path& stories() {
  static const std::filesystem::path path = shared_dir() / "models" / "stories260K.gguf";
  return path;
}

/// A copy of the stories model in `folder` with more metadata.
std::filesystem::path changed_model(const TemporaryFolder& folder,
                                    const std::function<void(gguf::Writer&)>& change) {
  const gguf::File file = gguf::File::open(stories());
  gguf::Writer writer;
  writer.copy(file.metadata());
  change(writer);
  for (const gguf::TensorInfo& tensor : file.tensors()) {
    writer.add_tensor(tensor.name, tensor.dtype,
                      std::vector<std::int64_t>(tensor.shape, tensor.shape + tensor.dimensions),
                      file.data(tensor));
  }
  const std::filesystem::path path = folder / "changed.gguf";
  writer.write(path);
  return path;
}

std::filesystem::path chat_model(const TemporaryFolder& folder) {
  return changed_model(folder, [](gguf::Writer& writer) {
    writer.set("tokenizer.chat_template",
               "{% for message in messages %}{{ message.role }}: {{ message.content }}\n{% endfor "
               "%}assistant:");
  });
}

Program hearth(std::vector<std::string> arguments) { return Program(std::move(arguments)); }

/// The arguments of a run that always says the same.
Program fixed_run(std::vector<std::string> rest) {
  std::vector<std::string> arguments = {"run", stories().string(), "--temp", "0", "-n", "8"};
  arguments.insert(arguments.end(), rest.begin(), rest.end());
  return Program(std::move(arguments));
}

TEST(Run, TellsTheStory) {
  HEARTH_REQUIRE_FILE(stories());
  const ProgramResult result =
      hearth({"run", stories().string(), "--raw", "--temp", "0", "-n", "257", ""}).run();
  EXPECT_EQ(result.exit_code, 0) << result.errors;
  EXPECT_EQ(result.errors, "");
  EXPECT_EQ(result.output, read_file(shared_dir() / "models" / "stories260K.expected.txt"));
}

TEST(Run, ThePromptMayComeFromManyPlaces) {
  HEARTH_REQUIRE_FILE(stories());
  const std::string expected = fixed_run({"Once upon a time"}).run().output;
  EXPECT_FALSE(expected.empty());
  EXPECT_TRUE(expected.ends_with('\n'));
  EXPECT_EQ(fixed_run({"Once", "upon", "a", "time"}).run().output, expected);
  EXPECT_EQ(fixed_run({"--", "Once", "upon", "a", "time"}).run().output, expected);
  EXPECT_EQ(fixed_run({"-p", "Once upon a time"}).run().output, expected);
  EXPECT_EQ(fixed_run({}).input("Once upon a time\n").run().output, expected);
  EXPECT_EQ(fixed_run({"-"}).input("Once upon a time").run().output, expected);
  EXPECT_EQ(fixed_run({"Once upon a time"}).input("something else").run().output, expected);
  EXPECT_EQ(hearth({"run", "--temp", "0", stories().string(), "Once upon", "-n", "8", "a time"})
                .run()
                .output,
            expected);
}

TEST(Run, WordsArePlainWords) {
  HEARTH_REQUIRE_FILE(stories());
  const auto prompt_tokens = [](std::vector<std::string> words) {
    words.insert(words.begin(), "--json");
    const ProgramResult result = fixed_run(std::move(words)).run();
    EXPECT_EQ(result.exit_code, 0) << result.errors;
    return nlohmann::json::parse(result.output)["tokens"]["prompt"].get<int>();
  };
  EXPECT_EQ(prompt_tokens({"[a,b] [c]"}), prompt_tokens({"[a,b]", "[c]"}));
  EXPECT_EQ(prompt_tokens({"[a,b]"}), prompt_tokens({"xa,bx"}));
  EXPECT_EQ(prompt_tokens({"--", "--raw", "-n"}), prompt_tokens({"--", "--raw -n"}));
  EXPECT_EQ(prompt_tokens({"--stop=", "hello"}), prompt_tokens({"hello"}));
  EXPECT_EQ(prompt_tokens({"inspect", "run"}), prompt_tokens({"inspect run"}));
}

TEST(Run, JsonIsOneObject) {
  HEARTH_REQUIRE_FILE(stories());
  const ProgramResult result = fixed_run({"--json", "--seed", "7", "Once upon a time"}).run();
  ASSERT_EQ(result.exit_code, 0) << result.errors;
  const auto json = nlohmann::json::parse(result.output);
  EXPECT_EQ(json["text"].get<std::string>() + "\n", fixed_run({"Once upon a time"}).run().output);
  EXPECT_EQ(json["reasoning"], "");
  EXPECT_EQ(json["tool_calls"], nlohmann::json::array());
  EXPECT_EQ(json["finish_reason"], "length");
  EXPECT_EQ(json["seed"], 7);
  EXPECT_EQ(json["tokens"]["generated"], 8);
  EXPECT_GT(json["timings"]["load_seconds"], 0.0);
  for (const char* part : {"weights", "kv", "state", "buffers", "other"})
    EXPECT_TRUE(json["memory"].contains(part));
}

TEST(Run, StatisticsGoToStderr) {
  HEARTH_REQUIRE_FILE(stories());
  const ProgramResult result = fixed_run({"--stats", "Once"}).run();
  EXPECT_NE(result.errors.find("generated  8 tokens"), std::string::npos) << result.errors;
  EXPECT_EQ(result.output, fixed_run({"Once"}).run().output);
}

TEST(Run, WhatHasNoEffectIsSaid) {
  HEARTH_REQUIRE_FILE(stories());
  const ProgramResult result = fixed_run({"--system", "Be kind", "Once"}).run();
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_NE(result.errors.find("no chat template: --system and --think have no effect"),
            std::string::npos);
}

TEST(Run, StopStringsAndSeeds) {
  HEARTH_REQUIRE_FILE(stories());
  const std::string text =
      hearth({"run", stories().string(), "--raw", "--temp", "0", "-n", "99", "--stop", "Lily", ""})
          .run()
          .output;
  EXPECT_EQ(text, "Once upon a time, there was a little girl named \n");
  const auto sampled = [](const std::string& seed) {
    return hearth({"run", stories().string(), "--temp", "1.5", "-n", "30", "--seed", seed, "A"})
        .run()
        .output;
  };
  EXPECT_EQ(sampled("1"), sampled("1"));
  EXPECT_NE(sampled("1"), sampled("2"));
}

TEST(Run, SettingsComeFromTheFileTheEnvironmentAndFlags) {
  HEARTH_REQUIRE_FILE(stories());
  const TemporaryFolder home;
  std::filesystem::create_directories(home / ".config/hearth");
  write_file_atomically(home / ".config/hearth/config", std::string("max-tokens = 3\ntemp = 0\n"));
  const auto generated = [&](Program program) {
    const ProgramResult result = program.home(home.path()).run();
    EXPECT_EQ(result.exit_code, 0) << result.errors;
    return nlohmann::json::parse(result.output)["tokens"]["generated"].get<int>();
  };
  const std::vector<std::string> arguments = {"run", stories().string(), "--json", "Once"};
  EXPECT_EQ(generated(hearth(arguments)), 3);
  EXPECT_EQ(generated(hearth(arguments).variable("HEARTH_MAX_TOKENS", "4")), 4);
  std::vector<std::string> flags = arguments;
  flags.insert(flags.end(), {"-n", "5"});
  EXPECT_EQ(generated(hearth(flags).variable("HEARTH_MAX_TOKENS", "4")), 5);

  write_file_atomically(home / ".config/hearth/config", std::string("max-tokens = 3\nhot = 0\n"));
  const ProgramResult wrong = hearth(arguments).home(home.path()).run();
  EXPECT_EQ(wrong.exit_code, 2);
  EXPECT_NE(wrong.errors.find("config line 2: unknown key 'hot'"), std::string::npos)
      << wrong.errors;
}

TEST(Run, TheModelsRecommendationsAreTheDefaults) {
  HEARTH_REQUIRE_FILE(stories());
  const TemporaryFolder folder;
  const auto model = changed_model(folder, [](gguf::Writer& writer) {
    writer.set("general.sampling.temp", 0.0F);
    writer.set("general.sampling.top_p", 7.0F);
  });
  const ProgramResult result = hearth({"run", model.string(), "-n", "8", "Once upon a time"}).run();
  EXPECT_EQ(result.output, fixed_run({"Once upon a time"}).run().output);
  EXPECT_NE(result.errors.find("general.sampling.top_p"), std::string::npos) << result.errors;
}

TEST(Run, AChatTemplateIsUsedUnlessRaw) {
  HEARTH_REQUIRE_FILE(stories());
  const TemporaryFolder folder;
  const auto model = chat_model(folder);
  const auto prompt_tokens = [&](std::vector<std::string> rest) {
    std::vector<std::string> arguments = {"run", model.string(), "--temp", "0", "-n",
                                          "4",   "--json"};
    arguments.insert(arguments.end(), rest.begin(), rest.end());
    const ProgramResult result = Program(arguments).run();
    EXPECT_EQ(result.exit_code, 0) << result.errors;
    return nlohmann::json::parse(result.output)["tokens"]["prompt"].get<int>();
  };
  const int raw = prompt_tokens({"--raw", "Hello"});
  const int chat = prompt_tokens({"Hello"});
  EXPECT_GT(chat, raw);
  EXPECT_GT(prompt_tokens({"--system", "Be kind", "Hello"}), chat);
}

TEST(Run, AnAnswerThatIsOnlyReasoningIsRemarked) {
  HEARTH_REQUIRE_FILE(stories());
  const TemporaryFolder folder;
  const auto model = changed_model(folder, [](gguf::Writer& writer) {
    writer.set("tokenizer.chat_template",
               "{% for message in messages %}{{ message.content }}{% if message.reasoning_content "
               "%}<think>{{ message.reasoning_content }}</think>{% endif %}\n{% endfor "
               "%}<think>\n");
  });
  const ProgramResult result = hearth({"run", model.string(), "-n", "4", "Once upon a time"}).run();
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_EQ(result.output, "\n");
  EXPECT_NE(result.errors.find("all 4 tokens went into reasoning"), std::string::npos)
      << result.errors;
}

struct BadUse {
  const char* name;
  std::vector<std::string> arguments;
  int exit_code;
  const char* message;
};

class BadUsage : public ::testing::TestWithParam<BadUse> {};

TEST_P(BadUsage, IsOneSentence) {
  HEARTH_REQUIRE_FILE(stories());
  std::vector<std::string> arguments = GetParam().arguments;
  for (std::string& argument : arguments) {
    if (argument == "MODEL") argument = stories().string();
  }
  const ProgramResult result = Program(arguments).run();
  EXPECT_EQ(result.exit_code, GetParam().exit_code) << result.errors;
  EXPECT_NE(result.errors.find(GetParam().message), std::string::npos) << result.errors;
  EXPECT_EQ(std::count(result.errors.begin(), result.errors.end(), '\n'), 1) << result.errors;
  EXPECT_EQ(result.output, "");
}

INSTANTIATE_TEST_SUITE_P(
    Cli, BadUsage,
    ::testing::Values(
        BadUse{"unknown_command", {"rnu"}, 2, "unknown command 'rnu'; did you mean 'run'?"},
        BadUse{"unknown_option",
               {"run", "MODEL", "--tmep", "1", "x"},
               2,
               "unknown option '--tmep'; did you mean '--temp'?"},
        BadUse{"unknown_option_of_up",
               {"up", "--tmep"},
               2,
               "unknown option '--tmep'; did you mean '--temp'?"},
        BadUse{"unknown_option_without_model",
               {"inspect", "--jsno"},
               2,
               "unknown option '--jsno'; did you mean '--json'?"},
        BadUse{"unknown_top_option", {"--verison"}, 2, "did you mean '--version'?"},
        BadUse{"no_model", {"run"}, 2, "MODEL"},
        BadUse{"missing_value", {"run", "MODEL", "x", "--temp"}, 2, "--temp needs a value"},
        BadUse{"not_a_number",
               {"run", "MODEL", "--temp", "hot", "x"},
               2,
               "--temp: 'hot' is not a number"},
        BadUse{"folder_or_switch",
               {"run", "MODEL", "--kv-disk", "0ff", "x"},
               2,
               "'0ff' is neither on, off, a size nor a folder; write ./0ff for a folder here"},
        BadUse{"unknown_role",
               {"catalog", "list", "--role", "zz"},
               2,
               "unknown role 'zz'; known are chat, code, embedding"},
        BadUse{"out_of_range", {"run", "MODEL", "--top-p", "2", "x"}, 2, "top-p is 2"},
        BadUse{"unknown_sampler",
               {"run", "MODEL", "--samplers", "best", "x"},
               2,
               "unknown sampler 'best'"},
        BadUse{"no_prompt", {"run", "MODEL"}, 2, "there is no prompt"},
        BadUse{"two_prompts", {"run", "MODEL", "-p", "x", "y"}, 2, "there are two prompts"},
        BadUse{"invalid_utf8", {"run", "MODEL", "a\xff"}, 2, "not valid UTF-8"},
        BadUse{"no_such_file",
               {"run", "/nowhere/at-all.gguf", "x"},
               1,
               "no such file: '/nowhere/at-all.gguf'"},
        BadUse{"a_folder", {"run", "/tmp", "x"}, 1, "'/tmp' is a folder"},
        BadUse{"switch_that_is_neither",
               {"run", "MODEL", "--stats=maybe", "x"},
               2,
               "--stats: 'maybe' is not true or false"},
        BadUse{"bias_outside_vocabulary",
               {"run", "MODEL", "--logit-bias", "512=1", "x"},
               2,
               "token 512 is outside the vocabulary of 512"},
        BadUse{"empty_command", {""}, 2, "unknown command ''"},
        BadUse{"context_beyond_memory",
               {"run", "MODEL", "--ctx", "1000000000", "x"},
               3,
               "KV cache for 1000000000 tokens 640.00 GB"},
        BadUse{"token_outside_vocabulary",
               {"logits", "MODEL", "--tokens", "1,512", "--out", "/dev/null"},
               1,
               "token id 512 is outside the vocabulary of 512"},
        BadUse{"greedy_beyond_context",
               {"logits", "MODEL", "--tokens", "1", "--greedy", "512", "--out", "/dev/null"},
               3,
               "use --ctx 513"},
        BadUse{"not_a_gguf", {"run", "/bin/sh", "x"}, 1, "/bin/sh"},
        BadUse{"prompt_too_long",
               {"run", "MODEL", "--ctx", "4", "Once upon a time there was a dog"},
               3,
               "the context holds 4"},
        BadUse{"unknown_shell",
               {"completion", "tcsh"},
               2,
               "SHELL: 'tcsh' is none of bash, zsh, fish; see"},
        BadUse{"unknown_port",
               {"serve", "--port", "99999"},
               2,
               "--port: '99999' is not a number from 0 to 65535; see"},
        BadUse{"negative_speed",
               {"plan", "--min-tps", "-1"},
               2,
               "--min-tps: '-1' is not a number from 0 to 1000000; see"},
        BadUse{"unknown_subcommand", {"eval", "xx"}, 2, "unknown command 'hearth eval xx'"},
        BadUse{"misspelt_subcommand", {"sessions", "lst"}, 2, "did you mean 'list'?"},
        BadUse{"no_subcommand",
               {"catalog"},
               2,
               "hearth catalog needs a command after it; catalog has list, show, refresh; see"},
        BadUse{"no_years", {"cost", "--years", "0"}, 2, "--years 0: "},
        BadUse{"only_nothing", {"serve", "--only"}, 2, "--only offers the models that are named"},
        BadUse{"model_to_fetch",
               {"run", "qwen3-8b", "x"},
               1,
               "the store does not have qwen3-8b; fetch it: hearth pull qwen3-8b"},
        BadUse{"model_to_fetch_and_serve",
               {"serve", "qwen3-8b"},
               1,
               "the store does not have qwen3-8b; fetch it: hearth pull qwen3-8b"},
        BadUse{"misspelt_model", {"run", "qwen3-8c", "x"}, 1, "did you mean 'qwen3-8b'?"},
        BadUse{"misspelt_fetch", {"pull", "qwen3-8c"}, 1, "did you mean 'qwen3-8b'?"},
        BadUse{"dash_to_quantize", {"quantize", "MODEL", "-", "Q4_0"}, 2, "'-' is no name of a"},
        BadUse{"dash_for_logits",
               {"logits", "MODEL", "--tokens", "1", "--out", "-"},
               2,
               "'-' is no name of a file"},
        BadUse{"dash_for_a_key", {"sessions", "key", "-"}, 2, "'-' is no name of a file"}),
    [](const auto& use) { return std::string(use.param.name); });

TEST(Run, OneTokenHasNoRate) {
  HEARTH_REQUIRE_FILE(stories());
  for (const int tokens : {1, 3}) {
    const ProgramResult result = hearth({"run", stories().string(), "--raw", "--temp", "0", "-n",
                                         std::to_string(tokens), "--json", "Once"})
                                     .run();
    const nlohmann::json timings = nlohmann::json::parse(result.output).at("timings");
    const nlohmann::json& rate = timings.at("generated_tokens_per_second");
    if (tokens == 1) {
      EXPECT_TRUE(rate.is_null()) << result.output;
    } else {
      EXPECT_NEAR(rate.get<double>() * timings.at("generate_seconds").get<double>(), 2, 1e-6);
    }
  }
}

TEST(Usage, OfWhatIsGivenTwiceTheLastCounts) {
  HEARTH_REQUIRE_FILE(stories());
  const std::string model = stories().string();
  const ProgramResult bench =
      hearth({"bench", model, "-p", "4", "-p", "5", "-n", "0", "-r", "1", "--json"}).run();
  EXPECT_NE(bench.output.find("\"prompt\": 5,"), std::string::npos) << bench.output << bench.errors;
  const std::vector<std::string> words = {"run", model, "--raw", "--temp", "0", "-n", "3"};
  const auto answer = [&](std::vector<std::string> more) {
    more.insert(more.begin(), words.begin(), words.end());
    return hearth(more).run();
  };
  EXPECT_EQ(answer({"-p", "My", "-p", "Once"}).output, answer({"-p", "Once"}).output);
  const ProgramResult extra = hearth({"inspect", model, model}).run();  // not so of arguments
  EXPECT_EQ(extra.exit_code, 2) << extra.output;
}

TEST(Usage, ABrokenEnvironmentIsWrongUsage) {
  HEARTH_REQUIRE_FILE(stories());
  const TemporaryFolder folder;
  std::filesystem::create_directory(folder / "config");
  write_file_atomically(folder / "large", std::string((std::size_t{1} << 20) + 1, '#'));
  const std::vector<std::array<std::string, 3>> broken = {
    {"HEARTH_CONFIG", (folder / "config").string(), "the config file: '"},
    {"HEARTH_CONFIG", (folder / "large").string(), "the config file: '"},
    {"HEARTH_PIN", "x", "HEARTH_PIN is 'x'"},
    {"HEARTH_CPU", "abacus", "'abacus' (from HEARTH_CPU) is unknown"},
#if defined(__x86_64__)
    {"HEARTH_CPU", "neon", "'neon' (from HEARTH_CPU) is not available on this processor"}
  };
#else
    {"HEARTH_CPU", "avx2", "'avx2' (from HEARTH_CPU) is not available on this processor"}
  };
#endif
  for (const auto& [name, value, says] : broken) {
    const ProgramResult result =
        hearth({"run", stories().string(), "-n", "1", "x"}).variable(name, value).run();
    EXPECT_EQ(result.exit_code, 2) << name << "=" << value << ": " << result.errors;
    EXPECT_NE(result.errors.find(says), std::string::npos) << result.errors;
  }
  EXPECT_EQ(hearth({"run", stories().string(), "-n", "1", "--kv-disk", "no", "x"}).run().exit_code,
            0);
  EXPECT_FALSE(std::filesystem::exists("no"));
}

TEST(Inspect, TakesTheShapeOfAFile) {
  HEARTH_REQUIRE_FILE(stories());
  const ProgramResult result = hearth({"inspect", "shape:" + stories().string()}).run();
  EXPECT_EQ(result.exit_code, 0) << result.errors;
  EXPECT_NE(result.output.find("llama"), std::string::npos) << result.output;
  EXPECT_EQ(hearth({"inspect", "shape:no-such.gguf"}).run().exit_code, 1);
}

TEST(Output, ThatCannotBeWrittenIsAnError) {
  HEARTH_REQUIRE_FILE(stories());
  const TemporaryFolder folder;
  const std::string model = " '" + stories().string() + "' ";
  const std::string errors = (folder / "errors").string();
  for (const std::string& command :
       {"run" + model + "-n 3 Once", "run" + model + "-n 3 --json Once", "inspect" + model,
        "tokenize" + model + "Once", "detokenize" + model + "5",
        "logits" + model + "--tokens 1 --out /dev/null", std::string("completion bash"),
        std::string("--help")}) {
    const int status = std::system(
        ("'" HEARTH_TEST_PROGRAM "' " + command + " >/dev/full 2>'" + errors + "'").c_str());
    EXPECT_EQ(WEXITSTATUS(status), 1) << command;
    EXPECT_TRUE(read_file(errors).starts_with("hearth: cannot write to standard output"))
        << command << ": " << read_file(errors);
  }
}

TEST(Logits, ARefusalLeavesTheOldFile) {
  HEARTH_REQUIRE_FILE(stories());
  const TemporaryFolder folder;
  write_file_atomically(folder / "rows.f32", std::string("precious"));
  const auto logits = [&](const std::string& tokens) {
    return hearth({"logits", stories().string(), "--tokens", tokens, "--out",
                   (folder / "rows.f32").string()})
        .run()
        .exit_code;
  };
  EXPECT_EQ(logits("1,512"), 1);
  EXPECT_EQ(read_file(folder / "rows.f32"), "precious");
  EXPECT_EQ(logits("1,2"), 0);
  EXPECT_EQ(read_file(folder / "rows.f32").size(), 2 * 512 * sizeof(float));
}

TEST(Models, EveryCommandKnowsTheStore) {
  HEARTH_REQUIRE_FILE(stories());
  const TemporaryFolder home;
  const auto store = home / ".local/share/hearth/models";
  std::filesystem::create_directories(store);
  std::filesystem::create_symlink(stories(), store / "tiny-stories.gguf");
  for (const std::vector<std::string>& arguments : std::vector<std::vector<std::string>>{
           {"run", "tiny", "-n", "1", "Once"},
           {"inspect", "tiny"},
           {"tokenize", "tiny", "Once"},
           {"detokenize", "tiny", "5"},
           {"logits", "tiny", "--tokens", "1", "--out", "/dev/null"}}) {
    const ProgramResult result = Program(arguments).home(home.path()).run();
    EXPECT_EQ(result.exit_code, 0) << arguments.front() << ": " << result.errors;
  }
}

TEST(Run, AVocabularyAloneIsNamedAsSuch) {
  HEARTH_REQUIRE_FILE(stories());
  const TemporaryFolder folder;
  gguf::Writer writer;
  writer.copy(gguf::File::open(stories()).metadata());
  writer.write(folder / "vocabulary.gguf");
  const ProgramResult result = hearth({"run", (folder / "vocabulary.gguf").string(), "x"}).run();
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_NE(result.errors.find("holds a vocabulary and no weights"), std::string::npos)
      << result.errors;
}

TEST(Run, AContextLongerThanTheModelKnowsIsRemarked) {
  HEARTH_REQUIRE_FILE(stories());
  const ProgramResult result = fixed_run({"--ctx", "1000", "Once"}).run();
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_NE(result.errors.find("contexts of 512 tokens"), std::string::npos) << result.errors;
}

TEST(Run, DamagedFilesAreErrors) {
  HEARTH_REQUIRE_FILE(stories());
  const TemporaryFolder folder;
  const std::string whole = read_file(stories());
  for (const std::size_t size : {std::size_t{0}, std::size_t{3}, std::size_t{30},
                                 whole.size() / 100, whole.size() / 2, whole.size() - 1}) {
    write_file_atomically(folder / "cut.gguf", whole.substr(0, size));
    const ProgramResult result = hearth({"run", (folder / "cut.gguf").string(), "x"}).run();
    EXPECT_EQ(result.exit_code, 1) << size;
    EXPECT_EQ(result.output, "");
    EXPECT_EQ(std::count(result.errors.begin(), result.errors.end(), '\n'), 1) << result.errors;
  }
}

TEST(Run, UnknownArchitecturesAreNamed) {
  HEARTH_REQUIRE_FILE(stories());
  const TemporaryFolder folder;
  const auto model = changed_model(
      folder, [](gguf::Writer& writer) { writer.set("general.architecture", "perceptron"); });
  const ProgramResult result = hearth({"run", model.string(), "x"}).run();
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_NE(result.errors.find("perceptron"), std::string::npos) << result.errors;
}

TEST(Run, InvalidUtf8OnStdinIsAnError) {
  HEARTH_REQUIRE_FILE(stories());
  const ProgramResult result = fixed_run({}).input("abc\xff").run();
  EXPECT_EQ(result.exit_code, 2);
  EXPECT_EQ(result.errors,
            "hearth: the prompt is not valid UTF-8 at byte 3; convert it with iconv\n");
}

TEST(Help, IsThereForEveryCommand) {
  const ProgramResult overview = hearth({"--help"}).run();
  EXPECT_EQ(overview.exit_code, 0);
  for (const char* command :
       {"run", "up", "inspect", "tokenize", "detokenize", "render", "logits", "completion"}) {
    EXPECT_NE(overview.output.find(std::string("\n  ") + command + " "), std::string::npos);
    const ProgramResult result = hearth({command, "--help"}).run();
    EXPECT_EQ(result.exit_code, 0);
    EXPECT_NE(result.output.find("Usage\n  hearth " + std::string(command)), std::string::npos);
    EXPECT_NE(result.output.find("Examples"), std::string::npos);
  }
  EXPECT_EQ(hearth({}).run().exit_code, 2);
  EXPECT_EQ(hearth({"--version"}).run().exit_code, 0);
}

TEST(Help, SaysWhatAnOptionsValueIs) {
  const std::string serve = hearth({"serve", "--help"}).run().output;
  for (const char* line : {"Usage\n  hearth serve [MODEL…] [OPTIONS]", "--lora FILE[:SCALE]  ",
                           "--control-vector FILE[:STRENGTH]\n", "--port PORT  ",
                           "--parallel N  "}) {  // and not what is checked
    EXPECT_NE(serve.find(line), std::string::npos) << line;
  }
  EXPECT_NE(hearth({"inspect", "--help"}).run().output.find("--rope-scaling KIND:FACTOR\n"),
            std::string::npos);
  EXPECT_NE(hearth({"embed", "--help"}).run().output.find("--pooling KIND  "), std::string::npos);
}

TEST(Completion, KnowsEveryOption) {
  for (const char* shell : {"bash", "zsh", "fish"}) {
    const ProgramResult result = hearth({"completion", shell}).run();
    EXPECT_EQ(result.exit_code, 0);
    for (const char* word : {"run", "inspect", "temp", "overflow"}) {
      EXPECT_NE(result.output.find(word), std::string::npos) << shell << " " << word;
    }
  }
}

TEST(Completion, WorksInBash) {
  const TemporaryFolder folder;
  const std::filesystem::path models = folder / "data" / "hearth" / "models";
  std::filesystem::create_directories(models);
  write_file_atomically(models / "my-model-00001-of-00002.gguf", std::string());
  write_file_atomically(models / "other.gguf", std::string());
  write_file_atomically(folder / "c.bash", hearth({"completion", "bash"}).run().output);
  write_file_atomically(folder / "t.bash", "source '" + (folder / "c.bash").string() + R"('
try() { COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _hearth; echo "${COMPREPLY[*]}"; }
try hearth ru
try hearth run m.gguf --top-
try hearth run m.gguf --overflow ''
try hearth sessions ''
XDG_DATA_HOME=')" + (folder / "data").string() +
                                               R"('
try hearth run my
)");
  const std::string command =
      "bash --norc " + (folder / "t.bash").string() + " > " + (folder / "out").string() + " 2>&1";
  ASSERT_EQ(std::system(command.c_str()), 0);
  EXPECT_EQ(read_file(folder / "out"),
            "run\n--top-k --top-p\nstop shift\nlist show rm export key\nmy-model\n");
}

TEST(ServeCommand, GreetsWhenTheModelsAreLoaded) {
  HEARTH_REQUIRE_FILE(stories_model());
  const Program program(
      {"serve", stories_model().string(), "--port", "0", "--alias", "tiny=stories260K"});
  Terminal terminal(program);
  ASSERT_TRUE(terminal.wait_for("hearth: loading stories260K")) << terminal.screen();
  ASSERT_TRUE(terminal.wait_for("Hearth is at http://")) << terminal.screen();
  ASSERT_TRUE(terminal.wait_for("Loaded: stories260K\r\nOther names: tiny = stories260K"))
      << terminal.screen();
  ASSERT_TRUE(terminal.wait_for("Ctrl-C ends it."));
  terminal.type("\x03");
  EXPECT_EQ(terminal.finish(), 0);
}

TEST(ServeCommand, EndsWithThreeWhereAModelDoesNotFit) {
  HEARTH_REQUIRE_FILE(stories_model());
  const ProgramResult result =
      Program({"serve", stories_model().string(), "--ctx", "1000000000", "--port", "0"}).run();
  EXPECT_EQ(result.exit_code, 3);
  EXPECT_NE(result.errors.find("available"), std::string::npos) << result.errors;
  EXPECT_EQ(result.output, "");  // it is not ready
}

}  // namespace
}  // namespace hearth::testing
