// The command line as words: what stands after "--", and prompt words among options.
#pragma once

#include <string>
#include <vector>

namespace CLI {
class App;
}

namespace hearth::cli {

/// The arguments with every word after the first "--" protected from being read as an option or a
/// command, and the "--" itself removed; "--name=" becomes "--name" and an empty word.
/// plain_words() takes the protection off again.
[[nodiscard]] std::vector<std::string> protect_words(int argument_count, char** arguments);

/// The words that `command` (which must allow extras) did not know, as they were given. Throws
/// Error (exit code 2) with a suggestion when one of them looks like an option and was not
/// protected by "--". A single "-" is a plain word.
[[nodiscard]] std::vector<std::string> plain_words(const CLI::App& command);

/// Removes the protection from a word that a positional argument took.
[[nodiscard]] std::string plain_word(std::string word);

/// Every long and short name of the command's options: "--top-k", "-n".
[[nodiscard]] std::vector<std::string> option_names(const CLI::App& command);

/// Sizes for people, in powers of ten: "12 B", "1.5 kB", "3.4 MB", "710 MB", "6.5 GB", "140 GB".
[[nodiscard]] std::string size_text(double bytes);

}  // namespace hearth::cli
