"""The errors of the definition language.

    DefinitionError      a definition that cannot be compiled; carries every Problem
    StatesError          an error that the States Language names, met while a state runs
    TooSlow              an expression that must be evaluated where it holds nobody up

``Problem`` is a value, not an exception: a definition usually has several, and all are told at once.
"""

from typing import Final

import msgspec

# The reserved error names that this package raises or matches (States Language spec, appendix A).
ALL: Final = "States.ALL"
TASK_FAILED: Final = "States.TaskFailed"
TIMEOUT: Final = "States.Timeout"
HEARTBEAT_TIMEOUT: Final = "States.HeartbeatTimeout"
DATA_LIMIT_EXCEEDED: Final = "States.DataLimitExceeded"
QUERY_EVALUATION_ERROR: Final = "States.QueryEvaluationError"
INTRINSIC_FAILURE: Final = "States.IntrinsicFailure"
RUNTIME: Final = "States.Runtime"
RESULT_PATH_MATCH_FAILURE: Final = "States.ResultPathMatchFailure"
NO_CHOICE_MATCHED: Final = "States.NoChoiceMatched"

# Where the spec and the service disagree. The spec names an error of its own for each, but the service is recorded to
# report States.Runtime for the first, which nothing catches. It has been seen to do so for the second too, and to say
# States.ReferencePathConflict of the third; there we follow the spec until a recorded case settles it.
ABSENT_PARAMETER: Final = RUNTIME
NO_CHOICE: Final = NO_CHOICE_MATCHED
RESULT_PATH_CONFLICT: Final = RESULT_PATH_MATCH_FAILURE


class Problem(msgspec.Struct, frozen=True):
    """One thing that is wrong, or unwise, in a definition.

    Attributes:
        path: JSON Pointer (RFC 6901) to the place in the definition; "" is the whole of it.
        message: What is wrong there, in one sentence for the author of the definition.
    """

    path: str
    message: str


class DefinitionError(ValueError):
    """A definition that cannot be compiled.

    Attributes:
        problems: Everything that is wrong with it, in document order; never empty.
    """

    def __init__(self, problems: list[Problem]) -> None:
        """Keep all problems; the first one is the exception's text."""
        first = problems[0]
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        super().__init__(f"{first.path or 'definition'}: {first.message}{more}")
        self.problems = problems


class TooSlow(Exception):
    """An expression takes longer than whoever evaluates it can wait (`World.patience_s`): evaluate it elsewhere."""


class StatesError(Exception):
    """A runtime error of the States Language.

    AWS puts "An error occurred while executing the state 'NAME' (entered at the event id #N). " before
    the cause. Whoever knows the event adds that; ``cause`` holds the rest.

    Attributes:
        error: The error name, for example ``States.Runtime``.
        cause: What happened, in words for a human.
    """

    def __init__(self, error: str, cause: str) -> None:
        """Keep the name and the cause."""
        super().__init__(f"{error}: {cause}")
        self.error = error
        self.cause = cause


class TooLarge(StatesError):
    """Something that a state makes is larger than a run may hold; `cause` is the whole of it, as AWS words it."""

    def __init__(self, what: str) -> None:
        """Say whose result it is: a state's name, or a task's resource."""
        excess = "a result with a size exceeding the maximum number of bytes service limit"
        super().__init__(DATA_LIMIT_EXCEEDED, f"The state/task '{what}' returned {excess}.")


class RunTooLarge(TooLarge):
    """With what a state makes, all values that a run holds at once are larger than they may be together."""

    def __init__(self, state: str, limit: int) -> None:
        """Say which state it was, and how much a run may hold."""
        super().__init__(state)
        self.cause = (
            f"The state '{state}' would make the run hold more than {limit} bytes of JSON text at once: the inputs, "
            "parameters and variables of all that is under way count together, each copy for itself."
        )
