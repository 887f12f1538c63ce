"""The dialogues that `corpus` of the policy names: files, some of which the project's simulator makes on first use."""

from __future__ import annotations

import logging
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional, Sequence, Tuple

from rasa.shared.exceptions import InvalidConfigException

logger = logging.getLogger(__name__)

ALLOWED = (
    "a path of a JSONL file, or a list of paths and of mappings "
    "{path: FILE, simulate: DIALOGUES, surface: train, seed: 0}"
)


@dataclass(frozen=True)
class CorpusFile:
    """A file of dialogues.

    Args:
        path: of the JSONL file.
        simulate: dialogues that the project's simulator makes if there is no such file; None: it has to be there.
        surface: forms that the simulated users speak in.
        seed: of the simulation.
    """

    path: str
    simulate: Optional[int] = None
    surface: str = "train"
    seed: int = 0


def corpus_files(value: Any) -> Tuple[CorpusFile, ...]:
    """The files of a value of `corpus`.

    Raises:
        ValueError: if it is something else; says what is allowed.
    """
    entries = [value] if isinstance(value, str) else value or []
    if not isinstance(entries, (list, tuple)):
        raise ValueError(ALLOWED)
    files = []
    for entry in entries:
        entry = {"path": entry} if isinstance(entry, str) else entry
        kinds = {"path": str, "simulate": int, "surface": str, "seed": int}
        if not (
            isinstance(entry, dict)
            and "path" in entry
            and all(type(entry[key]) is kinds.get(key) for key in entry)
            and entry.get("simulate", 1) > 0
            and entry.get("seed", 0) >= 0
        ):
            raise ValueError(ALLOWED)
        files.append(CorpusFile(**entry))
    return tuple(files)


def make_missing(files: Sequence[CorpusFile]) -> None:
    """Simulates the files that say how and are not there; whole or not at all.

    Raises:
        InvalidConfigException: if the project's simulator does not work.
    """
    from rasa_hybrid.corpora import write_jsonl
    from rasa_hybrid.simulation import SimulatorError, load_simulator, self_play

    for file in files:
        if file.simulate is None or os.path.exists(file.path):
            continue
        logger.info(f"HybridPolicy: simulating {file.simulate} dialogues into {file.path}.")
        folder = Path(file.path).parent
        folder.mkdir(parents=True, exist_ok=True)
        try:
            simulator = load_simulator(".", file.surface)
            with tempfile.TemporaryDirectory(dir=folder) as temporary:
                made = Path(temporary) / "corpus.jsonl"
                write_jsonl(made, self_play(simulator, file.simulate, file.seed))
                os.replace(made, file.path)
        except (SimulatorError, OSError) as error:
            raise InvalidConfigException(
                f"HybridPolicy: corpus: {file.path} can't be simulated: {error}"
            ) from error
