"""A Rasa bot on one joint model that learns from the people who use it."""

from typing import Any

__version__ = "0.1.0"

_EXPORTS = {
    "FeedbackChannel": "rasa_hybrid.components.channel",
    "HybridNLU": "rasa_hybrid.components.nlu",
    "HybridPolicy": "rasa_hybrid.components.policy",
    "TaughtDataImporter": "rasa_hybrid.components.importer",
}

__all__ = ["FeedbackChannel", "HybridNLU", "HybridPolicy", "TaughtDataImporter", "__version__"]


def __getattr__(name: str) -> Any:
    """Loads the Rasa components on first use: `import rasa_hybrid.dialogue` imports neither Rasa nor TensorFlow."""
    if name in _EXPORTS:
        from importlib import import_module

        return getattr(import_module(_EXPORTS[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
