/* The protocol of docs/protocol.md for one path of one-chunk files: names, sizes, generations,
 * fences, intents, leases, retries. README.md in this folder says how to read it.
 *
 * Two clients run OPS operations between them, each chosen freely among read, write (creating and
 * extending), truncate to 0 and unlink. `world` is everything that happens by itself: fences on
 * their way, late copies of requests, crashes, the lease. FAULTS bounds how often something goes
 * wrong in one run (lost reply, late copy, crash, lapse, a client that gives up).
 *
 * A request, its execution and the arrival of its reply are one atomic step: sending commutes with
 * all else, and the shortest operations give the strictest history check.
 *
 * -DM_... takes one rule out; tools/check_protocol_model.sh requires that each is then found wrong.
 */
#ifndef OPS
#define OPS 4
#endif
#ifndef FAULTS
#define FAULTS 3
#endif
#define INODES 4 /* 1..3; 0 is "no inode" */

#define BIT(n) (1 << (n))

/* --- controller --- */
byte path;              /* durable: the inode that the one name means, 0: none */
byte last_inode;        /* durable: inodes are never used twice */
byte gen[INODES];       /* durable */
bit  size[INODES];      /* durable: in chunks */
byte owed[INODES];      /* durable intent: the generation that the server must fence, 0: none */
byte cut_done[2];       /* durable dedup record: last unlink or truncate of each client */
byte cut_inode[2];      /* durable: and the inode it was for, 0: answered not_found */
byte create_done[2];    /* durable dedup record: last create of each client */
bit  settled[INODES];   /* volatile: the server's lease surely ended after the intent was written */
byte cut_low[2];        /* volatile: what a client is done with */
byte create_low[2];

/* --- server --- */
byte data[INODES];      /* durable: the chunk's bytes = the id of the write that made them, 0: none */
byte fence[INODES];     /* durable */
byte write_done[2];     /* durable dedup record: last write of each client */
bit  lease;             /* volatile: registered, and not lapsed by its own clock */
bit  begun[2];          /* volatile: client's current write has passed the checks, pulls its bytes */
byte write_low[2];      /* volatile */

/* --- copies of requests that a broken session left behind at the receiver --- */
byte lw_stage[2], lw_id[2], lw_inode[2], lw_gen[2]; /* write: 0 none, 1 arrived, 2 begun */
byte lc_kind[2], lc_tag[2];                         /* to the controller */
byte lf_inode, lf_gen;                              /* a fence */

byte faults;

/* --- the history, for the checks (no part of the protocol) --- */
byte next_id = 1;       /* ids of operations; 0 is the empty start */
byte zeros = 1;         /* ids that leave nothing behind: the start, unlinks, truncates */
byte done = 1;          /* completed */
byte seen;              /* read by a completed read */
byte dead;              /* surely overwritten: no read that starts now may answer it */
byte older[8];          /* what was completed or seen when the operation started */
byte executed;          /* writes that the server committed */
byte create_executed[2]; /* creates that the controller committed */
byte cut_executed;      /* unlinks and truncates that the controller committed */

#define READ 1
#define WRITE 2
#define TRUNCATE 3
#define UNLINK 4
#define CREATE 5

#define OPEN(i) (owed[i] != 0 && !settled[i])
#define ANY_OPEN (OPEN(1) || OPEN(2) || OPEN(3))
#ifdef M_NO_LOOKUP_WAIT
#define NAME_WAITS (0)
#elif defined(M_UNLINKED_NAME_IS_FREE)
#define NAME_WAITS (path != 0 && OPEN(path))
#else
#define NAME_WAITS ANY_OPEN
#endif
#define FAULT_LEFT (faults < FAULTS)

/* What a completed operation teaches about those before it. */
inline completed(op_id) {
  done = done | BIT(op_id);
  dead = dead | older[op_id]
}

/* A read that started when `forbidden` was dead and `before` was seen answers `value` (0: no file,
 * or nothing at this offset). */
inline read_ends(value, forbid, earlier) {
  if
  :: value == 0 -> assert(zeros & ~forbid) /* else an acknowledged write is lost */
  :: else ->
     assert(!(forbid & BIT(value)));       /* else an old or deleted value came back */
     dead = dead | older[value] | (earlier & ~BIT(value));
     seen = seen | BIT(value)
  fi
}

/* Controller: lookup with create_if_missing. Sets made. */
inline create(who, tag) {
  if
  :: create_low[who] > tag -> skip             /* below the window: a late duplicate */
#ifndef M_NO_CREATE_DEDUP
  :: create_low[who] <= tag && create_done[who] == tag -> create_low[who] = tag
#endif
  :: else ->
     create_low[who] = tag;
     create_done[who] = tag;
     assert(!(create_executed[who] & BIT(tag)));
     create_executed[who] = create_executed[who] | BIT(tag);
     if
     :: path == 0 && last_inode < INODES - 1 ->
        last_inode++;
        path = last_inode;
        gen[path] = 1;
        size[path] = 0
     :: else -> skip
     fi
  fi
}

