"""What the events of an execution tell: the history of Step Functions, logs, outlines, pictures."""

from perdure.engine.history import condensed, event_log, mermaid_run, outline, schema_of, states_history

__all__ = ["condensed", "event_log", "mermaid_run", "outline", "schema_of", "states_history"]
