// MetricsServer: Prometheus' /metrics and /health/{live,ready} on a port of their own.
//
// live answers 200 while the process turns its loops; ready 200 when clients are served, else 503.
// Names end in _total where they only grow (counters); all others are gauges; base units. What
// there is one of per NIC has labels behind its name, as Prometheus writes them; nothing else has.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/status.h"

struct mg_context;
struct mg_connection;

namespace gd2fs::cli {

using MetricValues = std::vector<std::pair<std::string, double>>;
using MetricLabels = std::vector<std::pair<std::string, std::string>>;

// name{label="value",...}
std::string labelled(std::string_view name, const MetricLabels& labels);

class MetricsServer {
 public:
  struct Sources {
    std::function<MetricValues()> values;  // called on the server's threads
    std::function<bool()> ready;
  };
  // Listens on HOST:PORT (port 0: a free one).
  static Result<std::unique_ptr<MetricsServer>> start(const std::string& listen, Sources sources);
  ~MetricsServer();
  MetricsServer(const MetricsServer&) = delete;
  MetricsServer& operator=(const MetricsServer&) = delete;
  int port() const;

 private:
  explicit MetricsServer(Sources sources) : sources_(std::move(sources)) {}
  static int on_metrics(mg_connection* connection, void* self);
  static int on_live(mg_connection* connection, void* self);
  static int on_ready(mg_connection* connection, void* self);

  Sources sources_;
  mg_context* context_ = nullptr;
};

// The exposition format of Prometheus 0.0.4. One value per name: of several the last counts.
std::string prometheus_text(const MetricValues& values);
// CPU seconds, resident memory and open files of this process, under the usual names.
MetricValues process_metrics();

}  // namespace gd2fs::cli
