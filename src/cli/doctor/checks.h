// The checks of `gd2fs doctor`, each of one area. They read `machine` and add to `out`, in the
// order in which a person would look. Blocking; one thread.
#pragma once

#include <string>
#include <vector>

#include "cli/doctor/finding.h"
#include "cli/doctor/machine.h"
#include "cli/doctor/rdma_port.h"

namespace gd2fs::cli::doctor {

// Library, devices, ports and their addresses. `wanted`: local addresses that are to be rails.
void check_rdma(const Machine& machine, const Needs& needs, const std::vector<std::string>& wanted,
                Findings* out);
// What may be locked in memory, and huge pages for the slab.
void check_memory(const Machine& machine, const Needs& needs, Findings* out);
void check_io_uring(const Machine& machine, Findings* out);
// Whether NICs can reach GPU memory: dmabuf, nvidia-peermem, ACS, IOMMU.
void check_gpu_direct(const Machine& machine, const Needs& needs, Findings* out);

}  // namespace gd2fs::cli::doctor
