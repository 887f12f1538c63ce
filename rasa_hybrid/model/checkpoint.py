"""A trained model on disk: settings, vocabulary and values as JSON, weights as `.npz`. No pickle anywhere."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
import tempfile
import zipfile
import zlib
from pathlib import Path
from typing import Any, Dict, Mapping, Optional, Sequence, Tuple, Union
from uuid import uuid4

import numpy as np

from rasa_hybrid.dialogue.normalise import Splitter
from rasa_hybrid.model.candidates import Ontology
from rasa_hybrid.model.encoding import Encoder
from rasa_hybrid.model.parameters import parameter_shapes, sizes_of
from rasa_hybrid.model.settings import Settings, SettingsError
from rasa_hybrid.model.vocabulary import Vocabulary

#: Raised by one whenever older code could not read what newer code writes.
SCHEMA = 1
_MANIFEST, _MODEL, _WEIGHTS = "manifest.json", "model.json", "weights.npz"
#: Rasa's own, at the top of an archive: among other things the model's id.
_METADATA = "metadata.json"


class CheckpointError(ValueError):
    """A model that can't be loaded; the message says what is wrong with it."""


def save(
    directory: Union[str, Path],
    encoder: Encoder,
    weights: Mapping[str, np.ndarray],
    extra: Optional[Mapping[str, Any]] = None,
) -> None:
    """Writes a model into a directory, which is made if need be.

    Args:
        directory: where to.
        encoder: settings, vocabulary and values.
        weights: parameters by name.
        extra: further JSON-able facts to keep with the model.
    """
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    model = {
        "settings": encoder.settings.to_dict(),
        "vocabulary": encoder.vocabulary.to_dict(),
        "ontology": encoder.ontology.to_dict(),
        "extra": dict(extra or {}),
    }
    (directory / _MODEL).write_text(json.dumps(model, ensure_ascii=False), encoding="utf-8")
    np.savez(
        directory / _WEIGHTS,
        **{name: np.asarray(value, np.float32) for name, value in weights.items()},
    )
    manifest = {"format": "rasa_hybrid", "schema": SCHEMA, "sha256": _digests(directory)}
    (directory / _MANIFEST).write_text(json.dumps(manifest, indent=1), encoding="utf-8")


