// From tokens to pieces of text: whole characters, without stop strings, control tokens apart.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "generate/stop.h"
#include "text/tokenizer.h"

namespace hearth::generate {

/// A piece of generated text.
struct Piece {
  std::string_view text;    ///< never ends inside a UTF-8 character that is still being generated
  bool control = false;     ///< the text of one control token
  std::int64_t tokens = 0;  ///< generated so far, this piece's included
};

class PieceWriter {
 public:
  /// `on_piece` returns false to end the generation; it is never called with an empty text.
  /// `control_pieces`: control tokens are passed on as their text. `tokenizer` must outlive this.
  PieceWriter(const text::Tokenizer& tokenizer, const std::vector<std::string>& stops,
              bool control_pieces, std::function<bool(const Piece&)> on_piece);

  /// The next token, the `tokens`-th of the generation. Returns false when that is to end.
  bool push(text::TokenId id, std::int64_t tokens);
  /// Passes on what is held back: the run of text is over.
  bool end_text();

  /// A stop string was found.
  [[nodiscard]] bool stopped() const { return stop_.stopped(); }
  [[nodiscard]] const std::string& stop_text() const { return stop_.matched(); }

 private:
  bool write(const std::string& text, bool control);

  const text::Tokenizer& tokenizer_;
  text::StreamDecoder decoder_;
  StopMatcher stop_;
  bool control_pieces_;
  std::function<bool(const Piece&)> on_piece_;
  std::int64_t tokens_ = 0;
};

}  // namespace hearth::generate
