/*
 * An external fio I/O engine for GD2FS: fio --ioengine=external:/path/libgd2fs_fio.so
 *
 * Each fio job makes one ctx (in the process or thread that runs it, since a ctx does not survive
 * fork), registers its I/O buffer once, and keeps iodepth requests in flight. Files are named by
 * `filename=` and must be absolute paths in the cluster; `setup` creates those that are missing with
 * the job's size. Addresses come from the options below, else from the environment (GD2FS_CPADDR,
 * GD2FS_DPADDR, GD2FS_CLUSTER). A completed GD2FS write is durable, so fio's syncs have nothing to do.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config-host.h"
#include "fio.h"
#include "optgroup.h"

#include <xfer/gd2fs.h>

enum { kSetupTimeoutMs = 30000 };

struct gd2fs_options {
	void *pad; /* fio keeps a pointer here */
	char *cpaddr;
	char *dpaddr;
	char *cluster;
};

struct gd2fs_job {
	xfer_gd2fs_ctx *ctx;
	xfer_gd2fs_iomem *iomem;
	xfer_gd2fs_completion *completions; /* iodepth of them; what the last getevents reaped */
};

static struct fio_option options[] = {
	{
		.name = "cpaddr",
		.lname = "control plane address",
		.type = FIO_OPT_STR_STORE,
		.off1 = offsetof(struct gd2fs_options, cpaddr),
		.help = "gd2fs://host:port of the controller",
		.category = FIO_OPT_C_ENGINE,
		.group = FIO_OPT_G_INVALID,
	},
	{
		.name = "dpaddr",
		.lname = "data plane address",
		.type = FIO_OPT_STR_STORE,
		.off1 = offsetof(struct gd2fs_options, dpaddr),
		.help = "local NIC addresses and transport, e.g. tcp://127.0.0.1",
		.category = FIO_OPT_C_ENGINE,
		.group = FIO_OPT_G_INVALID,
	},
	{
		.name = "cluster",
		.lname = "cluster",
		.type = FIO_OPT_STR_STORE,
		.off1 = offsetof(struct gd2fs_options, cluster),
		.help = "name of the GD2FS cluster",
		.category = FIO_OPT_C_ENGINE,
		.group = FIO_OPT_G_INVALID,
	},
	{ .name = NULL },
};

static xfer_gd2fs_ctx *connect_ctx(struct thread_data *td)
{
	struct gd2fs_options *o = td->eo;
	xfer_gd2fs_options opts = { 0 };
	xfer_gd2fs_ctx *ctx;

	opts.cp_address = o->cpaddr;
	opts.dp_address = o->dpaddr;
	opts.cluster_id = o->cluster;
	opts.log_level = "warn";
	ctx = xfer_gd2fs_connect(&opts);
	if (!ctx)
		log_err("gd2fs: connect: %s\n", xfer_gd2fs_last_error());
	return ctx;
}

/* Waits for the one request in flight; 0 or a positive errno. */
static int wait_one(xfer_gd2fs_ctx *ctx)
{
	xfer_gd2fs_completion done;
	int n = xfer_gd2fs_wait(ctx, &done, 1, kSetupTimeoutMs);

	if (n < 0)
		return -n;
	if (n == 0)
		return ETIMEDOUT;
	return XFER_GD2FS_STATUS_CODE(done.status);
}

/* Learns a file's size, creating it with `want` bytes if it is not there. */
static int stat_or_create(xfer_gd2fs_ctx *ctx, const char *path, uint64_t want, uint64_t *size)
{
	xfer_gd2fs_stat st;
	int err;

	for (;;) {
		memset(&st, 0, sizeof(st));
		err = -(int)xfer_gd2fs_fstat(ctx, &st, path, &st);
		if (!err)
			err = wait_one(ctx);
		if (err != ENOENT || !want)
			break;
		err = -(int)xfer_gd2fs_create(ctx, &st, path, 0, want);
		if (!err)
			err = wait_one(ctx);
		if (err && err != EEXIST) /* another job won: stat what it made */
			break;
	}
	*size = st.size;
	return err;
}

static int gd2fs_setup(struct thread_data *td)
{
	xfer_gd2fs_ctx *ctx;
	struct fio_file *f;
	unsigned int i;
	int err = 0;

	ctx = connect_ctx(td);
	if (!ctx)
		return 1;
	for_each_file(td, f, i) {
		uint64_t size = 0;
		uint64_t want = td->o.file_size_low ? td->o.file_size_low : td->o.size / td->o.nr_files;

		err = stat_or_create(ctx, f->file_name, td_write(td) ? want : 0, &size);
		if (err) {
			log_err("gd2fs: %s: %s\n", f->file_name, strerror(err));
			break;
		}
		f->real_file_size = size > want ? size : want;
		if (!td_write(td))
			f->real_file_size = size;
		f->filetype = FIO_TYPE_FILE;
		fio_file_set_size_known(f);
	}
	xfer_gd2fs_close(ctx);
	return err;
}

