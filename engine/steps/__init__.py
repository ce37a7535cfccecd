"""Steps, which Task states call: the registry, the calling convention (`invoke`), and built-in steps."""

from perdure.engine.steps.registry import Registry, Step, StepContext, StepFailed, load_registry

__all__ = ["Registry", "Step", "StepContext", "StepFailed", "load_registry"]