/* Controller: unlink or truncate, step 1: one transaction. */
inline cut(who, what, tag) {
  if
  :: cut_low[who] > tag -> skip
  :: cut_low[who] <= tag && cut_done[who] == tag -> cut_low[who] = tag
  :: else ->
     cut_low[who] = tag;
     cut_done[who] = tag;
     assert(!(cut_executed & BIT(tag)));
     cut_executed = cut_executed | BIT(tag);
     cut_inode[who] = path;
     if
     :: path != 0 ->
        gen[path] = gen[path] + 1;
        size[path] = 0;
        owed[path] = gen[path];
        settled[path] = 0;
        if
        :: what == UNLINK -> path = 0
        :: else -> skip
        fi
     :: else -> skip
     fi
  fi
}

/* Server: is a write with this tag and generation to be done? Sets verdict. */
#define GO 0
#define KNOWN 1
#define STALE 2
#ifdef M_NO_FENCE_CHECK
#define FENCED(i, g) (0)
#else
#define FENCED(i, g) ((g) < fence[i])
#endif
#ifdef M_NO_LOW
#define BELOW(me, id) (0)
#else
#define BELOW(me, id) (write_low[me] > (id))
#endif
#ifdef M_NO_DEDUP
#define IS_KNOWN(me, id) (0)
#else
#define IS_KNOWN(me, id) (write_done[me] == (id))
#endif

inline judge(asker, mark, inod, at) {
  if
  :: BELOW(asker, mark) -> verdict = STALE
#ifdef M_FENCE_BEFORE_DEDUP
  :: !BELOW(asker, mark) && FENCED(inod, at) -> verdict = STALE
  :: !BELOW(asker, mark) && !FENCED(inod, at) && IS_KNOWN(asker, mark) -> verdict = KNOWN
#else
  :: !BELOW(asker, mark) && IS_KNOWN(asker, mark) -> verdict = KNOWN
  :: !BELOW(asker, mark) && !IS_KNOWN(asker, mark) && FENCED(inod, at) -> verdict = STALE
#endif
  :: else -> verdict = GO
  fi;
  if
  :: write_low[asker] < mark -> write_low[asker] = mark
  :: else -> skip
  fi
}

/* Server: the commit of data, index and dedup record. */
inline commit(who, tag, node, old) {
#ifdef M_NO_COMMIT_CHECK
  verdict = GO;
#else
  judge(who, tag, node, old);
#endif
  if
  :: verdict == GO ->
     assert(!(executed & BIT(tag)));           /* a tag executes at most once */
     executed = executed | BIT(tag);
     data[node] = tag;
     write_done[who] = tag
  :: else -> skip
  fi
}

/* Server: fence, durable when it returns. */
inline apply_fence(node, level) {
#ifdef M_FENCE_APPLIED_AGAIN
  if
  :: level >= fence[node] -> fence[node] = level; data[node] = 0
  :: else -> skip
  fi
#else
  if
  :: level > fence[node] -> fence[node] = level; data[node] = 0
  :: else -> skip
  fi
#endif
}

/* Equal situations are to be one state, so what is over is forgotten. */
inline forget_layout() {
  valid = 0; csize = 0; cinode = 0; cgen = 0
}
inline forget_operation() {
  kind = 0; id = 0; phase = 0; forbidden = 0; before = 0; sized = 0; verdict = 0
}

