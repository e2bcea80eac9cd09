#include "cli/main.h"

int main(int argument_count, char** arguments) {
  return hearth::cli::main(argument_count, arguments);
}
