#include "generate/grammar/tool_frames.h"

#include <algorithm>

namespace hearth::generate::grammar {
namespace {

// ---- Harmony. The prompt ends with "<|start|>assistant"; a message is a header, "<|message|>" and
// a text. Reasoning is a message of its own, a call is the last one.

class HarmonySyntax {
 public:
  explicit HarmonySyntax(Syntax& syntax) : syntax_(syntax) {}

  /// Reasoning or not, then a call.
  Expression required(ToolValues& values, const std::vector<Tool>& tools) {
    const Expression recipient_first = shared(syntax_, call(values, tools, true));
    const Expression channel_first = shared(syntax_, call(values, tools, false));
    const Expression header = syntax_.choice(
        {recipient_first, syntax_.sequence({syntax_.markup("<|channel|>"), channel_first})});
    return after_analysis(shared(syntax_, header));
  }

  /// Messages of any kind, in which every call is a right one.
  Expression voluntary(ToolValues& values, const std::vector<Tool>& tools) {
    // What may stand after "assistant", after "<|channel|>", and after a whole message.
    const Rule header = syntax_.declare("header");
    const Rule channel = syntax_.declare("channel");
    const Rule start = syntax_.declare("start");
    const auto sequence = [&](std::vector<Expression> parts) {
      return syntax_.sequence(std::move(parts));
    };
    const Expression again = syntax_.sequence({syntax_.markup("<|start|>"), syntax_.use(start)});
    // Text goes on to the end of the message; a header may also begin without one.
    const Expression body = shared(
        syntax_, syntax_.until({"<|end|>", "<|start|>", "<|channel|>", "<|return|>", "<|call|>"},
                               {syntax_.optional(again), syntax_.use(start), syntax_.use(channel),
                                syntax_.empty(), syntax_.empty()},
                               true));
    std::vector<Expression> named;
    for (const char* name : {"analysis", "commentary", "final"})
      named.push_back(syntax_.bytes(name));
    syntax_.define(channel, syntax_.choice({sequence({syntax_.choice(std::move(named)),
                                                      syntax_.markup("<|message|>"), body}),
                                            call(values, tools, false)}));
    syntax_.define(start, sequence({syntax_.bytes("assistant"), syntax_.use(header)}));
    syntax_.define(
        header, syntax_.choice({call(values, tools, true),
                                sequence({syntax_.markup("<|channel|>"), syntax_.use(channel)})}));
    return syntax_.use(header);
  }

  /// Reasoning or not, then the answer on the channel for it.
  Expression answer(Expression answer) {
    return after_analysis(syntax_.sequence({syntax_.markup("<|channel|>"), syntax_.bytes("final"),
                                            syntax_.markup("<|message|>"), answer,
                                            syntax_.optional(syntax_.markup("<|return|>"))}));
  }

 private:
  /// A call: behind "assistant" with the recipient before the channel, or behind "<|channel|>" with
  /// the recipient after it. Both are what the model was trained on.
  Expression call(ToolValues& values, const std::vector<Tool>& tools, bool recipient_first) {
    const Expression type = syntax_.optional(
        syntax_.choice({syntax_.bytes(" json"),
                        syntax_.sequence({syntax_.bytes(" "), syntax_.markup("<|constrain|>"),
                                          syntax_.bytes("json")})}));
    const Expression channel =
        syntax_.choice({syntax_.bytes("commentary"), syntax_.bytes("analysis")});
    std::vector<Expression> calls;
    for (std::size_t tool = 0; tool < tools.size(); ++tool) {
      const Expression recipient = syntax_.bytes(" to=functions." + tools[tool].name);
      const Expression head =
          recipient_first ? syntax_.sequence({recipient, syntax_.markup("<|channel|>"), channel})
                          : syntax_.sequence({channel, recipient});
      calls.push_back(
          syntax_.sequence({head, type, syntax_.markup("<|message|>"), values.object(tool)}));
    }
    return syntax_.sequence(
        {syntax_.choice(std::move(calls)), syntax_.optional(syntax_.markup("<|call|>"))});
  }

  Expression after_analysis(Expression rest) {
    const Expression message = shared(syntax_, rest);
    const Expression next = syntax_.sequence({syntax_.bytes("assistant"), message});
    const Expression analysis = syntax_.sequence(
        {syntax_.markup("<|channel|>"), syntax_.bytes("analysis"), syntax_.markup("<|message|>"),
         // Another header in it would begin another message.
         syntax_.until({"<|end|>", "<|start|>", "<|channel|>", "<|return|>", "<|call|>"},
                       {syntax_.sequence({syntax_.markup("<|start|>"), next}), next,
                        syntax_.never(), syntax_.never(), syntax_.never()},
                       false)});
    return syntax_.choice({message, analysis});
  }

  Syntax& syntax_;
};

// ---- Functionary 3.2. The prompt ends with ">>>"; a message is a recipient, a new line and a
// text.

Expression recipient_calls(Syntax& syntax, ToolValues& values, const std::vector<Tool>& tools,
                           const CallRules& rules, const Json& declared) {
  const auto sequence = [&](std::vector<Expression> parts) {
    return syntax.sequence(std::move(parts));
  };
  const Rule message = syntax.declare("message");
  const Expression next = sequence({syntax.bytes(">>>"), syntax.use(message)});
  const Expression more = rules.parallel ? syntax.optional(next) : syntax.empty();
  std::vector<Expression> ways;
  for (std::size_t tool = 0; tool < tools.size(); ++tool) {
    ways.push_back(sequence({syntax.bytes(tools[tool].name + "\n"), values.object(tool), more}));
  }
  if (!rules.required) {
    // Only a recipient ends a text: ">>>" may stand in it.
    std::vector<std::string> markers{">>>all\n"};
    const Rule text = syntax.declare("text");
    std::vector<Expression> after{syntax.use(text)};
    for (const std::string& name : names_of_tools(declared)) {
      const auto tool = std::find_if(tools.begin(), tools.end(),
                                     [&](const Tool& known) { return known.name == name; });
      markers.push_back(">>>" + name + "\n");
      after.push_back(
          tool == tools.end()
              ? syntax.never()
              : sequence({values.object(static_cast<std::size_t>(tool - tools.begin())), more}));
    }
    syntax.define(text, syntax.until(std::move(markers), std::move(after), true));
    ways.push_back(sequence({syntax.bytes("all\n"), syntax.use(text)}));
  }
  syntax.define(message, syntax.choice(std::move(ways)));
  return syntax.use(message);
}

}  // namespace

Expression framed_calls(Syntax& syntax, text::ReplyFrame frame, ToolValues& values,
                        const std::vector<Tool>& tools, const CallRules& rules,
                        const Json& declared) {
  if (frame == text::ReplyFrame::kRecipients)
    return recipient_calls(syntax, values, tools, rules, declared);
  HarmonySyntax harmony(syntax);
  return rules.required ? harmony.required(values, tools) : harmony.voluntary(values, tools);
}

Expression framed_answer(Syntax& syntax, text::ReplyFrame frame, Expression answer) {
  switch (frame) {
    case text::ReplyFrame::kPlain:
      break;
    case text::ReplyFrame::kHarmony:
      return HarmonySyntax(syntax).answer(answer);
    case text::ReplyFrame::kRecipients:
      return syntax.sequence({syntax.bytes("all\n"), answer});
  }
  return answer;
}

}  // namespace hearth::generate::grammar
