"""What is learnt from an archive of `rasa train` is again an archive that Rasa loads."""

from __future__ import annotations

import json
import tarfile

import numpy as np
import pytest

from rasa_hybrid.model.checkpoint import CheckpointError, load_model, save_model


@pytest.mark.slow
def test_an_archive_with_learnt_weights_is_loaded_by_rasa_and_is_else_the_same(archive, tmp_path):
    from tests.components import projects

    encoder, weights, extra = load_model(archive)
    learnt = {**weights, "policy/output_bias": weights["policy/output_bias"] + 0.25}
    grown = type(encoder)(
        encoder.settings, encoder.vocabulary.with_words(["zorblax"]), encoder.ontology
    )
    learnt["words"] = np.concatenate([weights["words"], weights["words"][1:2]])
    out = tmp_path / "learnt.tar.gz"
    save_model(out, grown, learnt, extra, like=archive)
    with tarfile.open(archive) as before, tarfile.open(out) as after:
        assert before.getnames() == after.getnames()
        ids = [json.load(a.extractfile("metadata.json"))["model_id"] for a in (before, after)]
        assert len(set(ids)) == 2
        for member in before.getmembers():
            if member.isfile() and member.name.endswith(".yml"):
                assert before.extractfile(member).read() == after.extractfile(member.name).read()
    again, read, kept = load_model(out)
    np.testing.assert_array_equal(read["policy/output_bias"], learnt["policy/output_bias"])
    assert "zorblax" in again.vocabulary.words and kept == extra
    agent = projects.load_agent(str(out), "http://localhost:1")
    assert agent.is_ready()


def test_form_and_name_of_what_is_learnt_go_together(archive, tmp_path):
    encoder, weights, extra = load_model(archive)
    with pytest.raises(CheckpointError, match=r"ends in \.tar\.gz"):
        save_model(tmp_path / "model", encoder, weights, extra, like=archive)
    with pytest.raises(CheckpointError, match=r"without \.tar\.gz"):
        save_model(tmp_path / "model.tar.gz", encoder, weights, extra)
