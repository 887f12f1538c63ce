"""Model archives that the learner writes: Rasa's, with our policy's files replaced and a manifest of what was learnt."""

from __future__ import annotations

import io
import json
import os
import tarfile
import tempfile
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Dict, Mapping, Optional, Tuple, Union

import numpy as np

from rasa_hybrid.model import checkpoint
from rasa_hybrid.model.checkpoint import CheckpointError
from rasa_hybrid.model.encoding import Encoder

#: Beside the model's own files in the policy's resource.
MANIFEST = "feedback.json"
_METADATA = "metadata.json"
_OWN = ("manifest.json", "model.json", "weights.npz", MANIFEST)


@dataclass(frozen=True)
class Manifest:
    """What an archive was taught, itself and the models that it descends from.

    Args:
        candidate: id of the model; None for an archive of `rasa train`.
        parent: id of the model that it was learnt from.
        episodes: those of its own update.
        learnt: those of all updates, its own included.
    """

    candidate: Optional[str] = None
    parent: Optional[str] = None
    episodes: Tuple[str, ...] = ()
    learnt: Tuple[str, ...] = ()


def read_id(path: Union[str, Path]) -> str:
    """Rasa's id of a model.

    Raises:
        CheckpointError: if the file is no model archive.
    """
    try:
        with tarfile.open(path) as archive:
            return str(_json(archive, _name(archive, _METADATA))["model_id"])
    except (OSError, tarfile.TarError, KeyError, ValueError) as error:
        raise CheckpointError(f"{path} can't be read as a model archive ({error}).") from error


def read_manifest(path: Union[str, Path]) -> Manifest:
    """What an archive was taught; an empty manifest for one of `rasa train`.

    Raises:
        CheckpointError: if the file is no model archive.
    """
    try:
        with tarfile.open(path) as archive:
            names = [m.name for m in archive.getmembers() if Path(m.name).name == MANIFEST]
            if not names:
                return Manifest()
            record = _json(archive, names[0])
    except (OSError, tarfile.TarError, ValueError) as error:
        raise CheckpointError(f"{path} can't be read as a model archive ({error}).") from error
    return Manifest(
        record["candidate"],
        record["parent"],
        tuple(record["episodes"]),
        tuple(record["learnt"]),
    )


def write(
    path: Union[str, Path],
    like: Union[str, Path],
    encoder: Encoder,
    weights: Mapping[str, np.ndarray],
    extra: Mapping[str, Any],
    manifest: Manifest,
) -> None:
    """Writes an archive that differs from another one in the model and its id: whole, or not at all.

    Args:
        path: where to; it appears when it is whole and on the disk.
        like: archive that everything else is taken from.
        encoder: of the model.
        weights: of the model.
        extra: facts that are kept with the model.
        manifest: what it was taught; `candidate` becomes Rasa's model id.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".writing-") as directory:
        parts = Path(directory, "model")
        checkpoint.save(parts, encoder, weights, extra)
        (parts / MANIFEST).write_text(json.dumps(manifest.__dict__), encoding="utf-8")
        written = Path(directory, "archive")
        with open(written, "wb") as file:
            with tarfile.open(like) as source, tarfile.open(fileobj=file, mode="w:gz") as target:
                _copy(source, target, parts, manifest)
            file.flush()
            os.fsync(file.fileno())
        os.replace(written, path)
        _sync(path.parent)


def _copy(
    source: tarfile.TarFile, target: tarfile.TarFile, parts: Path, manifest: Manifest
) -> None:
    members = source.getmembers()
    folders = {
        Path(m.name).parent
        for m in members
        if Path(m.name).name == "manifest.json" and "/train_" in f"/{m.name}"
    }
    if len(folders) != 1:
        raise CheckpointError(f"{source.name!r} holds no model of rasa_hybrid.")
    [folder] = folders
    for member in members:
        name = Path(member.name)
        if name.parent == folder and name.name in _OWN:
            continue
        if name.name == _METADATA and len(name.parts) <= 2 and name.parent in (Path(), Path(".")):
            metadata: Dict[str, Any] = _json(source, member.name)
            metadata["model_id"] = manifest.candidate
            metadata["trained_at"] = datetime.now(timezone.utc).replace(tzinfo=None).isoformat()
            content = json.dumps(metadata).encode()
            member.size = len(content)
            target.addfile(member, io.BytesIO(content))
        elif member.isfile():
            target.addfile(member, source.extractfile(member))
        else:
            target.addfile(member)
    for part in _OWN:
        target.add(parts / part, (folder / part).as_posix())


def _name(archive: tarfile.TarFile, name: str) -> str:
    return next(m.name for m in archive.getmembers() if Path(m.name) == Path(name))


def _json(archive: tarfile.TarFile, name: str) -> Dict[str, Any]:
    file = archive.extractfile(name)
    assert file is not None
    return json.loads(file.read().decode("utf-8"))


def _sync(directory: Path) -> None:
    """Makes sure that a renamed file is found after a power failure."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
