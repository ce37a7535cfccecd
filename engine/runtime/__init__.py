"""The driver: it sees the world (clock, randomness, store, steps) and feeds the pure core.

The way of a command
====================

Everything that changes a stream is a *command*, and goes through one `Processor`, on one event loop, one decision after
another. A `CommandRequest` is a command on its way: which stream it is about, who sent it, what it claims (a process
id, an idempotency key), and a future for the reply, if anybody listens. Requests come from outside (a service such as
`Runs`, called by a dialect of the API or by an embedding program) and from inside: tasks that ended, timers that came
due, children, a recovery. The states of a request:

                      QUEUED <---------------------------------------+
                        |                                            |
          +-------------+---------------+                            |
          v             v               v                            |
      DEFERRED      DECIDING         LOADING ----------------------->+
          |          |  |  |                                         |
          |          |  |  +--------> DETOUR ----------------------->+
          |          |  v                                            |
          |          | BATCHED                                       |
          |          |  |                                            |
          |          |  v                                            |
          |          | COMMITTING --- its stream was refused ------->+
          |          |  |   |                                        |
          |          |  |   +-------> PUT OFF ---------------------->+
          v          v  v
         LOST      TOLD, DENIED                 FAILED (from anywhere)

    to         from        when
    QUEUED     outside     `submit` and `post` take it in. They raise at once if the engine has stopped; of requests
                           from outside also while it drains, while 10,000 are under way, and while a commit stalls
               PUT OFF     a second later
    DEFERRED   QUEUED      it claims what a request in a batch claims that is not yet on disk (`_is_held_back`)
    LOADING    QUEUED      its stream is not in memory, and it does not begin one; read together with others
    DECIDING   QUEUED      at its turn: `_pump` takes 64 at once, as long as the open batch is not full
    DETOUR     DECIDING    the quotas in force for its workflow are not known, and are read; or the answer is `Need`:
                           payloads or ends of waits are read, or a decision that takes more
                           than 20 ms is made in a thread. That one holds if the stream has not moved meanwhile
    QUEUED     LOADING,    before all others: what they waited for is there
               DETOUR
    BATCHED    DECIDING    there are events or claims; or there are none, but the state it was decided from is not yet
                           on disk: then it waits for the same batch as that (`_record`, `_conclude`)
    COMMITTING BATCHED     no other batch is (`GroupCommit.begin`): the next one is opened
    TOLD,      DECIDING    nothing is to be written, and all that it read is on disk
    DENIED     COMMITTING  the batch is on disk; then its effects are run
               LOADING     there is no such stream (DENIED)
    LOST       DEFERRED,   another request has what it claims: whoever sent it looks up what is there
               COMMITTING
    QUEUED     COMMITTING, the stream was refused: its head was another, or another request about it lost a claim. So
               BATCHED,    are those in the open batch that read from it, and those that waited for its claim
               DEFERRED
    PUT OFF    COMMITTING, the store did not serve, and wrote nothing; and the request is from inside. With it go those
               LOADING,    in the open batch that read from the same streams
               DETOUR
    FAILED     the same    and it is from outside: 503
               QUEUED      the key that it was sent with has ended: 401
               DECIDING    it raised, a defect of ours: 503, and the execution is set aside (`Failures.not_decided`)
               any         the fate of a commit is unknown: 503 for all, and the engine stops (`stop`)

The order in which things happen
--------------------------------

1. **Append first.** An answer, also a refusal and a no-op, is told only when the last batch that its decision read
   from is on disk: "already restarted", told from a state that a crash takes back, would be a lie. Effects (a step
   that is called, a timer that is set, a child that is started) come after the same commit, and after the answer.
2. **Decide while the store commits.** A state in memory may be ahead of the disk, by the batch that is being
   committed and by the open one. `HotStream` has both: `state` is as decided, `head` and `stored` as on disk. There
   is never more than one commit under way; when it ends, the next batch is handed over first, then the answers of the
   one that is done are told.
3. **What can fail comes first.** Events are encoded and rows are made before the state moves, so after an error
   nothing has changed.
4. **Claims.** Of two requests that claim the same process id or idempotency key the first has it. The other waits for
   the fate of the batch that the first is in, and whoever sent it looks up what is there then.
5. **A refused stream** was moved by another writer. What was decided from it, in this batch and in the open one, is
   forgotten; the stream is read again, and the requests are decided again, with the same ids and random bytes.
6. **A commit of unknown fate** stops the process: nothing more is told, no effect is run. The next start reads back
   what is on disk.
7. **A stall.** While a commit takes longer than `commit_stall_ms` nothing from outside is taken in; those outside who
   wait are told that the outcome is not known, and what was decided goes on by itself when the store answers.

After a start everything that was under way is taken up: `Recovery` lists what was alive before anything new comes in,
and sends each of them `Recover`. What only waits (for an answer, for an instant) is rows on disk and nothing in memory:
`Timers` looks for what is due.

Reads never go through the processor: `Queries` and `EventLog` ask the store, which shows what is committed.
"""