proctype client(bit me) {
  bit valid, csize;                  /* the layout cache */
  byte cinode, cgen;
  byte kind, id, create_tag = 1, phase, forbidden, before, verdict, sized;

progress_next:
next: /* an operation starts together with its first step */
  if
  :: atomic { next_id <= OPS && (next_id > 1 || me == 0) -> /* the clients are alike: 0 begins */
       id = next_id;
       next_id++;
       if
       :: kind = READ; forbidden = dead; before = seen; goto read
       :: kind = WRITE; older[id] = done | seen; goto write
       :: kind = TRUNCATE; older[id] = done | seen; zeros = zeros | BIT(id); goto cut_name
       :: kind = UNLINK; older[id] = done | seen; zeros = zeros | BIT(id); goto cut_name
       fi }
  :: next_id > OPS -> goto stop
  fi;

read: atomic {
  if
  :: !(valid && csize) && !NAME_WAITS ->        /* lookup */
       valid = (path != 0); cinode = path; cgen = gen[path]; csize = size[path];
       if
       :: !csize -> read_ends(0, forbidden, before); forget_operation(); goto next
       :: else -> skip
       fi
  :: valid && csize && lease ->                 /* read at the server */
       if
       :: FENCED(cinode, cgen) -> forget_layout()
       :: else ->
          assert(data[cinode] != 0);                     /* size is never visible before bytes */
          read_ends(data[cinode], forbidden, before);
          forget_operation(); goto next
       fi
  fi };
  goto read;

write: atomic {
  if
  :: !valid && !NAME_WAITS ->                   /* lookup, create_if_missing */
       if
       :: create(me, create_tag);
          if
          :: create_tag++;
             valid = (path != 0); cinode = path; cgen = gen[path]; csize = size[path]
          :: FAULT_LEFT -> faults++                      /* the reply is lost */
          fi
       :: FAULT_LEFT && lc_kind[me] == 0 ->              /* a copy stays behind, undone */
          faults++; lc_kind[me] = CREATE; lc_tag[me] = create_tag
       fi;
       if
       :: path == 0 && last_inode == INODES - 1 -> forget_operation(); goto next /* no inode left in the model */
       :: else -> skip
       fi
#ifdef M_SIZE_FIRST
  :: valid && phase == 0 && !csize && !sized ->
       sized = 1;
       if
       :: gen[cinode] == cgen -> size[cinode] = 1
       :: else -> skip
       fi
  :: valid && phase == 0 && (csize || sized) && lease ->
#else
  :: valid && phase == 0 && lease ->            /* write: the checks */
#endif
       judge(me, id, cinode, cgen);
       if
       :: verdict == GO -> begun[me] = 1; phase = 1
       :: verdict == KNOWN -> phase = 2
       :: verdict == STALE -> forget_layout()
       fi;
       verdict = 0
  :: valid && phase == 0 && lease && FAULT_LEFT && lw_stage[me] == 0 ->
       faults++;
       lw_stage[me] = 1; lw_id[me] = id; lw_inode[me] = cinode; lw_gen[me] = cgen
  :: phase == 1 && begun[me] ->                 /* write: the commit */
       commit(me, id, cinode, cgen);
       begun[me] = 0;
       if
       :: verdict == STALE -> forget_layout(); phase = 0
       :: verdict != STALE -> phase = 2
       :: verdict != STALE && FAULT_LEFT -> faults++; phase = 0
#ifdef M_RETRY_LOOKS_UP
          ; forget_layout()
#endif
       fi;
       verdict = 0
  :: phase == 1 && !begun[me] -> phase = 0    /* the server restarted: again */
  :: phase == 1 && begun[me] && FAULT_LEFT && lw_stage[me] == 0 ->
       faults++; begun[me] = 0; phase = 0;               /* the session broke, the copy lives */
       lw_stage[me] = 2; lw_id[me] = id; lw_inode[me] = cinode; lw_gen[me] = cgen
  :: phase == 2 && csize ->                     /* inside a size that was there already */
       completed(id); forget_operation(); goto next
  :: phase == 2 && !csize ->                    /* set_size */
       if
#ifdef M_SIZE_IGNORES_GENERATION
       :: cinode == path ->
#else
       :: gen[cinode] == cgen && cinode == path ->
#endif
          size[cinode] = 1; csize = 1
       :: else ->                                        /* cut since: ordered before the cut */
          verdict = STALE
       fi;
       if
       :: completed(id);
          if
          :: verdict == STALE -> forget_layout()
          :: else -> skip
          fi;
          forget_operation(); goto next
       :: FAULT_LEFT -> faults++; csize = 0; verdict = 0 /* the reply is lost: again */
       fi
  :: FAULT_LEFT && (phase != 1) ->              /* the deadline: the outcome is not known */
       faults++; create_tag++; forget_operation(); goto next
  fi };
  goto write;

cut_name: atomic {
  if
  :: phase == 0 && (!ANY_OPEN || cut_done[me] == id) ->
       if
       :: cut(me, kind, id); phase = 1
       :: FAULT_LEFT && lc_kind[me] == 0 ->
          faults++; lc_kind[me] = kind; lc_tag[me] = id
       fi
#ifdef M_NO_INTENT_WAIT
  :: phase == 1 ->
#else
  :: phase == 1 && !OPEN(cut_inode[me]) ->
#endif
       if
       :: if
          :: cut_inode[me] != 0 -> completed(id)
          :: else -> zeros = zeros & ~BIT(id)             /* not_found: nothing was done */
          fi;
          forget_operation(); goto next
       :: FAULT_LEFT -> faults++; phase = 0               /* the reply is lost: again */
       fi
  :: FAULT_LEFT -> faults++; forget_operation(); goto next /* the deadline */
#ifdef M_RETRY_NO_WAIT
  :: phase == 1 && OPEN(cut_inode[me]) && FAULT_LEFT -> faults++; phase = 2
  :: phase == 2 -> completed(id); forget_operation(); goto next
#endif
  fi };
  goto cut_name;

stop:
  skip
}

