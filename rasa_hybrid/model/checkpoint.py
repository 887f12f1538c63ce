"""A trained model on disk: settings, vocabulary and values as JSON, weights as `.npz`. No pickle anywhere."""

from __future__ import annotations

import hashlib
import json
import tarfile
import tempfile
import zipfile
from pathlib import Path
from typing import Any, Dict, Mapping, Optional, Tuple, Union

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
                found = [n for n in names if Path(n).name == _MANIFEST and "/train_" in f"/{n}"]
                if not found:
                    raise CheckpointError(f"{path} holds no model of rasa_hybrid.")
                folder = Path(found[0]).parent
                for part in (_MANIFEST, _MODEL, _WEIGHTS):
                    source = archive.extractfile((folder / part).as_posix())
                    assert source is not None
                    (Path(directory) / part).write_bytes(source.read())
        except (OSError, KeyError, tarfile.TarError) as error:
            raise CheckpointError(f"{path} can't be read as a model archive ({error}).") from error
        return load(directory, splitter)


def _digests(directory: Path) -> Dict[str, str]:
    return {name: _digest(directory / name) for name in (_MODEL, _WEIGHTS)}


def _digest(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return ""
