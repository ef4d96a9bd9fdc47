// `gd2fs bench`: see bench/bench.h.
#include "cli/bench/bench.h"
#include "cli/command.h"

namespace gd2fs::cli {
namespace {

// A CLI::Validator's function: the reason for a refusal, or "".
std::string is_device(std::string& name) {
  const bool number = name.size() > 5 && name.size() < 9 && name.starts_with("cuda:") &&
                      name.find_first_not_of("0123456789", 5) == std::string::npos;
  return name == "cpu" || number ? "" : "a device is cpu or cuda:N, not " + name;
}

}  // namespace

void add_bench(CLI::App& app, Chosen& chosen) {
  auto options = std::make_shared<BenchOptions>();
  options->folder = "/var/tmp";
  CLI::App* verb =
      app.add_subcommand("bench", "Measure GD2FS beside raw sockets and the raw drive");
  verb->add_option("--dir", options->folder, "A directory on the drive to measure")
      ->type_name("DIR")
      ->capture_default_str();
  verb->add_option("--path", options->path, "How the client reaches the server, on this one host")
      ->check(CLI::IsMember({"shm", "tcp"}))
      ->capture_default_str();
  verb->add_option("--lanes", options->lanes, "TCP connections, of GD2FS and of the raw sockets")
      ->check(CLI::Range(1, 16));
  verb->add_option("--rows", options->rows,
                   "Only these rows: write, miss, hit, memory, small, kv, create")
      ->delimiter(',')
      ->check(CLI::IsMember({"write", "miss", "hit", "memory", "small", "kv", "create"}));
  verb->add_option("--device", options->device_name, "Memory to read into and write from")
      ->check(CLI::Validator(is_device, "cpu|cuda:N"))
      ->capture_default_str();
  verb->add_flag("--quick", options->quick, "Small sizes and few samples, to see that all works");
  verb->add_flag("--json", options->json, "A list of rows on standard output, nothing else");
  verb->callback([&chosen, options] {
    chosen.run = [options](const Invocation& invocation) -> int {
      options->program = invocation.program;
      if (options->device_name != "cpu")
        options->device = std::stoi(options->device_name.substr(5));
      options->slab_bytes = invocation.config.slab_bytes;
      options->json = options->json || invocation.output == OutputFormat::json;
      return run_bench(*options);
    };
  });
}

}  // namespace gd2fs::cli
