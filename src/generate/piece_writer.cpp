#include "generate/piece_writer.h"

#include <utility>

namespace hearth::generate {

PieceWriter::PieceWriter(const text::Tokenizer& tokenizer, const std::vector<std::string>& stops,
                         bool control_pieces, std::function<bool(const Piece&)> on_piece)
    : tokenizer_(tokenizer),
      decoder_(tokenizer, text::DecodeOptions{.special = false, .at_start = false}),
      stop_(stops),
      control_pieces_(control_pieces),
      on_piece_(std::move(on_piece)) {}

bool PieceWriter::push(text::TokenId id, std::int64_t tokens) {
  tokens_ = tokens;
  if (tokenizer_.type(id) != text::TokenType::kControl)
    return write(stop_.push(decoder_.push(id)), false);
  if (!end_text()) return false;
  const std::string control = tokenizer_.piece(id, true);
  StopMatcher in_control = stop_;
  const bool stopped = (void(in_control.push(control)), in_control.stopped());
  if (stopped) {
    stop_ = in_control;
    return false;
  }
  return !control_pieces_ || write(control, true);
}

bool PieceWriter::end_text() {
  std::string rest = stop_.push(decoder_.finish());
  rest += stop_.finish();
  return write(rest, false);
}

bool PieceWriter::write(const std::string& text, bool control) {
  if (!text.empty() && !on_piece_(Piece{text, control, tokens_})) return false;
  return !stop_.stopped();
}

}  // namespace hearth::generate
