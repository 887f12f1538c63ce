"""Files of others and ours <-> `Dialogue`."""

from rasa_hybrid.corpora.dstc2 import read_dstc2
from rasa_hybrid.corpora.jsonl import CorpusError, read_jsonl, write_jsonl
from rasa_hybrid.corpora.m2m import read_m2m

__all__ = ["CorpusError", "read_dstc2", "read_jsonl", "read_m2m", "write_jsonl"]
