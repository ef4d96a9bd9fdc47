/* GD2FS: the client library's C interface, and the only header that is installed.
 *
 * A program connects to a cluster (a ctx), registers memory (an iomem), submits operations and
 * reaps their completions. Every operation is asynchronous: a submit call returns at once, and the
 * operation ends in exactly one completion on a completion queue, carrying the caller's `id`.
 *
 * Rules for every function
 *  - All functions may be called from any thread at any time on one ctx. None may be called from a
 *    signal handler.
 *  - A function that can fail returns a negative errno value (-EINVAL), or NULL where it returns a
 *    pointer; errno itself is never touched. xfer_gd2fs_last_error() has the reason in words.
 *  - When a submit call returns a negative value nothing was accepted and no completion follows.
 *  - Strings are copied by the call. SGE arrays are copied by the call. The memory that SGEs name,
 *    `stat` and `entries` targets belong to the library from the submit until the completion.
 *  - Lengths, offsets and sizes are in bytes; times in milliseconds unless the name says otherwise.
 *  - A ctx that is closed answers -ECANCELED, a child of fork() -EPERM, calls of a later milestone
 *    -ENOTSUP, a NULL or unknown ctx -EINVAL.
 *  - The library never aborts the process, raises no signal, and its threads block all signals.
 *
 * The header compiles as C11 and as C++. Integers have exact widths. Structs that callers fill end
 * in reserved words which must be zero; their sizes are frozen.
 */
#ifndef XFER_GD2FS_H
#define XFER_GD2FS_H

#include <stddef.h>
#include <stdint.h>

#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#define XFER_GD2FS_STATIC_ASSERT(condition) static_assert(condition, #condition)
#else
#define XFER_GD2FS_STATIC_ASSERT(condition) _Static_assert(condition, #condition)
#endif

#if defined(__GNUC__)
#define XFER_GD2FS_API __attribute__((visibility("default")))
#else
#define XFER_GD2FS_API
#endif

/* One client of one cluster: its connections, memory registrations and requests. */
typedef struct xfer_gd2fs_ctx xfer_gd2fs_ctx;
/* One registration of memory. */
typedef struct xfer_gd2fs_iomem xfer_gd2fs_iomem;
/* A completion queue. Every ctx has a default one; NULL names it. */
typedef struct xfer_gd2fs_cq xfer_gd2fs_cq;

/* --- limits -------------------------------------------------------------------------------- */

#define XFER_GD2FS_PATH_MAX 4096      /* bytes of a path, without the closing NUL */
#define XFER_GD2FS_NAME_MAX 255       /* bytes of one component of a path */
#define XFER_GD2FS_REQUESTS_MAX 65536 /* submitted and not yet reaped, per ctx */
#define XFER_GD2FS_IOMEMS_MAX 1048576 /* registrations at one time, per ctx */

/* --- what an operation answers ------------------------------------------------------------- */

/* `status` is 0 on success. Otherwise: bits 0-7 the code, an errno value; bits 8-10 the class, who
 * found the failure; bits 11-14 the detail; bit 15 set when the same request cannot succeed if it
 * is sent again unchanged. */
#define XFER_GD2FS_STATUS_CODE(status) ((unsigned)(status) & 0xffu)
#define XFER_GD2FS_STATUS_CLASS(status) (((unsigned)(status) >> 8) & 0x7u)
#define XFER_GD2FS_STATUS_DETAIL(status) (((unsigned)(status) >> 11) & 0xfu)
#define XFER_GD2FS_STATUS_DO_NOT_RETRY(status) (((unsigned)(status) >> 15) & 0x1u)

#define XFER_GD2FS_STATUS_CLASS_SUCCESS 0u
/* This library or its caller: ECANCELED (the request, its memory or its ctx was given up), EFBIG,
 * EIO (the library found itself broken; the ctx is unusable). */
#define XFER_GD2FS_STATUS_CLASS_CLIENT 1u
/* The cluster answered: ENOENT, EEXIST, EACCES, ENOSPC, EDQUOT, EISDIR, ENOTDIR, ENOTEMPTY, ESTALE
 * (the file changed its name or was truncated under an extending write, whose outcome is open), EIO
 * (the bytes are damaged on every replica). */
#define XFER_GD2FS_STATUS_CLASS_SERVER 2u
/* No answer within `timeout`: ETIMEDOUT, EHOSTUNREACH, ECONNREFUSED, ... The ctx stays usable. */
#define XFER_GD2FS_STATUS_CLASS_TRANSPORT 3u

