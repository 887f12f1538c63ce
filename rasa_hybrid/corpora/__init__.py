"""Files of others and ours <-> `Dialogue`."""
from rasa_hybrid.corpora.jsonl import CorpusError, read_jsonl, write_jsonl

__all__ = ["CorpusError", "read_jsonl", "write_jsonl"]
