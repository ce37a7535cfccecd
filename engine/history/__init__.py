"""What an execution's events tell, in the words of whoever asks: pure functions over recorded events.

One fold (`visits.follow`) makes of them a neutral course: the visits of states, and the moments of each. The
vocabulary of Step Functions (`states_history`) and the steps of a log (`condensed`) are both read from that,
so that a new kind of event adds a row to the fold and not another reader of the log.
"""

from perdure.engine.history.drawing import mermaid_run
from perdure.engine.history.logs import condensed, event_log
from perdure.engine.history.outline import outline
from perdure.engine.history.schemas import schema_of
from perdure.engine.history.states import states_history

__all__ = ["condensed", "event_log", "mermaid_run", "outline", "schema_of", "states_history"]