/* Where it failed. */
#define XFER_GD2FS_STATUS_DETAIL_NONE 0u
#define XFER_GD2FS_STATUS_DETAIL_CONTROLLER 1u /* names, sizes, quota */
#define XFER_GD2FS_STATUS_DETAIL_SERVER 2u     /* bytes */
#define XFER_GD2FS_STATUS_DETAIL_IOMEM 3u      /* the registration was given up */
#define XFER_GD2FS_STATUS_DETAIL_CTX 4u        /* the ctx was closed or is broken */
#define XFER_GD2FS_STATUS_DETAIL_REQUEST 5u    /* the request itself: canceled, out of range */

typedef struct xfer_gd2fs_completion {
  void* id;            /* as given to the submit call */
  uint64_t value;      /* bytes moved, or what the operation documents; 0 on error */
  uint16_t status;     /* 0 on success, see above */
  uint8_t reserved[6]; /* zero */
} xfer_gd2fs_completion;
XFER_GD2FS_STATIC_ASSERT(sizeof(xfer_gd2fs_completion) == 24);

/* --- connecting ---------------------------------------------------------------------------- */

/* Zero-initialise (`= { 0 }`), then set fields by name. 0 or NULL takes the environment variable
 * named here, then the default. */
typedef struct xfer_gd2fs_options {
  /* Controllers: "gd2fs://host:7527", several separated by commas, the port optional; IPv4, [IPv6]
   * or a name. A query may follow: "?cluster=NAME&shm=off&require=shm|rdma|gpu_direct".
   * GD2FS_CPADDR; default "gd2fs://127.0.0.1:7527". */
  const char* cp_address;
  /* Local NICs for data: "tcp://192.168.1.100" or "rdma://192.168.1.100,rdma://192.168.1.101".
   * A loopback address means any local address. rdma:// falls back to tcp, with a line in the log,
   * unless require=rdma. GD2FS_DPADDR; default "tcp://127.0.0.1". */
  const char* dp_address;
  /* The cluster's name. GD2FS_CLUSTER; default "gd2fs-cluster0". */
  const char* cluster_id;
  /* Floors, not caps: the library may open more. GD2FS_IOTHREADS, GD2FS_MEMTHREADS, GD2FS_STREAMS.
   */
  uint32_t iothread_count;
  uint32_t memthread_count;
  uint32_t conn_stream_count; /* TCP connections per pair of NICs, at most 16 */
  /* A request that makes no progress for this long ends with class TRANSPORT. Default 30000. */
  uint32_t timeout;
  const char* log_level; /* "info", "warn" (default) or "error"; for the whole process */
  uint64_t reserved[16];
} xfer_gd2fs_options;
XFER_GD2FS_STATIC_ASSERT(sizeof(xfer_gd2fs_options) == 176);

/* Connects to a controller of the cluster and learns its servers. NULL options are all defaults.
 * The token that proves the right to use the cluster is read from the file GD2FS_TOKEN_FILE, else
 * ~/.config/gd2fs/tokens/<cluster>. Blocks for at most the smaller of `timeout` and 5 seconds.
 * NULL on failure. The ctx lives until xfer_gd2fs_close(). */
XFER_GD2FS_API xfer_gd2fs_ctx* xfer_gd2fs_connect(const xfer_gd2fs_options* options);

/* Cancels what is in flight and returns when no peer can touch any registered buffer. Threads that
 * wait on the ctx get -ECANCELED; completions that were not reaped are lost. Registrations and
 * queues of the ctx end with it. 0, or -EINVAL, -ECANCELED (closed before). In a child of fork() it
 * only forgets the ctx. */
XFER_GD2FS_API int xfer_gd2fs_close(xfer_gd2fs_ctx* ctx);

/* Why the last call of this thread that failed did so, in words; "" if none has. Never NULL; valid
 * until the thread's next call into the library. */
XFER_GD2FS_API const char* xfer_gd2fs_last_error(void);

/* "0.1.0". */
XFER_GD2FS_API const char* xfer_gd2fs_version(void);

/* What a ctx has moved since it was opened, by the way that the bytes took, and what it has pinned.
 * docs/gpu.md says when which way is taken. */
