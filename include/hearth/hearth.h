/* Hearth as a library: load a model, generate text with it, embed and tokenize texts.
 *
 * C99. Everything runs on this machine; nothing here uses the network.
 *
 * Handles are opaque. Functions that can fail return a hearth_status; on anything but HEARTH_OK,
 * `*error` (unless `error` is null) is a handle that says why, to be freed with
 * hearth_error_free(). Texts are UTF-8 and end with a zero byte. No function throws, and none
 * prints.
 *
 * Threads: a model may be used by any number of threads at once: their generations are computed
 * together, which is much faster than one after the other. Callbacks run on the thread that called
 * the function they were given to. Only freeing needs care: a handle must not be in use then.
 *
 * Compatibility: structs begin with their size, set by their _default() function; fields are only
 * ever added at the end.
 */
#ifndef HEARTH_HEARTH_H
#define HEARTH_HEARTH_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif
#ifdef __GNUC__ /* libhearth.so shows these functions and no others */
#pragma GCC visibility push(default)
#endif

typedef enum hearth_status {
  HEARTH_OK = 0,
  HEARTH_FAILED = 1,       /* a file that cannot be read, a broken model, … */
  HEARTH_USAGE = 2,        /* an argument is wrong */
  HEARTH_DOES_NOT_FIT = 3, /* into memory, or a text into the context */
  HEARTH_TOO_SMALL = 4,    /* the caller's buffer: the size that is needed was stored */
  HEARTH_CANCELLED = 130   /* by hearth_cancel_now() or a callback */
} hearth_status;

typedef struct hearth_error hearth_error;
/* One sentence saying what is wrong, and what to do about it (may be empty). Valid until
 * hearth_error_free(). */
const char *hearth_error_message(const hearth_error *error);
const char *hearth_error_hint(const hearth_error *error);
void hearth_error_free(hearth_error *error); /* null is fine */

/* "0.1.0" */
const char *hearth_version(void);

/* ---- models ---------------------------------------------------------------------------------- */

typedef struct hearth_model hearth_model;

/* How a model is loaded. */
typedef struct hearth_setup {
  size_t size;           /* of this struct */
  const char *model;     /* path of a GGUF file (the first part of a split one); required */
  int64_t context;       /* tokens that one text may have; 0: the model's own, at most 8192 */
  int32_t parallel;      /* generations that are computed at once; 1 */
  int32_t threads;       /* 0: one per physical core */
  const char *kv_format; /* of keys and values: "f16", "q8_0", "tq4" … (hearth run --help);
                            null: "f16" */
  int32_t exact;         /* not 0: float32 activations, results independent of batching */
  int32_t mapped;        /* not 0: weights are used where they are in the file */
} hearth_setup;

hearth_setup hearth_setup_default(void);

/* Called with the fraction that is loaded, 0..1; returns 0 to go on, anything else to cancel. */
typedef int (*hearth_progress)(double fraction, void *user);

/* Loads a model. `progress` may be null. `*model` must be freed with hearth_model_free(). */
hearth_status hearth_model_load(const hearth_setup *setup, hearth_progress progress, void *user,
                                hearth_model **model, hearth_error **error);
/* The same, as a setup file says that `hearth up` saved; other fields are the defaults. */
hearth_status hearth_model_load_saved(const char *setup_file, hearth_progress progress, void *user,
                                      hearth_model **model, hearth_error **error);
/* Ends what is generating. Null is fine. */
void hearth_model_free(hearth_model *model);

/* The model's name for people. Valid as long as the model. */
const char *hearth_model_name(const hearth_model *model);
/* Tokens that one text may have. */
int64_t hearth_model_context(const hearth_model *model);
/* Numbers in a vector of hearth_embed(); 0 when the model does not make any. */
int64_t hearth_model_dimensions(const hearth_model *model);
/* 1 when the model has a chat template, else 0. */
int hearth_model_can_chat(const hearth_model *model);

/* ---- tokens ---------------------------------------------------------------------------------- */

/* Tokens of `text`, with the marks that the model wants around a text when `with_marks` is not 0.
 * Nothing in `text` becomes a control token. Stores at most `capacity` of them and how many there
 * are; HEARTH_TOO_SMALL when they are more (then none is stored: ask with capacity 0 first). */
