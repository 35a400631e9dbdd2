"""Trained bundles in MLflow: registered, promoted, rolled back, loaded through a local cache.

`MlflowRegistry` implements `pla.ports.ModelRegistry`. Importing it is cheap: MLflow itself, which
takes seconds, is imported by the first call that needs it.
"""

from pla.registry.champion import Promotion
from pla.registry.mlflow_registry import MlflowRegistry
from pla.registry.registration import DataRange

__all__ = ["DataRange", "MlflowRegistry", "Promotion"]
