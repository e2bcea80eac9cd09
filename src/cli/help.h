// How --help looks: a page in the manner of man pages, made from the command's options so that it
// cannot go stale.
#pragma once

#include <string>
#include <string_view>

namespace CLI {
class App;
}

namespace hearth::cli {

/// Lets `app` and the commands added to it afterwards print their help by help_page().
void use_help_pages(CLI::App& app);

/// The page of one command, wrapped to 80 columns. The command's footer is free text: paragraphs,
/// which are wrapped, and lines that begin with two spaces, which are kept; a line that ends with a
/// colon and stands alone is a heading.
[[nodiscard]] std::string help_page(const CLI::App& command);

/// `text` wrapped to `width` columns, every line after `indent` spaces.
[[nodiscard]] std::string wrapped(std::string_view text, std::size_t indent,
                                  std::size_t width = 80);

}  // namespace hearth::cli
