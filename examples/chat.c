/* A chat in the terminal with Hearth as a library (C99):
 *
 *   cc -std=c99 chat.c $(pkg-config --cflags --libs hearth) -o chat && ./chat model.gguf "Hello"
 */
#include <hearth/hearth.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int print_piece(hearth_piece_kind kind, const char *text, size_t length, void *user) {
  (void)user;
  if (kind == HEARTH_TEXT) fwrite(text, 1, length, stdout);
  fflush(stdout);
  return 0;
}

static int fail(const char *what, hearth_error *error) {
  fprintf(stderr, "%s: %s; %s\n", what, hearth_error_message(error), hearth_error_hint(error));
  hearth_error_free(error);
  return 1;
}

/* [{"role": "user", "content": "…"}], the text escaped as JSON wants it. */
static char *messages_of(const char *text) {
  static const char before[] = "[{\"role\": \"user\", \"content\": \"";
  static const char after[] = "\"}]";
  char *json = malloc(sizeof before + sizeof after + 6 * strlen(text));
  char *end = json;
  if (json == NULL) return NULL;
  end += sprintf(end, "%s", before);
  for (; *text != '\0'; ++text) {
    const unsigned char c = (unsigned char)*text;
    if (c < 0x20 || c == '"' || c == '\\')
      end += sprintf(end, "\\u%04x", c);
    else
      *end++ = (char)c;
  }
  sprintf(end, "%s", after);
  return json;
}

int main(int argc, char **argv) {
  hearth_setup setup = hearth_setup_default();
  hearth_request request = hearth_request_default();
  hearth_model *model = NULL;
  hearth_error *error = NULL;
  hearth_result result;
  char *messages;
  hearth_status status;

  if (argc != 3) {
    fprintf(stderr, "usage: %s MODEL.gguf TEXT\n", argv[0]);
    return 2;
  }
  setup.model = argv[1];
  if (hearth_model_load(&setup, NULL, NULL, &model, &error) != HEARTH_OK)
    return fail("cannot load the model", error);

  messages = messages_of(argv[2]);
  if (messages == NULL) return 1;
  if (hearth_model_can_chat(model))
    request.messages = messages;
  else
    request.prompt = argv[2]; /* goes on with the text */
  request.max_tokens = 256;
  status = hearth_generate(model, &request, print_piece, NULL, &result, &error);
  putchar('\n');
  free(messages);
  hearth_model_free(model);
  if (status != HEARTH_OK) return fail("cannot answer", error);
  fprintf(stderr, "%ld tokens, %.1f per second\n", (long)result.generated_tokens,
          (double)result.generated_tokens / (result.generate_seconds + 1e-9));
  return 0;
}
