"""Reads a JSON file of a public corpus, so that every reader complains about a bad one in the same words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Union

from rasa_hybrid.corpora.jsonl import CorpusError


def read_json(path: Union[str, Path]) -> Any:
    """The content of a JSON file.

    Raises:
        CorpusError: if the file can't be opened, is not UTF-8, not JSON or nested too deeply; names the file and the line.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise CorpusError(f"{path}: the corpus can't be opened ({error.strerror}).") from error
    except UnicodeDecodeError as error:
        raise CorpusError(f"{path}: not UTF-8 text (byte {error.start}).") from error
    except json.JSONDecodeError as error:
        raise CorpusError(f"{path}:{error.lineno}: broken JSON ({error}).") from error
    except RecursionError:
        raise CorpusError(f"{path}: lists or objects are nested too deeply.") from None
