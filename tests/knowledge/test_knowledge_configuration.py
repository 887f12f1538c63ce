"""`knowledge_base:` of a configuration: what it may say, and what is said when it can't be used."""

from __future__ import annotations

import sqlite3

import pytest

from rasa_hybrid.knowledge import (
    KnowledgeBase,
    KnowledgeBaseError,
    KnowledgeBaseUnavailable,
    knowledge_base_from_config,
)


class Catalogue(KnowledgeBase):
    """A class of a user's project."""

    columns = ("movie",)

    def __init__(self, endpoint: str, pages: int = 1):
        self.endpoint = endpoint

    def query(self, constraints):
        return [{"movie": self.endpoint}]

    def values(self, column):
        return [self.endpoint]


@pytest.fixture
def project(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "screenings.csv").write_text("id,movie,seats\n1,Harbour Lights,4\n")
    with sqlite3.connect(tmp_path / "data" / "screenings.db") as connection:
        connection.execute(
            "CREATE TABLE screenings (id INTEGER PRIMARY KEY, movie TEXT, seats INTEGER)"
        )
        connection.execute("INSERT INTO screenings VALUES (1, 'Harbour Lights', 4)")
    return tmp_path


MEMORY = {"type": "memory", "path": "data/screenings.csv"}
SQL = {"type": "sql", "url": "sqlite:///data/screenings.db", "table": "screenings"}
CUSTOM = {"type": f"{__name__}.Catalogue", "endpoint": "https://films.example"}


@pytest.mark.parametrize("config", [MEMORY, SQL])
def test_paths_start_at_the_project(project, config, monkeypatch):
    monkeypatch.chdir("/")
    knowledge_base = knowledge_base_from_config(
        {**config, "at_least": {"num_tickets": "seats"}}, project
    )
    result = knowledge_base.query({"movie": "harbour lights", "num_tickets": "4"})
    assert [entity["id"] for entity in result.entities] == ["1"]
    assert knowledge_base.constraint_names == {"id", "movie", "seats", "num_tickets"}


def test_a_class_is_found_by_its_module_path_and_gets_its_own_keys(project):
    knowledge_base = knowledge_base_from_config(
        {**CUSTOM, "timeout": 3, "cache_seconds": 0}, project
    )
    assert knowledge_base.query({}).entities[0]["movie"] == "https://films.example"


def test_the_url_can_stay_in_the_environment(project, monkeypatch):
    config = {"type": "sql", "url_env": "SCREENINGS", "table": "screenings"}
    with pytest.raises(KnowledgeBaseError, match="'SCREENINGS' is not set"):
        knowledge_base_from_config(config, project)
    monkeypatch.setenv("SCREENINGS", SQL["url"])
    assert knowledge_base_from_config(config, project).query({}).known


@pytest.mark.parametrize(
    "config, message",
    [
        ("data.csv", "'data.csv' is not a mapping"),
        ({}, "type None; allowed: memory, sql, or the module path"),
        ({**MEMORY, "type": "mongo"}, "type 'mongo'; allowed: memory, sql"),
        ({"type": "memory"}, "type memory needs the key 'path'"),
        ({"type": "sql", "url": "sqlite:///x"}, "type sql needs the key 'table'"),
        ({"type": "sql", "table": "screenings"}, "either `url` or `url_env`"),
        ({**SQL, "url_env": "X"}, "either `url` or `url_env`"),
        (
            {**SQL, "tabel": "x"},
            "unknown key 'tabel' .value 'x'. .* did you mean 'table'.* allowed: at_least, cache",
        ),
        ({**MEMORY, "url": "x"}, "unknown key 'url'"),
        ({**MEMORY, "path": 3}, "path: 3 can't be used; allowed: a .csv, .yml"),
        ({**MEMORY, "path": "none.csv"}, "none.csv can't be read"),
        ({**SQL, "url": "sqlite:///none.db"}, "none.db does not exist"),
        ({**SQL, "url": 5}, "url: the value can't be used"),
        ({**SQL, "table": "films"}, "no table 'films'; allowed: screenings"),
        ({**SQL, "order_by": "id"}, "order_by: 'id' can't be used; allowed: a list of columns"),
        ({**SQL, "order_by": ["rank"]}, "no column 'rank'; allowed: id, movie, seats"),
        ({**SQL, "at_least": ["seats"]}, "at_least: .* can't be used; allowed: goal slots"),
        (
            {**SQL, "at_least": {"tickets": "seats"}},
            "at_least: 'tickets' is not a goal slot; allowed: movie, num_t",
        ),
        ({**SQL, "limit": 0}, "limit: 0 can't be used; allowed: a whole number above 0"),
        ({**SQL, "timeout": 0}, "timeout: 0 can't be used; allowed: seconds above 0"),
        ({**SQL, "timeout": "1s"}, "timeout: '1s' can't be used"),
        (
            {**SQL, "cache_seconds": -1},
            "cache_seconds: -1 can't be used; allowed: seconds, 0 for never",
        ),
        ({**SQL, "failures_to_open": True}, "failures_to_open: True can't be used"),
        ({"type": "no.such.Class"}, "type: 'no.such.Class' can't be imported"),
        (
            {"type": "collections.OrderedDict"},
            "not a subclass of rasa_hybrid.knowledge.KnowledgeBase",
        ),
        ({**CUSTOM, "colour": "red"}, "takes .endpoint: .*str.*, pages.* not 'endpoint', 'colour'"),
        ({"type": ".."}, "type: '..' can't be imported"),
        ({"type": "rasa_hybrid.knowledge.KnowledgeBase"}, "can't be made .*abstract"),
        ({"type": CUSTOM["type"]}, "takes .* not nothing .missing a required argument: 'endpoint'"),
    ],
)
def test_a_wrong_configuration_names_key_value_and_what_is_allowed(project, config, message):
    with pytest.raises(KnowledgeBaseError, match=message) as caught:
        knowledge_base_from_config(config, project, slots=["movie", "num_tickets"])
    assert str(caught.value).startswith("knowledge_base: ")


def test_a_database_that_is_down_stops_training_but_not_serving(caplog):
    config = {
        "type": "sql",
        "url": "postgresql://bot:hunter2@127.0.0.1:1/cinema",
        "table": "screenings",
    }
    with pytest.raises(KnowledgeBaseUnavailable, match="does not answer"):
        knowledge_base_from_config(config)
    knowledge_base = knowledge_base_from_config(config, must_answer=False)
    assert knowledge_base.query({"movie": "Marl"}).problem == "error"
    assert "go on without it" in caplog.text
    assert "hunter2" not in caplog.text


def test_limits_of_time_are_not_part_of_the_fingerprint_and_schema_is(project):
    def fingerprint(**changes):
        return knowledge_base_from_config({**SQL, **changes}, project).config_fingerprint()

    assert fingerprint(timeout=2.0, cache_seconds=0) == fingerprint()
    assert fingerprint(at_least={"num_tickets": "seats"}) != fingerprint()
