#include "cli/metrics_server.h"

#include <gtest/gtest.h>

namespace gd2fs::cli {
namespace {

TEST(PrometheusText, a_metric_with_labels_is_one_family_with_a_line_for_each) {
  const std::string text = prometheus_text(
      {{labelled("x_bytes_total", {{"address", "10.0.0.2"}, {"nic", "b port 1"}}), 2},
       {"plain", 7},
       {labelled("x_bytes_total", {{"address", "10.0.0.1"}, {"nic", "a\" port"}}), 1},
       {"x_bytes_total_more", 3}});
  EXPECT_NE(text.find("x_bytes_total{address=\"10.0.0.1\",nic=\"a port\"} 1\n"), std::string::npos)
      << text;
  EXPECT_NE(text.find("x_bytes_total{address=\"10.0.0.2\",nic=\"b port 1\"} 2\n"),
            std::string::npos);
  EXPECT_NE(text.find("\nplain 7\n"), std::string::npos);
  const size_t type = text.find("# TYPE x_bytes_total counter\n");
  EXPECT_NE(type, std::string::npos);
  EXPECT_EQ(text.find("# TYPE x_bytes_total counter\n", type + 1), std::string::npos);
}

}  // namespace
}  // namespace gd2fs::cli