typedef struct xfer_gd2fs_counters {
  uint64_t host_read_bytes; /* between servers and the application's host memory */
  uint64_t host_write_bytes;
  uint64_t gpu_straight_read_bytes; /* between the memory of a server on this host and a GPU */
  uint64_t gpu_straight_write_bytes;
  uint64_t gpu_ring_read_bytes; /* to and from a GPU through the ring of pinned host memory */
  uint64_t gpu_ring_write_bytes;
  uint64_t gpu_ring_pinned_bytes;   /* now: the ring's memory */
  uint64_t gpu_shared_pinned_bytes; /* now: the servers' own memory, as far as it is pinned */
  uint64_t gpu_nic_read_bytes;      /* between servers and GPUs, by NICs alone (RDMA) */
  uint64_t gpu_nic_write_bytes;
  uint64_t reserved[22];
} xfer_gd2fs_counters;
XFER_GD2FS_STATIC_ASSERT(sizeof(xfer_gd2fs_counters) == 256);

/* Fills *counters. 0, or -EINVAL, -ECANCELED (closed). */
XFER_GD2FS_API int xfer_gd2fs_get_counters(xfer_gd2fs_ctx* ctx, xfer_gd2fs_counters* counters);

/* --- memory -------------------------------------------------------------------------------- */

typedef struct xfer_gd2fs_iomem_options {
  uint32_t flags;     /* none defined: 0 */
  uint32_t reserved0; /* 0 */
  uint64_t reserved[16];
} xfer_gd2fs_iomem_options;
XFER_GD2FS_STATIC_ASSERT(sizeof(xfer_gd2fs_iomem_options) == 136);

/* Registers [addr, addr + length) for use in SGEs, any number of slices of it: host memory, or
 * memory of one GPU (cudaMalloc, CUDA's virtual memory management, PyTorch tensors). Takes constant
 * time but for the first of a GPU's, which makes streams in its context. The memory must stay
 * mapped until dereg. NULL on failure: an empty or overflowing range, unknown flags, or a range
 * that neither the CPU nor one GPU can use as a whole. `options` may be NULL. */
XFER_GD2FS_API xfer_gd2fs_iomem* xfer_gd2fs_reg_iomem(xfer_gd2fs_ctx* ctx, void* addr,
                                                      size_t length,
                                                      const xfer_gd2fs_iomem_options* options);

/* Cancels the requests that use the registration (they complete with class CLIENT, ECANCELED,
 * unless they had just ended) and returns when no peer can touch its memory. Constant time when
 * none does. 0, or -EINVAL when it is not registered. */
XFER_GD2FS_API int xfer_gd2fs_dereg_iomem(xfer_gd2fs_ctx* ctx, xfer_gd2fs_iomem* iomem);

/* What the registration names: *device becomes the ordinal of the GPU (as the CUDA driver counts
 * them in this process), or -1 for memory that the CPU can use: host memory, also pinned, and
 * managed. 0, or -EINVAL when it is not registered. */
XFER_GD2FS_API int xfer_gd2fs_iomem_device(xfer_gd2fs_ctx* ctx, xfer_gd2fs_iomem* iomem,
                                           int32_t* device);

/* A slice of registered memory, of any length (0 too) and alignment. One request may mix slices of
 * host memory and of several GPUs. GPU memory must be idle at submit, unless
 * xfer_gd2fs_op.gpu_stream says what comes first; work that is launched after the completion sees
 * the bytes. A copy to or from a GPU that fails (its context was destroyed, the device was reset)
 * is class CLIENT, EIO, detail IOMEM. */
typedef struct xfer_gd2fs_sge {
  void* addr;
  uint64_t len;
  xfer_gd2fs_iomem* iomem;
} xfer_gd2fs_sge;
XFER_GD2FS_STATIC_ASSERT(sizeof(xfer_gd2fs_sge) == 24);

/* --- bytes --------------------------------------------------------------------------------- */

/* Reads from `off` into the SGEs in order. Returns the bytes asked for (the sum of the SGEs), or
 *   -EINVAL        no SGE, an SGE outside its iomem, an unknown iomem, flags other than 0, a sum or
 *                  off + sum past 2^63 - 1, a path that is not absolute or not in plain form
 *   -ENAMETOOLONG  a path over 4096 bytes or a component over 255
 *   -EAGAIN        XFER_GD2FS_REQUESTS_MAX requests are in flight
 * The completion's value is the bytes read, fewer than asked only at the end of the file. Holes
 * read as zeros. What lies in the memory after a failed or short read's value is not defined. */