static int gd2fs_init(struct thread_data *td)
{
	struct gd2fs_job *job = calloc(1, sizeof(*job));

	if (!job)
		return 1;
	job->completions = calloc(td->o.iodepth, sizeof(*job->completions));
	job->ctx = connect_ctx(td);
	if (!job->ctx || !job->completions) {
		free(job->completions);
		free(job);
		return 1;
	}
	td->io_ops_data = job;
	return 0;
}

/* fio has allocated the I/O buffers by now: one registration serves every request. */
static int gd2fs_post_init(struct thread_data *td)
{
	struct gd2fs_job *job = td->io_ops_data;

	job->iomem = xfer_gd2fs_reg_iomem(job->ctx, td->orig_buffer, td->orig_buffer_size, NULL);
	if (!job->iomem) {
		log_err("gd2fs: reg_iomem: %s\n", xfer_gd2fs_last_error());
		return 1;
	}
	return 0;
}

static void gd2fs_cleanup(struct thread_data *td)
{
	struct gd2fs_job *job = td->io_ops_data;

	if (!job)
		return;
	if (job->iomem)
		xfer_gd2fs_dereg_iomem(job->ctx, job->iomem);
	xfer_gd2fs_close(job->ctx);
	free(job->completions);
	free(job);
	td->io_ops_data = NULL;
}

static enum fio_q_status gd2fs_queue(struct thread_data *td, struct io_u *io_u)
{
	struct gd2fs_job *job = td->io_ops_data;
	xfer_gd2fs_sge sge = { io_u->xfer_buf, io_u->xfer_buflen, job->iomem };
	ssize_t accepted;

	fio_ro_check(td, io_u);
	switch (io_u->ddir) {
	case DDIR_READ:
		accepted = xfer_gd2fs_preadv(job->ctx, io_u, io_u->file->file_name, io_u->offset, &sge, 1, 0);
		break;
	case DDIR_WRITE:
		accepted = xfer_gd2fs_pwritev(job->ctx, io_u, io_u->file->file_name, io_u->offset, &sge, 1, 0);
		break;
	case DDIR_SYNC:
	case DDIR_DATASYNC:
	case DDIR_SYNC_FILE_RANGE:
		return FIO_Q_COMPLETED;
	default:
		io_u->error = ENOTSUP;
		return FIO_Q_COMPLETED;
	}
	if (accepted == -EAGAIN)
		return FIO_Q_BUSY;
	if (accepted < 0) {
		io_u->error = (int)-accepted;
		return FIO_Q_COMPLETED;
	}
	return FIO_Q_QUEUED;
}

static int gd2fs_getevents(struct thread_data *td, unsigned int min, unsigned int max,
			   const struct timespec *t)
{
	struct gd2fs_job *job = td->io_ops_data;
	int timeout_ms = t ? (int)(t->tv_sec * 1000 + t->tv_nsec / 1000000) : -1;
	unsigned int reaped = 0;

	do {
		int n = xfer_gd2fs_wait(job->ctx, job->completions + reaped, (int)(max - reaped),
					min ? timeout_ms : 0);

		if (n < 0) {
			log_err("gd2fs: wait: %s\n", strerror(-n));
			return n;
		}
		reaped += (unsigned int)n;
		if (n == 0)
			break;
	} while (reaped < min);
	return (int)reaped;
}

static struct io_u *gd2fs_event(struct thread_data *td, int event)
{
	struct gd2fs_job *job = td->io_ops_data;
	xfer_gd2fs_completion *done = &job->completions[event];
	struct io_u *io_u = done->id;

	if (done->status) {
		io_u->error = XFER_GD2FS_STATUS_CODE(done->status);
	} else {
		io_u->error = 0;
		io_u->resid = io_u->xfer_buflen - done->value;
	}
	return io_u;
}

/* Paths are opened by the library at each request; fio only wants a file to look open. */
static int gd2fs_open_file(struct thread_data *td, struct fio_file *f)
{
	return 0;
}

static int gd2fs_close_file(struct thread_data *td, struct fio_file *f)
{
	return 0;
}

static int gd2fs_invalidate(struct thread_data *td, struct fio_file *f)
{
	return 0;
}

struct ioengine_ops ioengine = {
	.name = "gd2fs",
	.version = FIO_IOOPS_VERSION,
	.flags = FIO_DISKLESSIO | FIO_NODISKUTIL | FIO_RAWIO,
	.setup = gd2fs_setup,
	.init = gd2fs_init,
	.post_init = gd2fs_post_init,
	.queue = gd2fs_queue,
	.getevents = gd2fs_getevents,
	.event = gd2fs_event,
	.cleanup = gd2fs_cleanup,
	.open_file = gd2fs_open_file,
	.close_file = gd2fs_close_file,
	.invalidate = gd2fs_invalidate,
	.options = options,
	.option_struct_size = sizeof(struct gd2fs_options),
};
