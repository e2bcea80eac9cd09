#include "generate/model_kind.h"

#include "support/error.h"

namespace hearth::generate {

void require_generation(const spec::ModelSpec& spec) {
  if (!spec.head.linear.present()) {
    throw Error("this model makes embeddings, not text", "use `hearth embed`");
  }
  if (spec.encoder) {
    throw Error("this model answers a text that an encoder reads (T5), which run cannot do",
                "use `hearth logits` with --decoder-tokens, or a model that continues texts");
  }
  if (!spec.causal) {
    throw Error("this model fills gaps in a text instead of going on with it (diffusion)",
                "use a model that continues texts");
  }
}

}  // namespace hearth::generate