XFER_GD2FS_API ssize_t xfer_gd2fs_preadv(xfer_gd2fs_ctx* ctx, void* id, const char* filepath,
                                         uint64_t off, const xfer_gd2fs_sge* sges, uint16_t nsge,
                                         uint16_t flags);

/* Writes the SGEs in order at `off`. A file that does not exist is created (not its directory);
 * writing past the end extends it. Arguments and errors as for preadv. The completion's value is
 * all the bytes; they are durable then, as the cluster's policy has it. Writes within one chunk are
 * atomic, a request over several chunks is not. */
XFER_GD2FS_API ssize_t xfer_gd2fs_pwritev(xfer_gd2fs_ctx* ctx, void* id, const char* filepath,
                                          uint64_t off, const xfer_gd2fs_sge* sges, uint16_t nsge,
                                          uint16_t flags);

/* --- names --------------------------------------------------------------------------------- */
/* All return 0 when accepted, or a negative errno as for preadv, and complete with value 0 unless
 * they say otherwise. flags must be 0. */

#define XFER_GD2FS_TYPE_FILE 1u
#define XFER_GD2FS_TYPE_DIRECTORY 2u

typedef struct xfer_gd2fs_stat {
  uint64_t size;        /* bytes; 0 for a directory */
  uint64_t inode;       /* never used twice in a deployment */
  uint64_t generation;  /* grows when the file is renamed or truncated */
  uint64_t chunk_bytes; /* 0 for a directory */
  uint64_t mtime_us;    /* of the last change of contents, UTC since 1970 */
  uint64_t ctime_us;    /* of the creation */
  uint32_t type;        /* XFER_GD2FS_TYPE_* */
  uint32_t pin;         /* 1: to be kept in the servers' memory */
  uint64_t reserved[16];
} xfer_gd2fs_stat;
XFER_GD2FS_STATIC_ASSERT(sizeof(xfer_gd2fs_stat) == 184);

/* Fills *stat by the time of the completion. */
XFER_GD2FS_API int xfer_gd2fs_fstat(xfer_gd2fs_ctx* ctx, void* id, const char* filepath,
                                    xfer_gd2fs_stat* stat);

/* Creates a file of `size` zero bytes. What exists completes with class SERVER, code EEXIST; of
 * several racing creators exactly one succeeds. */
XFER_GD2FS_API int xfer_gd2fs_create(xfer_gd2fs_ctx* ctx, void* id, const char* filepath,
                                     uint16_t flags, uint64_t size);
XFER_GD2FS_API int xfer_gd2fs_unlink(xfer_gd2fs_ctx* ctx, void* id, const char* filepath);
/* Replaces a file at newpath, atomically. */
XFER_GD2FS_API int xfer_gd2fs_rename(xfer_gd2fs_ctx* ctx, void* id, const char* filepath,
                                     const char* newpath);
XFER_GD2FS_API int xfer_gd2fs_mkdir(xfer_gd2fs_ctx* ctx, void* id, const char* path);
XFER_GD2FS_API int xfer_gd2fs_rmdir(xfer_gd2fs_ctx* ctx, void* id, const char* path);
/* Cuts the file, or extends it with zeros. */
XFER_GD2FS_API int xfer_gd2fs_truncate(xfer_gd2fs_ctx* ctx, void* id, const char* filepath,
                                       uint64_t size);
/* Completes when all writes to the file that completed before this call are durable on the drives,
 * also under policies that acknowledge earlier. */
XFER_GD2FS_API int xfer_gd2fs_fsync(xfer_gd2fs_ctx* ctx, void* id, const char* filepath);

typedef struct xfer_gd2fs_dirent {
  uint64_t size;
  uint64_t mtime_us;
  uint64_t inode;
  uint32_t type;
  uint32_t reserved0;
  char name[256]; /* closed by a NUL */
} xfer_gd2fs_dirent;
XFER_GD2FS_STATIC_ASSERT(sizeof(xfer_gd2fs_dirent) == 288);

/* Fills entries in byte order of their names, from the first name greater than `after` (NULL: from
 * the start). value = entries filled; fewer than nentries (which is at least 1) at the end only. */
XFER_GD2FS_API int xfer_gd2fs_readdir(xfer_gd2fs_ctx* ctx, void* id, const char* path,
                                      const char* after, xfer_gd2fs_dirent* entries,
                                      uint32_t nentries);

