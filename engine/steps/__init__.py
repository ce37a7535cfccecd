"""Steps: what Task states call. The registry, how a step is called, and the built-in ones."""

from engine.steps.registry import Registry, Step, StepContext, StepFailed, load_registry

__all__ = ["Registry", "Step", "StepContext", "StepFailed", "load_registry"]
