#include <string>
#include <vector>

#include "cli/cli.h"

int main(int argc, char** argv) {
  return pinion::cli::Main({argv + 1, argv + argc}, argv[0]);
}
