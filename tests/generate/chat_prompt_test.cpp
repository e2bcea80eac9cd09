#include "generate/chat_prompt.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "generate/model_kind.h"
#include "gguf/file.h"
#include "gguf/writer.h"
#include "support/error.h"
#include "temporary_folder.h"

namespace hearth::generate {
namespace {

using hearth::testing::TemporaryFolder;

/// A file whose only interesting part is its chat template.
gguf::File file_with(const TemporaryFolder& folder, const std::string& chat_template) {
  gguf::Writer writer;
  writer.set("general.architecture", "llama");
  if (!chat_template.empty()) writer.set("tokenizer.chat_template", chat_template);
  writer.write(folder.path() / "model.gguf");
  return gguf::File::open(folder.path() / "model.gguf");
}

TEST(ChatPrompt, AModelWithoutATemplateHasNone) {
  const TemporaryFolder folder;
  EXPECT_FALSE(ChatPrompt::of(file_with(folder, "").metadata()).has_value());
}

TEST(ChatPrompt, RendersMessagesToolsAndVariables) {
  const TemporaryFolder folder;
  const gguf::File file =
      file_with(folder,
                "{% for m in messages %}[{{ m.role }}:{{ m.content }}]{% endfor %}"
                "{% if tools %}{{ tools | length }} tools{% endif %}{{ mood }}"
                "{% if add_generation_prompt %}[assistant:{% endif %}");
  const auto prompt = ChatPrompt::of(file.metadata());
  ASSERT_TRUE(prompt.has_value());
  const nlohmann::ordered_json messages = {{{"role", "user"}, {"content", "hi"}}};
  const nlohmann::ordered_json tools = {{{"type", "function"}, {"function", {{"name", "f"}}}}};
  EXPECT_EQ(prompt->render(messages, &tools, {{"mood", "!"}}).str(),
            "[user:hi]1 tools![assistant:");
  EXPECT_EQ(prompt->render(messages, nullptr, nlohmann::ordered_json::object(), false).str(),
            "[user:hi]");
}

TEST(ModelKind, RefusesWhatDoesNotGoOnFromAText) {
  spec::ModelSpec spec;
  EXPECT_THROW(require_generation(spec), Error);
}

}  // namespace
}  // namespace hearth::generate
