"""Views of an execution's events: AWS's history, process logs, drawings, outlines. Pure functions.

One fold (`handlers.follow`) makes a neutral `Timeline` of them: the visits of states, and an entry for each thing that
happened. The vocabulary of Step Functions (`states_history`) and the steps of a log (`condensed`) are both derived from
that, so that a new event type adds one handler to the fold and not another reader of the log.
"""

from perdure.engine.history.drawing import mermaid_run
from perdure.engine.history.logs import condensed, event_log
from perdure.engine.history.outline import outline
from perdure.engine.history.schemas import schema_of
from perdure.engine.history.states import states_history

__all__ = ["condensed", "event_log", "mermaid_run", "outline", "schema_of", "states_history"]
