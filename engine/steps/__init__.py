"""Steps: what Task states call. `registry` has them, `invoke` is how one is called, `builtin` ours."""

from perdure.engine.steps.registry import Registry, Step, StepContext, StepFailed, load_registry

__all__ = ["Registry", "Step", "StepContext", "StepFailed", "load_registry"]
