"""A machine run as simply as it can be: no events, no time, one iteration after the other, tasks as recorded.

It proves what compiled states compute, without the engine; how states are run, retried and interleaved is the engine's.
"""

import types

from perdure.engine.language import Environment, StatesError, context_object
from perdure.engine.language.values import MISSING


class Failed(Exception):
    """A machine has failed."""

    def __init__(self, error, cause):
        super().__init__(error, cause)
        self.error = error
        self.cause = cause


class Variables:
    """The variables of one machine, inside those around it."""

    def __init__(self, outer=None):
        self.own = {}
        self.outer = outer

    def get(self, name):
        if name in self.own:
            return self.own[name]
        return self.outer.get(name) if self.outer else MISSING


class Interpreter:
    """Runs one recorded case; `asked` collects what each task was called with."""

    def __init__(self, case, asked):
        self.asked = asked
        self.waiting = list(case["task_results"])
        names = case["context"]
        arn, machine = f"arn:aws:states:{names['region']}:{names['account']}", names["state_machine_name"]
        self.execution = {
            "Id": f"{arn}:execution:{machine}:{names['execution_name']}",
            "Input": case["input"],
            "Name": names["execution_name"],
            "RoleArn": names.get("role_arn"),
            "StartTime": "2024-01-01T00:00:00.000Z",
            "RedriveCount": 0,
        }
        self.machine = {"Id": f"{arn}:stateMachine:{machine}", "Name": machine}

    def run(self, machine, value, variables, way=(), item=None):
        """Run a machine to its end. `way` tells the iterations around it, `item` the innermost one."""
        following = machine.start_at
        while following is not None:
            state = machine.states[following]
            value, assigned, following = self.visit(state, value, variables, way, item)
            variables.own.update(assigned)
        return value

    def visit(self, state, value, variables, way, item):
        done = [0] * len(getattr(state, "retriers", ()))
        attempt = 0
        while True:
            env = self.environment(state, value, variables, item, attempt)
            try:
                return self.attempt(state, env, variables, way, attempt)
            except (StatesError, Failed) as failure:
                retrier = next(
                    (i for i, r in enumerate(getattr(state, "retriers", ())) if r.matches(failure.error)), None
                )
                if retrier is not None and done[retrier] < state.retriers[retrier].attempts_max:
                    assert state.retriers[retrier].delay_ms(done[retrier], lambda: 0.5) >= 0
                    done[retrier] += 1
                    attempt += 1
                    continue
                catcher = next((c for c in getattr(state, "catchers", ()) if c.matches(failure.error)), None)
                if catcher is None:
                    raise
                told = {"Error": failure.error, "Cause": failure.cause}
                return (*catcher.leave(told, env), catcher.next)

    def environment(self, state, value, variables, item, attempt):
        def context():
            at = {"EnteredTime": "2024-01-01T00:00:00.000Z", "Name": state.name}
            if state.type in ("Task", "Parallel", "Map"):
                at["RetryCount"] = attempt
            made = context_object(execution=self.execution, state=at, state_machine=self.machine)
            if getattr(getattr(state, "resource", None), "pattern", ""):
                made["Task"] = {"Token": "token"}
            if item is not None:
                made["Map"] = {"Item": item}
            return made

        evaluation = types.SimpleNamespace(
            now_ms=1_704_067_200_000,
            expression_timeout_s=None,
            context=context,
            variable=variables.get,
            random_bytes=lambda count: bytes(range(count)),
        )
        return Environment(evaluation, value)

    def attempt(self, state, env, variables, way, attempt):
        if state.type == "Fail":
            raise Failed(*state.failure(env))
        if state.type == "Choice":
            chosen = state.choose(env)
            return chosen.output, chosen.assigned, chosen.next
        arguments = state.arguments(env)
        result = getattr(self, state.type.lower())(state, arguments, env, variables, way, attempt)
        return (*state.leave(result, env), state.next)

    def succeed(self, _state, arguments, *_rest):
        return arguments

    def wait(self, state, arguments, env, *_rest):
        assert state.due_ms(env, 0) >= 0
        return arguments

    def __getattr__(self, name):  # `pass` is no name in Python
        if name == "pass":
            return lambda state, arguments, env, *_rest: state.result(arguments, env)
        raise AttributeError(name)

    def task(self, state, arguments, env, _variables, way, attempt):
        assert state.timeout_ms(env, arguments) != 0
        assert state.heartbeat_ms(env, arguments) != 0
        wanted = state.name, way, attempt

        def key(record):
            at = tuple((i["map"], i["index"]) for i in record.get("iteration") or ())
            return record["state"], at, record.get("attempt", 0)

        record = next((r for r in self.waiting if key(r) == wanted), None)
        record = record or next(r for r in self.waiting if r["state"] == state.name)
        self.waiting.remove(record)
        self.asked.append((record, arguments))
        if record["outcome"] == "succeeded":
            return record.get("output")
        error = "States.Timeout" if record["outcome"] == "timed_out" else record.get("error")
        raise Failed(error, record.get("cause"))

    def parallel(self, state, arguments, _env, variables, way, _attempt):
        return [self.run(branch, arguments, Variables(variables), way) for branch in state.branches]

    def map(self, state, arguments, env, variables, way, _attempt):
        items = state.items(arguments, env)
        assert state.concurrency(env, arguments) >= 0
        may_fail, outputs = state.tolerance(len(items), env, arguments), []
        for index, value in enumerate(items):
            item = {"Index": index, "Value": value}
            inside = self.environment(state, env.input, variables, item, 0)
            try:
                given = state.item_input(value, inside)
                at = (*way, (state.name, index))
                outputs.append(self.run(state.processor, given, Variables(variables), at, item))
            except (Failed, StatesError):
                if may_fail == 0:
                    raise
                may_fail -= 1
        return outputs
