"""The tokenizer of the project's pipeline, where it has one: the model then reads the same words."""

from __future__ import annotations

import logging
from typing import List, Optional, Tuple

from rasa.engine.graph import ExecutionContext
from rasa.nlu.tokenizers.tokenizer import Tokenizer
from rasa.nlu.tokenizers.whitespace_tokenizer import WhitespaceTokenizer
from rasa.shared.nlu.constants import TEXT
from rasa.shared.nlu.training_data.message import Message

from rasa_hybrid.dialogue.normalise import Splitter

logger = logging.getLogger(__name__)


def splitter_of(execution_context: ExecutionContext) -> Optional[Splitter]:
    """What splits texts as the pipeline's tokenizer does; None to split by our own rules.

    `WhitespaceTokenizer` splits as our own rules do but for punctuation, so ours are kept. Tokenizers that need more
    than the text (a spaCy document) can't be used apart from their pipeline.
    """
    for node in execution_context.graph_schema.nodes.values():
        if (
            not (isinstance(node.uses, type) and issubclass(node.uses, Tokenizer))
            or node.uses is WhitespaceTokenizer
        ):
            continue
        try:
            defaults = node.uses.get_default_config()  # type: ignore[attr-defined]
            tokenizer = node.uses({**defaults, **node.config})
            tokenizer.tokenize(Message({TEXT: "a test"}), TEXT)
        except Exception as error:  # any tokenizer, any reason: the stock behaviour is the way back
            logger.warning(
                f"{node.uses.__name__} can't be used by HybridPolicy ({error}): words are split by its own rules."
            )
            return None

        def split(text: str, tokenizer: Tokenizer = tokenizer) -> List[Tuple[int, int]]:
            return [
                (token.start, token.end)
                for token in tokenizer.tokenize(Message({TEXT: text}), TEXT)
            ]

        return split
    return None