#define XFER_GD2FS_ATTR_REPLICAS 1u
#define XFER_GD2FS_ATTR_PIN 2u
#define XFER_GD2FS_ATTR_TTL 4u

typedef struct xfer_gd2fs_attr {
  uint32_t set;      /* which of the following to set: XFER_GD2FS_ATTR_* */
  uint32_t replicas; /* copies of each chunk; later: 1 is all there is */
  uint32_t pin;      /* 1: keep in the servers' memory, 0: no longer */
  uint32_t ttl_s;    /* remove after so many seconds without use; later: 0 is all there is */
  uint64_t reserved[16];
} xfer_gd2fs_attr;
XFER_GD2FS_STATIC_ASSERT(sizeof(xfer_gd2fs_attr) == 144);

/* Sets what attr->set names, of a file. A pinned file's bytes, once read, written or prefetched,
 * stay in the servers' memory: they leave it last, and never for a scan. Pinned files may have half
 * of a server's memory together; over it the request completes with class SERVER, code ENOSPC.
 * -EINVAL: an unknown bit or a pin other than 0 or 1; -ENOTSUP: replicas other than 1, or a ttl. */
XFER_GD2FS_API int xfer_gd2fs_setattr(xfer_gd2fs_ctx* ctx, void* id, const char* filepath,
                                      const xfer_gd2fs_attr* attr);

/* The servers bring the range into their memory; it is not moved any further. */
#define XFER_GD2FS_ADVICE_PREFETCH 1u
/* Nothing is done, only counted. */
#define XFER_GD2FS_ADVICE_QUERY 2u
/* The servers drop the whole file from their memory, pinned or not, but for what is in use. off and
 * len must be 0. */
#define XFER_GD2FS_ADVICE_DROP 3u

/* Advice on [off, off + len) of a file; len 0: to its end. The completion's value is how many bytes
 * of the range are in the servers' memory afterwards (DROP: 0). */
XFER_GD2FS_API int xfer_gd2fs_advise(xfer_gd2fs_ctx* ctx, void* id, const char* filepath,
                                     uint64_t off, uint64_t len, uint16_t advice);

/* --- reaping ------------------------------------------------------------------------------- */

/* Takes up to maxcomp (at least 1) completions from the default queue, waiting up to timeout_ms for
 * the first: 0 polls, -1 waits for ever. Returns how many, 0 when the time passed, -ECANCELED when
 * the ctx is closed. Every accepted request is handed out exactly once, to one of the waiters. */
XFER_GD2FS_API int xfer_gd2fs_wait(xfer_gd2fs_ctx* ctx, xfer_gd2fs_completion* completions,
                                   int maxcomp, int timeout_ms);

/* A descriptor for poll, select or epoll: readable, level-triggered, while completions wait on the
 * default queue. The library's: neither read nor close it. */
XFER_GD2FS_API int xfer_gd2fs_get_fd(xfer_gd2fs_ctx* ctx);

/* --- completion queues --------------------------------------------------------------------- */

/* A further queue of the ctx. NULL on failure (more than 1024 of them). */
XFER_GD2FS_API xfer_gd2fs_cq* xfer_gd2fs_cq_create(xfer_gd2fs_ctx* ctx);
/* Cancels the requests that would complete here and returns when no peer can touch their memory.
 * Completions not reaped are lost; waiters get -ECANCELED. */
XFER_GD2FS_API int xfer_gd2fs_cq_destroy(xfer_gd2fs_ctx* ctx, xfer_gd2fs_cq* cq);
XFER_GD2FS_API int xfer_gd2fs_cq_get_fd(xfer_gd2fs_ctx* ctx, xfer_gd2fs_cq* cq);
XFER_GD2FS_API int xfer_gd2fs_cq_wait(xfer_gd2fs_ctx* ctx, xfer_gd2fs_cq* cq,
                                      xfer_gd2fs_completion* completions, int maxcomp,
                                      int timeout_ms);

