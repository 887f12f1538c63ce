"""The journal of a dialogue that is being taught, and the corpus that it becomes a part of."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time

import pytest
import yaml

from rasa_hybrid.corpora.taught import (
    Journal,
    Story,
    TaughtCorpus,
    TaughtCorpusError,
    stories_as_yaml,
)

STEPS = (
    {"intent": "inform", "user": "a table for [two](people), at 7:30\nplease"},
    {"slot_was_set": {"people": 2.0, "date": "7:30", "cuisine": None, "code": "1e3", "yes": "no"}},
    {"action": "utter_ask_date"},
)


@pytest.fixture
def corpus(tmp_path):
    return TaughtCorpus(tmp_path / "data_taught")


def test_a_journal_gives_back_what_was_written(corpus):
    journal = corpus.start("anna/7")
    journal.append([{"event": "user", "text": "grüezi"}])
    journal.append([{"event": "rewind"}])
    journal.close()
    again = Journal(journal.path)
    assert again.conversation == "anna/7"
    assert again.started == journal.started
    assert again.events == [{"event": "user", "text": "grüezi"}, {"event": "rewind"}]


def test_a_journal_that_somebody_has_open_is_not_offered_to_others(corpus):
    journal = corpus.start("anna")
    assert corpus.unfinished() == []
    with pytest.raises(TaughtCorpusError, match="is open in another process"):
        Journal(journal.path)
    journal.close()
    assert corpus.unfinished() == [journal.path]


def test_half_a_line_of_a_killed_process_is_dropped(corpus):
    journal = corpus.start("anna")
    journal.append([{"event": "user"}])
    journal.close()
    with open(journal.path, "ab") as file:
        file.write(b'{"event": "acti')
    again = Journal(journal.path)
    assert again.events == [{"event": "user"}]
    again.append([{"event": "action"}])
    again.close()
    assert Journal(journal.path).events == [{"event": "user"}, {"event": "action"}]


def test_a_file_that_is_no_journal_is_named(tmp_path, caplog):
    (tmp_path / "other.jsonl").write_text('{"a": 1}\n')
    with pytest.raises(TaughtCorpusError, match=r"other.jsonl, line 1: this is no journal"):
        Journal(tmp_path / "other.jsonl")
    (tmp_path / "unfinished").mkdir()
    (tmp_path / "unfinished" / "broken.jsonl").write_text('{"a": 1}\n')
    assert TaughtCorpus(tmp_path).unfinished() == []
    assert "broken.jsonl, line 1" in caplog.text
    (tmp_path / "other.jsonl").write_text('{"journal": 1, "conversation": "", "started": ""}\nx\n')
    with pytest.raises(TaughtCorpusError, match=r"other.jsonl, line 2"):
        Journal(tmp_path / "other.jsonl")


WRITER = """
import sys
from pathlib import Path
from rasa_hybrid.corpora.taught import Journal

journal = Journal(Path(sys.argv[1]), "killed")
number = len(journal.events)
while True:
    journal.append([{"event": "user", "number": number, "text": "x" * 500}])
    number += 1
    print(number, flush=True)
"""


@pytest.mark.process
def test_what_was_acknowledged_survives_kill_9_at_any_moment(tmp_path):
    path = tmp_path / "killed.jsonl"
    rng = random.Random(7)
    for _ in range(6):
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True
        ) as writer:
            acknowledged = int(writer.stdout.readline())
            time.sleep(rng.uniform(0, 0.05))
            writer.send_signal(signal.SIGKILL)
            acknowledged = int([acknowledged, *writer.stdout.read().splitlines()][-1])
        journal = Journal(path)
        assert [event["number"] for event in journal.events] == list(range(len(journal.events)))
        # At most what was being written when the process died is not acknowledged.
        assert acknowledged <= len(journal.events) <= acknowledged + 1
        journal.close()


def test_stories_can_be_read_by_people_and_by_any_yaml(corpus):
    text = stories_as_yaml([Story('taught "one"', STEPS), Story("taught two", STEPS[2:])])
    assert (
        text
        == """version: "3.1"

stories:

- story: "taught \\"one\\""
  steps:
    - intent: inform
      user: |-
        a table for [two](people), at 7:30
        please
    - slot_was_set:
        - people: 2.0
        - date: "7:30"
        - cuisine: null
        - code: "1e3"
        - "yes": "no"
    - action: utter_ask_date

- story: "taught two"
  steps:
    - action: utter_ask_date
""".replace('"yes": "no"', "'yes': \"no\"")
    )


def test_rasa_reads_the_stories_as_they_were_meant(tmp_path):
    from rasa.shared.core.events import SlotSet, UserUttered
    from rasa.shared.core.training_data.story_reader.yaml_story_reader import YAMLStoryReader

    (tmp_path / "stories.yml").write_text(stories_as_yaml([Story("taught", STEPS)]))
    [step] = YAMLStoryReader().read_from_file(str(tmp_path / "stories.yml"))
    assert step.block_name == "taught"
    [user] = [event for event in step.events if isinstance(event, UserUttered)]
    assert user.text == "a table for two, at 7:30\nplease"
    assert [(e["entity"], e["value"]) for e in user.entities] == [("people", "two")]
    slots = {event.key: event.value for event in step.events if isinstance(event, SlotSet)}
    assert slots == {"people": 2.0, "date": "7:30", "cuisine": None, "code": "1e3", "yes": "no"}


def test_a_finished_dialogue_is_in_the_corpus_once_even_after_a_crash_in_between(corpus):
    journal = corpus.start("anna")
    journal.append([{"event": "user"}])
    corrections = [{"kind": "goal", "slot": "date", "taught": "friday"}]
    kept = journal.path.read_bytes()
    path = corpus.finish(journal, [Story("taught", STEPS)], corrections)
    # As if the process had died before it could take the journal away.
    journal.path.write_bytes(kept)
    assert corpus.unfinished() == [journal.path]
    assert corpus.finish(Journal(journal.path), [Story("taught", STEPS)], corrections) == path
    assert [p.name for p in corpus.directory.glob("*.yml")] == [path.name]
    lines = (corpus.directory / "corrections.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [{"dialogue": path.stem, **corrections[0]}]
    assert corpus.unfinished() == []


def test_a_dialogue_in_which_nothing_was_finished_leaves_nothing(corpus):
    journal = corpus.start("anna")
    assert corpus.finish(journal, [], []) is None
    assert list(corpus.directory.rglob("*.*")) == []


@pytest.mark.parametrize(
    "before",
    [
        "",
        'version: "3.1"\n',
        'version: "3.1"\nstories:\n- story: own\n  steps:\n  - action: utter_greet\n',
        'version: "3.1"\nstories:\n\n  # mine\n  - story: own\n    steps:\n    - action: utter_greet\n',
    ],
)
def test_stories_are_added_to_a_file_of_the_teachers_choice(corpus, tmp_path, before):
    path = tmp_path / "stories.yml"
    path.write_text(before)
    for name in ("first", "second", "second"):
        corpus.finish(corpus.start(name), [Story(name, STEPS)], [], stories_path=path)
    assert path.read_text().startswith(before.rstrip("\n"))
    names = [story["story"] for story in yaml.safe_load(path.read_text())["stories"]]
    assert [name for name in names if name != "own"] == ["first", "second"]
