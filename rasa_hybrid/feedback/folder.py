"""The learner's folder: which archives and optimiser states are kept in it, and which archive is the newest for servers."""

from __future__ import annotations

import fcntl
import os
import shutil
import time
import uuid
from pathlib import Path
from typing import Any, Dict, Mapping, Optional

import numpy as np

from rasa_hybrid.feedback import archive
from rasa_hybrid.feedback.ledger import PENDING, Ledger


class LearnerError(RuntimeError):
    """The learner can't work; the message says what to do."""


class ModelFolder:
    """The learner's folder: published archives on top, all that it keeps below `learner/`.

    Args:
        out: the folder; `rasa run -m` may point to it.
    """

    def __init__(self, out: str) -> None:
        self.out = Path(out)
        self.kept = self.out / "learner"
        self.kept.mkdir(parents=True, exist_ok=True)
        self._lock: Any = None

    def lock(self) -> None:
        """Keeps other learners out of the folder.

        Raises:
            LearnerError: if there is one.
        """
        self._lock = open(self.kept / "lock", "a")  # noqa: SIM115 - held until `unlock`
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._lock.close()
            raise LearnerError(
                f"Another learner works in {self.out}: stop it, or use another --out."
            ) from None

    def unlock(self) -> None:
        """Lets other learners in."""
        if self._lock is not None:
            self._lock.close()

    def learner(self) -> str:
        """The name of this folder's learner, the same after a restart."""
        path = self.kept / "name"
        if not path.exists():
            _write(path, uuid.uuid4().hex)
        return path.read_text()

    def archive(self, id: str) -> Path:
        """Where the archive of a model is kept."""
        return self.kept / f"{id}.tar.gz"

    def take(self, base: str) -> str:
        """Keeps an archive of `rasa train`; its id."""
        id = archive.read_id(base)
        if not self.archive(id).exists():
            _copy(Path(base), self.archive(id))
        return id

    @property
    def has_published(self) -> bool:
        """Whether a model of the learner was ever published here."""
        return (self.kept / "published").exists()

    def publish(self, id: str) -> None:
        """Makes a model the newest archive of the folder, unless it is already."""
        mark = self.kept / "published"
        if mark.exists() and mark.read_text() == id:
            return
        name = f"{time.strftime('%Y%m%d-%H%M%S')}-learnt-{id[:12]}.tar.gz"
        _copy(self.archive(id), self.out / name)
        _write(mark, id)

    def keep_state(self, id: str, state: Mapping[str, np.ndarray]) -> None:
        """Keeps what the next update of a model depends on."""
        path = self.kept / f"{id}.npz"
        written = path.with_suffix(".writing.npz")
        np.savez(written, **dict(state))
        os.replace(written, path)

    def state(self, id: str) -> Optional[Dict[str, np.ndarray]]:
        """What was kept for a model; None if nothing was."""
        path = self.kept / f"{id}.npz"
        if not path.exists():
            return None
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}

    def tidy(self, ledger: Ledger, keep: int) -> None:
        """Deletes archives that are neither of the last models of the lineage nor its base."""
        lineage = ledger.lineage()
        wanted = {model.id for model in lineage[: keep + 1]} | {m.id for m in lineage[-1:]}
        wanted |= {m.id for m in ledger.models() if m.status in PENDING}
        for path in [*self.kept.glob("*.tar.gz"), *self.kept.glob("*.npz")]:
            if path.name.split(".")[0] not in wanted:
                path.unlink(missing_ok=True)
        for path in self.kept.glob(".writing-*"):
            shutil.rmtree(path, ignore_errors=True)
        published = sorted(self.out.glob("*-learnt-*.tar.gz"), key=lambda p: p.stat().st_mtime_ns)
        for path in published[: -(keep + 1)]:
            path.unlink(missing_ok=True)


def _copy(source: Path, destination: Path) -> None:
    """A copy that appears when it is whole."""
    written = destination.with_name(f".{destination.name}.writing")
    shutil.copyfile(source, written)
    with open(written, "rb") as file:
        os.fsync(file.fileno())
    os.replace(written, destination)


def _write(path: Path, text: str) -> None:
    written = path.with_name(f".{path.name}.writing")
    written.write_text(text)
    os.replace(written, path)