hearth_status hearth_tokenize(const hearth_model *model, const char *text, int with_marks,
                              int32_t *tokens, size_t capacity, size_t *count,
                              hearth_error **error);
/* The text of tokens, zero byte included in `capacity` and not in `*length`. Control tokens have
 * none. */
hearth_status hearth_detokenize(const hearth_model *model, const int32_t *tokens, size_t count,
                                char *text, size_t capacity, size_t *length, hearth_error **error);

/* ---- generating ------------------------------------------------------------------------------ */

/* A request to end early, from any thread; may serve one generation after the other. */
typedef struct hearth_cancel hearth_cancel;
hearth_cancel *hearth_cancel_new(void); /* null when memory is short */
void hearth_cancel_now(hearth_cancel *cancel);
void hearth_cancel_reset(hearth_cancel *cancel);
void hearth_cancel_free(hearth_cancel *cancel);

typedef struct hearth_request {
  size_t size; /* of this struct */
  /* One of the two: a text to go on with, or a chat: a JSON array of messages in OpenAI's form,
   * [{"role": "user", "content": "Hello"}]. */
  const char *prompt;
  const char *messages;
  const char *tools; /* chats: a JSON array of tools in OpenAI's form, or null */
  /* What the answer must be, or null: a JSON Schema, or "{}" for any JSON object. */
  const char *json_schema;
  int64_t max_tokens; /* -1: until the model ends, or the context is full */
  /* Sampling; the defaults are the model's recommendations. NaN, or a negative top_k: as they
   * are. Temperature 0: always the likeliest token. */
  float temperature, top_p, min_p;
  int32_t top_k;
  uint64_t seed;     /* with has_seed */
  int32_t has_seed;  /* 0: a seed from the operating system */
  const char *const *stops; /* texts that end the answer, ended by a null pointer; or null */
  hearth_cancel *cancel;    /* or null */
} hearth_request;

hearth_request hearth_request_default(void);

typedef enum hearth_piece_kind {
  HEARTH_TEXT = 0,      /* more of the answer */
  HEARTH_REASONING = 1, /* chats: more of the model's reasoning */
  HEARTH_TOOL_CALL = 2  /* chats: one whole call as JSON: {"id", "name", "arguments": {…}} */
} hearth_piece_kind;

/* `text` has `length` bytes (no zero byte need follow), never cut inside a character, and is valid
 * during the call. Returns 0 to go on, anything else to end the generation. */
typedef int (*hearth_piece)(hearth_piece_kind kind, const char *text, size_t length, void *user);

typedef enum hearth_finish {
  HEARTH_FINISH_STOP = 0,    /* the model ended, or a stop text was found */
  HEARTH_FINISH_LENGTH = 1,  /* max_tokens */
  HEARTH_FINISH_CONTEXT = 2, /* the context is full */
  HEARTH_FINISH_CANCELLED = 3
} hearth_finish;

typedef struct hearth_result {
  hearth_finish finish;
  int64_t prompt_tokens, reused_tokens, generated_tokens;
  double prompt_seconds, generate_seconds;
  uint64_t seed;
} hearth_result;

/* Generates an answer; returns when it is complete. `result` may be null. What a prompt has in
 * common with earlier ones is not computed again. Ended by `cancel` or the callback, the status is
 * HEARTH_CANCELLED and the result is filled in. */
hearth_status hearth_generate(hearth_model *model, const hearth_request *request,
                              hearth_piece piece, void *user, hearth_result *result,
                              hearth_error **error);

/* ---- embeddings ------------------------------------------------------------------------------ */

/* One vector of hearth_model_dimensions() numbers per text, of length 1, one after the other in
 * `vectors`, which has room for `capacity` numbers. */
hearth_status hearth_embed(hearth_model *model, const char *const *texts, size_t count,
                           float *vectors, size_t capacity, hearth_error **error);

#ifdef __GNUC__
#pragma GCC visibility pop
#endif
#ifdef __cplusplus
}
#endif

#endif /* HEARTH_HEARTH_H */
