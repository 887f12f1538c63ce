"""The private parts of Rasa that we touch, all of them, installed only on the version they were written for.

`rasa train core` makes a graph without NLU data, and the policy's argument `training_data` would have no provider. The
recipe then leaves that argument out; on another version of Rasa it fails as stock Rasa does.
"""

from __future__ import annotations

import functools
import inspect
import logging
from typing import Any, Dict, Type

import rasa
from rasa.engine.graph import GraphComponent
from rasa.engine.recipes.default_recipe import DefaultV1Recipe

logger = logging.getLogger(__name__)

#: The version whose private parts these are.
RASA_VERSION = "3.6.21"
_MARK = "_rasa_hybrid"


def install(policy: Type[GraphComponent]) -> None:
    """Lets a policy that asks for NLU data be trained without any.

    Args:
        policy: the class whose `training_data` is optional.
    """
    original = getattr(DefaultV1Recipe, "_get_needs_from_args", None)
    if getattr(original, _MARK, False):
        return
    expected = ["self", "component", "fn_name"]
    if (
        rasa.__version__ != RASA_VERSION
        or original is None
        or list(inspect.signature(original).parameters) != expected
    ):
        logger.warning(
            f"rasa_hybrid was written for Rasa {RASA_VERSION}, this is {rasa.__version__}: "
            "`rasa train core` may fail, everything else works as it does in Rasa."
        )
        return

    @functools.wraps(original)
    def needs_without_missing_nlu_data(
        self: DefaultV1Recipe, component: Type[GraphComponent], fn_name: str
    ) -> Dict[str, str]:
        needs = original(self, component, fn_name)
        if (
            fn_name == "train"
            and isinstance(component, type)
            and issubclass(component, policy)
            and not _uses_nlu(self)
        ):
            needs.pop("training_data", None)
        return needs

    setattr(needs_without_missing_nlu_data, _MARK, True)
    DefaultV1Recipe._get_needs_from_args = needs_without_missing_nlu_data


def _uses_nlu(recipe: Any) -> bool:
    return bool(getattr(recipe, "_use_nlu", True))
