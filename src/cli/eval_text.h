// A text of Hearth's own, for measurements that need one and are given none.
#pragma once

#include <string_view>

namespace hearth::cli {

/// English prose, about 1400 tokens in the vocabularies of today.
[[nodiscard]] std::string_view eval_text() noexcept;

}  // namespace hearth::cli
