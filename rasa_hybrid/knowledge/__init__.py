"""Knowledge bases: the query of a turn, the result queue, and what the policy sees of it (`E_k`)."""

from rasa_hybrid.knowledge.base import KnowledgeBase, KnowledgeBaseError, KnowledgeBaseUnavailable
from rasa_hybrid.knowledge.configuration import knowledge_base_from_config
from rasa_hybrid.knowledge.guard import GuardedKnowledgeBase, QueryResult
from rasa_hybrid.knowledge.memory import InMemoryKnowledgeBase
from rasa_hybrid.knowledge.results import choices, next_offer, summary
from rasa_hybrid.knowledge.sql import SqlKnowledgeBase

__all__ = [
    "GuardedKnowledgeBase",
    "InMemoryKnowledgeBase",
    "KnowledgeBase",
    "KnowledgeBaseError",
    "KnowledgeBaseUnavailable",
    "QueryResult",
    "SqlKnowledgeBase",
    "choices",
    "knowledge_base_from_config",
    "next_offer",
    "summary",
]
