#include "cli/metrics_server.h"

#include <civetweb.h>
#include <filesystem>
#include <fstream>
#include <future>
#include <map>
#include <unistd.h>

#include <netinet/in.h>
#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>
#include <sys/resource.h>

#include "base/descriptor.h"
#include "cli/listen_address.h"

namespace gd2fs::cli {
namespace {

constexpr const char* kTextType = "text/plain; version=0.0.4; charset=utf-8";

int answer(mg_connection* connection, int code, const char* type, const std::string& body) {
  mg_printf(
      connection,
      "HTTP/1.1 %d %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n",
      code, code == 200 ? "OK" : "Service Unavailable", type, body.size());
  mg_write(connection, body.data(), body.size());
  return code;
}

// Connects and leaves.
void knock(int port) {
  const Descriptor socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  // If it listens elsewhere, stopping takes its 2 seconds.
  [[maybe_unused]] const int connected =
      ::connect(socket.fd(), reinterpret_cast<const sockaddr*>(&address), sizeof address);
}

double seconds_of(const timeval& time) {
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) * 1e-6;
}

// The labels that labelled() has written, in their order.
std::vector<prometheus::ClientMetric::Label> labels_of(const std::string& text) {
  std::vector<prometheus::ClientMetric::Label> labels;
  for (size_t at = 1; at < text.size();) {
    const size_t equals = text.find("=\"", at);
    const size_t end = equals == std::string::npos ? equals : text.find('"', equals + 2);
    if (end == std::string::npos) break;
    labels.push_back({text.substr(at, equals - at), text.substr(equals + 2, end - equals - 2)});
    at = end + 2;  // past the quote and the comma or brace
  }
  return labels;
}

}  // namespace

std::string labelled(std::string_view name, const MetricLabels& labels) {
  std::string out(name);
  char before = '{';
  for (const auto& [label, value] : labels) {
    out += before + label + "=\"";
    for (const char c : value) {
      if (c != '"' && c != '\\') out += c;
    }
    out += '"';
    before = ',';
  }
  return out + '}';
}

std::string prometheus_text(const MetricValues& values) {
  const std::map<std::string, double> sorted(values.begin(), values.end());
  std::map<std::string, prometheus::MetricFamily> by_name;
  for (const auto& [labelled_name, value] : sorted) {
    const size_t brace = labelled_name.find('{');
    const std::string name = labelled_name.substr(0, brace);
    prometheus::MetricFamily& family = by_name[name];
    family.name = name;
    prometheus::ClientMetric metric;
    if (brace != std::string::npos) metric.label = labels_of(labelled_name.substr(brace));
    if (name.ends_with("_total")) {
      family.type = prometheus::MetricType::Counter;
      metric.counter.value = value;
    } else {
      family.type = prometheus::MetricType::Gauge;
      metric.gauge.value = value;
    }
    family.metric.push_back(metric);
  }
  std::vector<prometheus::MetricFamily> families;
  families.reserve(by_name.size());
  for (auto& [name, family] : by_name) families.push_back(std::move(family));
  return prometheus::TextSerializer().Serialize(families);
}

MetricValues process_metrics() {
  MetricValues values;
  rusage usage = {};
  if (::getrusage(RUSAGE_SELF, &usage) == 0) {
    values.emplace_back("process_cpu_seconds_total",
                        seconds_of(usage.ru_utime) + seconds_of(usage.ru_stime));
  }
  uint64_t pages = 0;
  uint64_t resident = 0;
  if (std::ifstream("/proc/self/statm") >> pages >> resident) {
    const auto page_bytes = static_cast<uint64_t>(::sysconf(_SC_PAGE_SIZE));
    values.emplace_back("process_resident_memory_bytes",
                        static_cast<double>(resident * page_bytes));
  }
  std::error_code code;
  const std::filesystem::directory_iterator files("/proc/self/fd", code);
  if (!code) {
    values.emplace_back("process_open_fds",
                        static_cast<double>(std::distance(begin(files), end(files))));
  }
  return values;
}

Result<std::unique_ptr<MetricsServer>> MetricsServer::start(const std::string& listen,
                                                            Sources sources) {
  GD2FS_ASSIGN(const ListenAddress address, parse_listen_address(listen, 0));
  std::unique_ptr<MetricsServer> server(new MetricsServer(std::move(sources)));
  const std::string port = address.fabric_address().substr(std::string("tcp://").size());
  const char* options[] = {"listening_ports",    port.c_str(), "num_threads", "2",
                           "request_timeout_ms", "5000",       nullptr};
  mg_init_library(0);
  server->context_ = mg_start(nullptr, nullptr, options);
  if (server->context_ == nullptr) {
    return fail(StatusCode::unavailable, "metrics: cannot listen on " + listen);
  }
  mg_set_request_handler(server->context_, "/metrics$", on_metrics, server.get());
  mg_set_request_handler(server->context_, "/health/live$", on_live, server.get());
  mg_set_request_handler(server->context_, "/health/ready$", on_ready, server.get());
  return server;
}

MetricsServer::~MetricsServer() {
  if (context_ != nullptr) {
    // Its listening thread looks at the stop flag after each connection, or every 2 seconds.
    const int own_port = port();
    const std::future<void> stopped = std::async(std::launch::async, [this] { mg_stop(context_); });
    while (stopped.wait_for(std::chrono::milliseconds(20)) != std::future_status::ready) {
      knock(own_port);
    }
  }
  mg_exit_library();
}

int MetricsServer::port() const {
  mg_server_port ports[4] = {};
  return mg_get_server_ports(context_, 4, ports) > 0 ? ports[0].port : 0;
}

int MetricsServer::on_metrics(mg_connection* connection, void* self) {
  MetricValues values = static_cast<MetricsServer*>(self)->sources_.values();
  for (auto& value : process_metrics()) values.push_back(std::move(value));
  return answer(connection, 200, kTextType, prometheus_text(values));
}

int MetricsServer::on_live(mg_connection* connection, void* self) {
  // Asking a loop for its answer is the check.
  [[maybe_unused]] const bool turns = static_cast<MetricsServer*>(self)->sources_.ready();
  return answer(connection, 200, "text/plain", "live\n");
}

int MetricsServer::on_ready(mg_connection* connection, void* self) {
  const bool ready = static_cast<MetricsServer*>(self)->sources_.ready();
  return answer(connection, ready ? 200 : 503, "text/plain", ready ? "ready\n" : "not ready\n");
}

}  // namespace gd2fs::cli
