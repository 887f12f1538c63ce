"""The project's files fit each other: stories, knowledge base, domain, NLU examples."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys

import pytest
import yaml

from rasa_hybrid.dialogue import DONTCARE, normalise
from rasa_hybrid.knowledge import knowledge_base_from_config, next_offer, summary

GOAL_SLOTS = ("movie", "num_tickets", "theatre_name", "date", "time")


def read(path):
    return yaml.safe_load(path.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def stories(project):
    return read(project / "data" / "stories.yml")["stories"]


@pytest.fixture(scope="module")
def held_out_stories(project):
    return read(project / "tests" / "test_stories.yml")["stories"]


@pytest.fixture(scope="module")
def domain(project):
    return read(project / "domain.yml")


@pytest.fixture(scope="module")
def knowledge_base(project, builder, tmp_path_factory):
    """As config.yml says, on a fresh database."""
    folder = tmp_path_factory.mktemp("movie_booking")
    builder.build(f"sqlite:///{folder / 'db' / 'screenings.db'}")
    (policy,) = [p for p in read(project / "config.yml")["policies"] if "knowledge_base" in p]
    assert set(policy["offer_slots"].values()) == {
        "id",
        "movie",
        "theatre_name",
        "date",
        "time",
        "price",
    }
    return knowledge_base_from_config(
        policy["knowledge_base"], folder, slots=GOAL_SLOTS
    ).knowledge_base


def plain(text):
    """The words of an annotated text."""
    return re.sub(r"\[([^\]]+)\](\([^)]*\)|\{[^}]*\})", r"\1", text).strip()


def turns(story):
    """(text, slots that were set, actions) of each turn."""
    found = []
    for step in story["steps"]:
        if "intent" in step:
            found.append((plain(step["user"]), {}, []))
        elif "action" in step:
            found[-1][2].append(step["action"])
        elif not found[-1][2]:
            for slot in step["slot_was_set"]:
                found[-1][1].update(slot)
    return found


def test_the_same_seed_builds_the_same_week(builder):
    rows = builder.screenings()
    assert rows == builder.screenings()
    assert builder.screenings(seed=2) != rows
    # A change of the invented week breaks the stories and the demo, so it has to be meant.
    assert len(rows) == 2692
    week = json.dumps(rows, sort_keys=True).encode()
    assert (
        hashlib.sha256(week).hexdigest()
        == "d98b2c09a0cea9fadcef4662e1c4797935a6e5077e1d84bc590f2034189fb29e"
    )


def test_the_week_has_sold_out_shows_and_every_film_and_cinema(builder):
    rows = builder.screenings()
    assert {row["movie"] for row in rows} == set(builder.MOVIES)
    assert {row["theatre_name"] for row in rows} == set(builder.THEATRES)
    assert 0.01 < sum(row["seats"] == 0 for row in rows) / len(rows) < 0.06
    shows = [(row["movie"], row["theatre_name"], row["date"], row["time"]) for row in rows]
    assert len(set(shows)) == len(shows)


def test_building_again_starts_a_new_week_without_bookings(builder, database_url):
    import sqlalchemy as sa

    engine = sa.create_engine(database_url, future=True)
    with engine.begin() as connection:
        connection.execute(
            builder.BOOKINGS.insert(), {"conversation": "a", "screening_id": 1, "tickets": 2}
        )
    builder.build(database_url)
    with engine.connect() as connection:
        assert connection.execute(sa.select(builder.BOOKINGS)).all() == []
    engine.dispose()


def test_every_offer_and_refusal_of_the_stories_is_what_the_knowledge_base_says(
    stories, held_out_stories, knowledge_base
):
    for story in [*stories, *held_out_stories]:
        goal, offered, current = {}, [], None
        for text, changes, actions in turns(story):
            where = f"{story['story']}: {text}"
            for slot, value in changes.items():
                assert slot in GOAL_SLOTS, where
                if value is None:
                    goal.pop(slot)
                else:
                    assert slot == "num_tickets" or value in [
                        DONTCARE,
                        *knowledge_base.values(slot),
                    ], where
                    goal[slot] = value
            entities = knowledge_base.query(goal)
            for action in actions:
                if action == "utter_offer":
                    assert set(goal) == set(GOAL_SLOTS), where
                    current = next_offer(entities, offered)
                    assert current is not None, where
                    offered.append(current["id"])
                elif action == "utter_no_match":
                    assert summary(entities, offered).remaining == 0, where
                elif action in ("utter_confirm", "action_book_tickets"):
                    assert current in entities, where
                elif action.startswith("utter_request_"):
                    assert entities, where
                    assert action[len("utter_request_") :] not in goal, where


def test_every_action_of_the_stories_is_known_and_every_response_is_used(
    stories, held_out_stories, domain, project
):
    rules = read(project / "data" / "rules.yml")["rules"]
    used = {
        step["action"]
        for story in [*stories, *rules]
        for step in story["steps"]
        if "action" in step
    }
    known = {*domain["actions"], *domain["responses"]}
    in_tests = {
        step["action"] for story in held_out_stories for step in story["steps"] if "action" in step
    }
    assert used <= known
    assert in_tests <= used
    # The simulator's users ask for these too; stories do for films, cinemas, days and times.
    assert known - used == set()


def test_responses_mention_only_slots_of_the_domain(domain):
    for name, variations in domain["responses"].items():
        for variation in variations:
            assert set(re.findall(r"{(\w+)}", variation["text"])) <= set(domain["slots"]), name


def test_the_wordings_of_the_test_stories_are_not_in_the_training_data(
    stories, held_out_stories, project
):
    trained = {normalise(text) for story in stories for text, _, _ in turns(story)}
    for entry in read(project / "data" / "nlu.yml")["nlu"]:
        if "intent" in entry:
            trained |= {normalise(plain(line[2:])) for line in entry["examples"].splitlines()}
    # A single value is an answer that cannot be worded otherwise.
    values = {normalise(text) for text in ("Lantern House then", "Union Square 9")}
    for story in held_out_stories:
        for text, _, _ in turns(story):
            assert normalise(text) not in trained - values, text


def test_every_intent_has_at_least_25_different_examples_and_lookups_are_the_knowledge_base(
    project, domain, knowledge_base
):
    entries = read(project / "data" / "nlu.yml")["nlu"]
    examples = {
        entry["intent"]: [line[2:] for line in entry["examples"].splitlines()]
        for entry in entries
        if "intent" in entry
    }
    assert set(examples) == set(domain["intents"])
    everything = [normalise(plain(text)) for texts in examples.values() for text in texts]
    assert len(set(everything)) == len(everything)
    assert min(len(texts) for texts in examples.values()) >= 25
    for entry in entries:
        if "lookup" in entry:
            listed = {line[2:] for line in entry["examples"].splitlines()}
            if entry["lookup"] in knowledge_base.columns:
                assert listed == set(knowledge_base.values(entry["lookup"])), entry["lookup"]
            else:
                assert listed == {str(number) for number in range(1, 21)}


def test_synonyms_mean_one_value_each(project, knowledge_base):
    meaning = {}
    for entry in read(project / "data" / "nlu.yml")["nlu"]:
        for line in entry["examples"].splitlines() if "synonym" in entry else ():
            assert meaning.setdefault(line[2:].lower(), entry["synonym"]) == entry["synonym"]
    for value in meaning.values():
        columns = ("movie", "theatre_name", "date", "time")
        assert value.isdigit() or any(value in knowledge_base.values(column) for column in columns)


@pytest.mark.process
def test_rasa_finds_nothing_to_complain_about(project):
    done = subprocess.run(
        [sys.executable, "-m", "rasa", "data", "validate", "--fail-on-warnings"],
        cwd=project,
        capture_output=True,
        text=True,
        env={**os.environ, "RASA_TELEMETRY_ENABLED": "false"},
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
