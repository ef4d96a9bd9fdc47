#include "cli/command.h"

int main(int argc, char** argv) {
  return gd2fs::cli::run_program(argc, argv);
}