#define XFER_GD2FS_OP_READ 1u
#define XFER_GD2FS_OP_WRITE 2u
#define XFER_GD2FS_OP_STAT 3u
#define XFER_GD2FS_OP_CREATE 4u
#define XFER_GD2FS_OP_UNLINK 5u
#define XFER_GD2FS_OP_RENAME 6u
#define XFER_GD2FS_OP_MKDIR 7u
#define XFER_GD2FS_OP_RMDIR 8u
#define XFER_GD2FS_OP_TRUNCATE 9u
#define XFER_GD2FS_OP_FSYNC 10u
#define XFER_GD2FS_OP_READDIR 11u
#define XFER_GD2FS_OP_SETATTR 12u
#define XFER_GD2FS_OP_ADVISE 13u
#define XFER_GD2FS_OP_VIEW 14u

/* --- views ----------------------------------------------------------------------------------- */

/* Bytes of a file where they lie: in the memory of a server on this host, without a copy, if they
 * are in its cache as one piece; else in the buffer that the request names. Filled in before the
 * completion is handed out; the same memory until xfer_gd2fs_view_put. */
typedef struct xfer_gd2fs_view {
  const void* addr;
  uint64_t len;       /* short only at the end of the file */
  uint32_t zero_copy; /* 1: the server's memory, read-only; 0: in the request's buffer */
  uint32_t reserved0;
  uint64_t number; /* the library's */
  uint64_t reserved[4];
} xfer_gd2fs_view;
XFER_GD2FS_STATIC_ASSERT(sizeof(xfer_gd2fs_view) == 64);

/* Like preadv with one SGE, whose bytes stay as they are if no copy is needed. The server may use
 * its memory for something else at any time: look at the bytes, give the view back, and believe
 * what was seen only if that says so. */
XFER_GD2FS_API ssize_t xfer_gd2fs_view_get(xfer_gd2fs_ctx* ctx, void* id, const char* filepath,
                                           uint64_t off, const xfer_gd2fs_sge* sge,
                                           xfer_gd2fs_view* view);
/* Gives a view back; its addr may not be read any more. 0: all bytes were the file's until now.
 * -ESTALE: they may have changed while they were looked at. -EINVAL: it is not out. A view stays
 * readable until it is given back, also when its ctx has been closed or the server is gone. */
XFER_GD2FS_API int xfer_gd2fs_view_put(xfer_gd2fs_view* view);

/* Any operation. Fields that an operation does not use are 0. */
typedef struct xfer_gd2fs_op {
  uint16_t opcode; /* XFER_GD2FS_OP_* */
  uint16_t flags;  /* 0 */
  uint16_t nsge;   /* READ, WRITE; VIEW: 1 */
  uint16_t advice; /* ADVISE */
  void* id;
  const char* filepath;
  const char* other; /* RENAME: the new path; READDIR: the name to start after, or NULL */
  uint64_t off;      /* READ, WRITE, VIEW, ADVISE */
  uint64_t size;     /* CREATE, TRUNCATE; ADVISE: the length */
  const xfer_gd2fs_sge* sges;
  xfer_gd2fs_stat* stat;      /* STAT */
  xfer_gd2fs_dirent* entries; /* READDIR */
  uint32_t nentries;
  uint32_t reserved1;
  /* If not NULL, receives a number for xfer_gd2fs_cancel() before the operation starts. */
  uint64_t* request;
  const xfer_gd2fs_attr* attr; /* SETATTR */
  /* READ, WRITE: a CUstream (1: the legacy default stream, 2: the per-thread one). What is queued
   * on it at this call comes before the operation touches the memory. 0: nothing does. */
  uint64_t gpu_stream;
  xfer_gd2fs_view* view; /* VIEW */
  uint64_t reserved[13];
} xfer_gd2fs_op;
XFER_GD2FS_STATIC_ASSERT(sizeof(xfer_gd2fs_op) == 216);

/* Submits one operation that will complete on cq (NULL: the default queue). Returns as preadv does:
 * the bytes accepted (0 for operations on names), or a negative errno. */
XFER_GD2FS_API ssize_t xfer_gd2fs_submit(xfer_gd2fs_ctx* ctx, xfer_gd2fs_cq* cq,
                                         const xfer_gd2fs_op* op);

/* Asks for an early end of the request with this number (xfer_gd2fs_op.request). It still completes
 * exactly once: with class CLIENT, ECANCELED, or with its result if it had just ended; by then no
 * peer can touch its memory. A write that is canceled may have happened. 0, or -ENOENT if the
 * request has completed. */
XFER_GD2FS_API int xfer_gd2fs_cancel(xfer_gd2fs_ctx* ctx, uint64_t request);

#ifdef __cplusplus
} /* extern "C" */
#endif

#endif /* XFER_GD2FS_H */
