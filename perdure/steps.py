"""Steps: the functions that Task states call. Register yours in a `Registry`, and give it to `Engine.open`."""

from perdure.engine.steps import Registry, Step, StepContext, StepFailed, load_registry

__all__ = ["Registry", "Step", "StepContext", "StepFailed", "load_registry"]
