"""The pure core: the state, events, commands and rules of an execution. No clock, randomness, I/O or SQL.

Theory of operation
===================

Three functions, and nothing else knows a rule of an execution:

    decide(state, command, facts) -> Decision | Rejection | Need       what is to happen, and the answer
    evolve(state, recorded) -> State                                   one event's change
    initial_state() -> State                                           before the first event

An execution is a stream of events, and its state is the fold of `evolve` over them. `decide` makes the events, and it
alone computes: it evaluates paths and expressions, draws ids, reads the time that it is given. What comes of that
stands in the events. `evolve` copies from them, and computes, validates and reads nothing. So replay runs nobody's
code: a step that was changed, a new library, an expression that means something else today, cannot change what has
happened.

A `Decision` is data with an order: append `steps` (the events, each with the state after it), then give `answer`, then
run `effects`. The driver must never turn that round; an effect whose events a crash takes back would be
work that nobody asked for. A `Rejection` is a refusal as a value; the events that record it stand in its
own `steps`. What is raised is a defect of ours or a damaged log, never a caller's fault.

`decide` is deterministic: the same state, command and facts give the same answer. Randomness is a fact, too: `new_id`
and `random_bytes` give the same values in the same order when they are asked again, so a decision may be made twice.

The words
---------

**Frame.** One place of control: the name of a state, a reference to its input, and a phase. An execution has one frame,
or more while a Parallel or Map state is in progress.

**Scope.** The name of a frame: "" is the top level of the definition; `SEQ.INDEX` is the branch or iteration INDEX of
the Parallel or Map state that was entered by event SEQ. No seq is used twice, so no scope ever comes back, and a late
message for one that is gone finds nothing.

**Fork.** A Parallel or Map state that was entered, named by the seq of its event. It counts: how many branches or
iterations there are to be, how many have begun, which are live, what those that ended gave. It is *settled* when
nothing below it decides its result any more: all have ended, or one failure too many has happened. The frame of the
state itself stays, in the phase `InFork`, until then.

**Phase.** What a frame waits for: `InTask` (a step or a child), `InWait` (an answer from outside), `InTimer` (a Wait
state), `InRetry` (the delay before another attempt), `InFork`. A frame without a phase waits for nothing: it is
*ready*, about to enter its state. `State.ready` lists those in the order of their turns. A timer is named by the seq of
the event that set it, and dies with the phase that holds it; the one of the whole execution is named 1.

**Ref.** Business data stands once, in the payload of the event that brought it. State and later events point there, by
`SEQ/POINTER`. A value that a state passes on unchanged is not written again: whether it is unchanged is decided by
identity of the object, so equal values may stand twice, and nothing rests on that. (So a payload can be erased, and the
stream still folds to the same state.)

**Need.** State holds references, so a decision may want a payload that is not at hand. Then it is given up, with
nothing said, and the answer is `Need(seqs)`: load them, and decide again with all else the same. `Need(waits)` asks
likewise how a wait ended that the state no longer knows; `Need(is_slow)` asks to be decided in a thread, without a time
limit.

The order of a decision
-----------------------

A command does its own part first (a task's result leaves its state, an answer ends its wait, a timer fires), then
`advance` goes on until every frame is in a phase, move by move. The next move is always the first of these that there
is:

    1. end the first settled fork       so that what is cancelled does not go on
    2. begin a Map's next iteration     unless 40 frames are ready: not far ahead of their states
    3. enter the first ready frame      those that come later go to the end, so all scopes have their turn

After 256 moves, or when its time is up, it stops with the effect `Continue`: a loop must not keep the others waiting.
Before every move, a run that has as many events as any may have is ended.

Whatever emits an event computes first, so that an error leaves nothing half said. A result from outside is recorded
whether or not the state can be left with it: if its output cannot be computed, that is null, and the failure is the
next event. What the driver does later is taken back within a decision, too: the effects of a task that was given up
before the decision ended are left out of it.

Instants never fall within a stream: an event is recorded at the later of now and the event before it. But deadlines are
counted from now, so a clock that was ahead for a moment puts nothing off.

A run, worked through
---------------------

A machine that charges and asks at once (`tests/engine/core/test_theory.py` runs this, and holds the text to it):

    {"StartAt": "Both", "States": {
        "Both": {"Type": "Parallel", "Next": "Booked", "Branches": [
            {"StartAt": "Charge", "States": {"Charge": {"Type": "Task", "Resource": "charge", "End": true}}},
            {"StartAt": "Ask", "States": {"Ask": {"Type": "Task", "Resource": "wait_for_resume", "End": true}}}]},
        "Booked": {"Type": "Succeed"}}}

What each command gives: the events with the seq that caused each (`<-`), the members that matter here, and what is in
the payload; then the state after them.

    Trigger
        1 ExecutionStarted: start_at=Both input=1/input
            payload {"input":{"amount":120}}
        2 BranchesStarted <- 1: start_at=["Charge","Ask"] state=Both input=1/input
        3 TaskScheduled <- 2: state=Charge parameters=1/input scope=2.0
        4 WaitOpened <- 3: state=Ask wait=W parameters=1/input scope=2.1
        answer E
        effect RunTask 2.0
        = running, "" Both InFork 2, "2.0" Charge InTask 3, "2.1" Ask InWait 4
    CompleteTask
        5 TaskSucceeded <- 3: state=Charge result=5/result output=5/result scope=2.0
            payload {"result":{"charged":120}}
        = waiting, "" Both InFork 2, "2.1" Ask InWait 4
    Resume
        Need(seqs=(1,))
    Resume, with the payload of 1
        Need(seqs=(5,))
    Resume, with the payloads of 1 and 5
        6 WaitResumed <- 4: state=Ask wait=W result=6/result output=6/result scope=2.1
            payload {"result":{"ok":true}}
        7 StateExited <- 2: state=Both type=Parallel result=7/result output=7/result next=Booked
            payload {"result":[{"charged":120},{"ok":true}]}
        8 StatePassed <- 7: state=Booked type=Succeed output=7/result
        9 ExecutionSucceeded <- 8: output=7/result
        answer restarted
        = completed

The trigger emits event 1; then `advance` enters Both, which makes the fork 2 and two ready frames, and enters those,
one after the other. Charge asks for its step to be called, as an effect. Ask opens a wait and needs nobody: were there
no task beside it, the execution would be `waiting`.

The result of the step ends the branch 2.0: its frame goes, its output is kept in the fork, as a reference. Now there is
nothing but an open wait.

The resume is decided three times here. With no payload loaded it needs the input. With that, it ends the branch 2.1 by
event 6, which settles the fork; to leave Both it needs what Charge gave, which no state holds: the answer is `Need`,
and event 6 has never been said. With both it goes all the way: `StateExited` has the outputs in the order of the
branches, Booked passes them on (its output is the very value 7/result), and the top level ends, and with it the
execution.

Where to look: `state` (all of the words above), `transitions` (which event may follow in which status), `events` (and
`vocabulary`, which names all modules of events), `decide` (a module for each group of commands, and `enter`, `leave`,
`fail`, `fork`, `hold` for what they share), `evolve` (with `frames`, `calls`, `forks`, `places`, `remains`, which keeps
what a redrive goes on with, and `chances`), `refs`, `numbering` (what AWS's history would have come to), `upcast`
(versions of events) and `dispatch` (all tables of functions by type: an event, command or effect without a row is an
error on import). `workflow` and `organization` are two small streams with rules of their own, in the same form.
"""