proctype world() {
  byte i, verdict;
end:
  do
  /* fences on their way */
  :: atomic { owed[1] != 0 -> i = 1; goto send_fence }
  :: atomic { owed[2] != 0 -> i = 2; goto send_fence }
  :: atomic { owed[3] != 0 -> i = 3; goto send_fence }
  :: atomic { lf_gen != 0 -> apply_fence(lf_inode, lf_gen); lf_inode = 0; lf_gen = 0 }
  /* the lease has surely ended: go on without the server */
#ifdef M_NO_LEASE_WAIT
  :: atomic { OPEN(1) -> settled[1] = 1 }
  :: atomic { OPEN(2) -> settled[2] = 1 }
  :: atomic { OPEN(3) -> settled[3] = 1 }
#elif defined(M_INTENT_DROPPED)
  :: atomic { OPEN(1) && !lease -> owed[1] = 0 }
  :: atomic { OPEN(2) && !lease -> owed[2] = 0 }
  :: atomic { OPEN(3) && !lease -> owed[3] = 0 }
#else
  :: atomic { OPEN(1) && !lease -> settled[1] = 1 }
  :: atomic { OPEN(2) && !lease -> settled[2] = 1 }
  :: atomic { OPEN(3) && !lease -> settled[3] = 1 }
#endif
  /* registration hands over every fence still owed, before the first request is served */
  :: atomic { !lease ->
#ifndef M_REGISTER_WITHOUT_FENCES
       if :: owed[1] != 0 -> apply_fence(1, owed[1]) :: else -> skip fi;
       if :: owed[2] != 0 -> apply_fence(2, owed[2]) :: else -> skip fi;
       if :: owed[3] != 0 -> apply_fence(3, owed[3]) :: else -> skip fi;
#endif
       lease = 1 }
  /* copies left behind by broken sessions */
  :: atomic { lw_stage[0] != 0 && lease -> i = 0; goto late_write }
  :: atomic { lw_stage[1] != 0 && lease -> i = 1; goto late_write }
  :: atomic { lc_kind[0] != 0 && (!ANY_OPEN || lc_kind[0] == CREATE && !NAME_WAITS) -> i = 0; goto late_name }
  :: atomic { lc_kind[1] != 0 && (!ANY_OPEN || lc_kind[1] == CREATE && !NAME_WAITS) -> i = 1; goto late_name }
  /* faults */
  :: atomic { FAULT_LEFT && lease -> faults++; lease = 0 }                     /* lapse */
  :: atomic { FAULT_LEFT -> faults++;                                          /* server restarts */
       lease = 0; begun[0] = 0; begun[1] = 0; write_low[0] = 0; write_low[1] = 0;
       lw_stage[0] = 0; lw_stage[1] = 0; lf_inode = 0; lf_gen = 0 }
  :: atomic { FAULT_LEFT -> faults++;                                          /* controller restarts */
       settled[1] = 0; settled[2] = 0; settled[3] = 0;
       cut_low[0] = 0; cut_low[1] = 0; create_low[0] = 0; create_low[1] = 0;
       lc_kind[0] = 0; lc_kind[1] = 0 }
  od;

send_fence:
  atomic {
    if
    :: apply_fence(i, owed[i]);
       if
       :: owed[i] = 0; settled[i] = 0
       :: FAULT_LEFT -> faults++                          /* the answer is lost: again */
       fi
    :: FAULT_LEFT && lf_gen == 0 -> faults++; lf_inode = i; lf_gen = owed[i]
    fi;
    i = 0; goto end
  }

late_write:
  atomic {
    if
    :: lw_stage[i] == 1 ->
       judge(i, lw_id[i], lw_inode[i], lw_gen[i]);
       if
       :: verdict == GO -> lw_stage[i] = 2
       :: else -> lw_stage[i] = 0
       fi
    :: else ->
       commit(i, lw_id[i], lw_inode[i], lw_gen[i]);
       lw_stage[i] = 0
    fi;
    if
    :: lw_stage[i] == 0 -> lw_id[i] = 0; lw_inode[i] = 0; lw_gen[i] = 0
    :: else -> skip
    fi;
    verdict = 0; i = 0; goto end
  }

late_name:
  atomic {
    if
    :: lc_kind[i] == CREATE -> create(i, lc_tag[i])
    :: else -> cut(i, lc_kind[i], lc_tag[i])
    fi;
    lc_kind[i] = 0; lc_tag[i] = 0; i = 0; goto end
  }
}

init {
  atomic { run client(0); run client(1); run world() }
}