def load(
    directory: Union[str, Path], splitter: Optional[Splitter] = None
) -> Tuple[Encoder, Dict[str, np.ndarray], Dict[str, Any]]:
    """Encoder, weights and extra facts of a saved model.

    Raises:
        CheckpointError: if the directory holds no model, one of a later version, or a damaged one.
    """
    directory = Path(directory)
    try:
        manifest = json.loads((directory / _MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"{directory} holds no model of rasa_hybrid ({_MANIFEST} can't be read: {error})."
        ) from error
    if not isinstance(manifest, dict) or manifest.get("format") != "rasa_hybrid":
        raise CheckpointError(f"{directory / _MANIFEST} is not a manifest of rasa_hybrid.")
    if manifest.get("schema") != SCHEMA:
        raise CheckpointError(
            f"{directory} was written with schema {manifest.get('schema')!r}, this version reads schema {SCHEMA}: "
            "train the model again, or use the version that wrote it."
        )
    for name, digest in manifest.get("sha256", {}).items():
        if _digest(directory / name) != digest:
            raise CheckpointError(
                f"{directory / name} is damaged or missing (its checksum differs): train the model again."
            )
    try:
        model = json.loads((directory / _MODEL).read_text(encoding="utf-8"))
        settings = Settings.from_mapping(model["settings"])
        vocabulary = Vocabulary.from_dict(model["vocabulary"])
        ontology = Ontology.from_dict(model["ontology"], settings.language, splitter)
        with np.load(directory / _WEIGHTS, allow_pickle=False) as arrays:
            weights = {name: arrays[name] for name in arrays.files}
    except (
        OSError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        SettingsError,
        zipfile.BadZipFile,
    ) as error:
        raise CheckpointError(
            f"{directory} holds a damaged model ({type(error).__name__}: {error})."
        ) from error
    for name, shape in parameter_shapes(settings, sizes_of(vocabulary, ontology)).items():
        if name not in weights or weights[name].shape != shape:
            found = weights[name].shape if name in weights else "nothing"
            raise CheckpointError(
                f"{directory / _WEIGHTS}: {name} should have shape {shape}, found {found}."
            )
    return Encoder(settings, vocabulary, ontology), weights, model.get("extra", {})


def load_archive(
    path: Union[str, Path], splitter: Optional[Splitter] = None
) -> Tuple[Encoder, Dict[str, np.ndarray], Dict[str, Any]]:
    """What `load` gives, of a model archive of Rasa (`models/X.tar.gz`) that holds one of our policies.

    Raises:
        CheckpointError: if the file is no archive or holds no model of ours.
    """
    with tempfile.TemporaryDirectory() as directory:
        try:
            with tarfile.open(path) as archive:
                names = [m.name for m in archive.getmembers() if m.isfile()]
                folder = _policy_folder(path, names)
                for part in (_MANIFEST, _MODEL, _WEIGHTS):
                    source = archive.extractfile((folder / part).as_posix())
                    assert source is not None
                    (Path(directory) / part).write_bytes(source.read())
        except (OSError, EOFError, KeyError, tarfile.TarError, zlib.error) as error:
            raise CheckpointError(f"{path} can't be read as a model archive ({error}).") from error
        return load(directory, splitter)


def load_model(path: Union[str, Path]) -> Tuple[Encoder, Dict[str, np.ndarray], Dict[str, Any]]:
    """What `load` gives, of a directory that `save` wrote or of a model archive of Rasa.

    Raises:
        CheckpointError: if there is neither.
    """
    return load(path) if Path(path).is_dir() else load_archive(path)


def save_model(
    path: Union[str, Path],
    encoder: Encoder,
    weights: Mapping[str, np.ndarray],
    extra: Mapping[str, Any],
    like: Optional[Union[str, Path]] = None,
) -> None:
    """Writes a model that was learnt from another one, in the other one's form, all or nothing.

    Args:
        path: where to; the name ends in `.tar.gz` if it is to be an archive of Rasa.
        encoder: settings, vocabulary and values.
        weights: parameters by name.
        extra: further facts that are kept with the model.
        like: archive of Rasa of which everything else but the id is taken; None or a directory: the model alone is
            written.

    Raises:
        CheckpointError: if the name and the form of `like` do not go together.
    """
    check_form(path, like)
    path, archive = Path(path), Path(like) if like is not None else None
    from_archive = path.name.endswith(".tar.gz")
    if not from_archive:
        save(path, encoder, weights, extra)
        return
    assert archive is not None
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as directory:
        parts = Path(directory, "model")
        save(parts, encoder, weights, extra)
        written = Path(directory, path.name)
        with tarfile.open(archive) as source, tarfile.open(written, "w:gz") as target:
            members = source.getmembers()
            folder = _policy_folder(archive, [m.name for m in members if m.isfile()])
            for member in members:
                name = Path(member.name)
                if name.parent == folder and name.name in (_MANIFEST, _MODEL, _WEIGHTS):
                    target.add(parts / name.name, member.name)
                elif name == Path(_METADATA):
                    stored = source.extractfile(member)
                    assert stored is not None
                    content = json.dumps({**json.load(stored), "model_id": uuid4().hex}).encode()
                    member.size = len(content)
                    target.addfile(member, io.BytesIO(content))
                elif member.isfile():
                    target.addfile(member, source.extractfile(member))
                else:
                    target.addfile(member)
        os.replace(written, path)


def check_form(path: Union[str, Path], like: Optional[Union[str, Path]]) -> None:
    """Whether a model that was learnt from `like` can be written to `path`.

    Raises:
        CheckpointError: if one is an archive and the other is not.
    """
    from_archive = like is not None and not Path(like).is_dir()
    if from_archive and not str(path).endswith(".tar.gz"):
        raise CheckpointError(
            f"{path}: {like} is an archive of Rasa, so what is learnt from it is one as well: "
            "use a name that ends in .tar.gz."
        )
    if not from_archive and str(path).endswith(".tar.gz"):
        raise CheckpointError(
            f"{path}: {like} is no archive of Rasa, so what is learnt from it is a directory: "
            "use a name without .tar.gz."
        )


def _policy_folder(path: Union[str, Path], files: Sequence[str]) -> Path:
    """The folder of our policy's resource inside of an archive."""
    found = [n for n in files if Path(n).name == _MANIFEST and "/train_" in f"/{n}"]
    if not found:
        raise CheckpointError(f"{path} holds no model of rasa_hybrid.")
    return Path(found[0]).parent


def _digests(directory: Path) -> Dict[str, str]:
    return {name: _digest(directory / name) for name in (_MODEL, _WEIGHTS)}


def _digest(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return ""
