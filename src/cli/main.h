// The command line program: `hearth COMMAND …`. One file per command in this folder.
#pragma once

#include "support/error.h"

namespace CLI {
class App;
}

namespace hearth::cli {

inline constexpr const char* kVersion = "0.1.0";

/// Thrown to end the command with this exit code and no message: everything was said already.
struct QuietExit {
  ExitCode code = ExitCode::kOk;
};

/// Parses the arguments, runs the command and returns the exit code (docs/cli.md). Catches every
/// exception.
int main(int argument_count, char** arguments);

// Each adds its command to `app` (name, help, options, callback). The callback throws hearth::Error
// on failure.
void add_inspect_command(CLI::App& app);
void add_tokenize_command(CLI::App& app);
void add_detokenize_command(CLI::App& app);
void add_render_command(CLI::App& app);
void add_logits_command(CLI::App& app);
void add_embed_command(CLI::App& app);
void add_rerank_command(CLI::App& app);
void add_run_command(CLI::App& app);
void add_up_command(CLI::App& app);
void add_serve_command(CLI::App& app);
void add_convert_command(CLI::App& app);
void add_bench_command(CLI::App& app);
void add_perplexity_command(CLI::App& app);
void add_eval_command(CLI::App& app);
void add_imatrix_command(CLI::App& app);
void add_quantize_command(CLI::App& app);
void add_probe_command(CLI::App& app);
void add_doctor_command(CLI::App& app);
void add_plan_command(CLI::App& app);
void add_cost_command(CLI::App& app);
void add_catalog_command(CLI::App& app);
void add_pull_command(CLI::App& app);
void add_list_command(CLI::App& app);
void add_show_command(CLI::App& app);
void add_rm_command(CLI::App& app);
void add_import_command(CLI::App& app);
void add_sessions_command(CLI::App& app);
void add_completion_command(CLI::App& app);
void add_licenses_command(CLI::App& app);
void add_man_command(CLI::App& app);

}  // namespace hearth::cli
