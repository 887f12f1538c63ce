"""The in-memory knowledge base: matching, ranking, files."""

from __future__ import annotations

import os

import pytest

from rasa_hybrid.dialogue import DONTCARE, NONE
from rasa_hybrid.knowledge import InMemoryKnowledgeBase, KnowledgeBaseError, memory

ROWS = [
    {"id": 1, "movie": "Harbour Lights", "date": "friday", "time": "6:00 pm", "seats": 4},
    {"id": 2, "movie": "Harbour Lights", "date": "friday", "time": "9:15 pm", "seats": 40},
    {"id": 3, "movie": "The Glass Orchard", "date": "friday", "time": "6:00 pm", "seats": 0},
    {"id": 4, "movie": "Harbour Lights", "date": "sunday", "time": "6:00 pm", "seats": None},
]


@pytest.fixture
def screenings():
    return InMemoryKnowledgeBase(ROWS, at_least={"num_tickets": "seats"})


def ids(entities):
    return [entity["id"] for entity in entities]


def test_entities_keep_the_order_of_the_rows(screenings):
    assert ids(screenings.query({"movie": "Harbour Lights"})) == ["1", "2", "4"]


def test_every_cell_is_text_and_an_empty_cell_is_left_out(screenings):
    assert screenings.query({"date": "sunday"}) == [
        {"id": "4", "movie": "Harbour Lights", "date": "sunday", "time": "6:00 pm"}
    ]


@pytest.mark.parametrize(
    "said", ["6 pm", "6:00 P.M.", "6pm", "18:00", "six pm", "6 in the evening"]
)
def test_a_time_is_found_however_it_is_said(screenings, said):
    assert ids(screenings.query({"time": said})) == ["1", "3", "4"]


@pytest.mark.parametrize("nothing", [DONTCARE, NONE])
def test_dontcare_and_none_constrain_nothing(screenings, nothing):
    assert ids(screenings.query({"movie": nothing, "num_tickets": nothing})) == ["1", "2", "3", "4"]


@pytest.mark.parametrize(
    "tickets, found", [("4", ["1", "2"]), ("five", ["2"]), ("0", ["1", "2", "3"]), ("41", [])]
)
def test_enough_seats_have_to_be_left(screenings, tickets, found):
    assert ids(screenings.query({"num_tickets": tickets})) == found


def test_a_constraint_that_no_row_satisfies_gives_nothing(screenings):
    assert screenings.query({"movie": "harbour lights", "date": "monday"}) == []


def test_an_unknown_column_is_named_with_those_that_exist(screenings):
    with pytest.raises(
        KnowledgeBaseError, match="'genre'.*date, id, movie, num_tickets, seats, time"
    ):
        screenings.query({"genre": "comedy"})
    with pytest.raises(KnowledgeBaseError, match="'genre'"):
        screenings.values("genre")


@pytest.mark.parametrize("value", ["a few", "nan", "inf", ""])
def test_a_number_of_tickets_that_is_none_is_an_error(screenings, value):
    with pytest.raises(KnowledgeBaseError, match="'num_tickets' is compared as a number"):
        screenings.query({"num_tickets": value})


def test_values_are_distinct_and_sorted(screenings):
    assert screenings.values("movie") == ["Harbour Lights", "The Glass Orchard"]
    assert screenings.values("seats") == ["0", "4", "40"]


def test_without_an_id_the_identifier_survives_that_seats_are_taken():
    def identifiers(seats):
        rows = [
            {"movie": "Harbour Lights", "seats": seats},
            {"movie": "The Glass Orchard", "seats": 7},
        ]
        return ids(InMemoryKnowledgeBase(rows, at_least={"num_tickets": "seats"}).query({}))

    assert identifiers(9) == identifiers(2)
    assert len(set(identifiers(9))) == 2


def test_another_column_can_identify():
    knowledge_base = InMemoryKnowledgeBase([{"code": "a1", "movie": "x"}], id_column="code")
    assert knowledge_base.query({}) == [{"id": "a1", "code": "a1", "movie": "x"}]


def test_values_without_letters_or_digits_are_still_values():
    knowledge_base = InMemoryKnowledgeBase([{"movie": "???"}, {"movie": "!!!"}])
    assert [entity["movie"] for entity in knowledge_base.query({"movie": "!!!"})] == ["!!!"]


@pytest.mark.parametrize(
    "rows, options, message",
    [
        ([], {}, "at least one row"),
        ([{"id": 1}, {"id": 1}], {}, "Rows 1 and 2 have the same 'id', '1'"),
        ([{"seats": "many"}], {"at_least": {"n": "seats"}}, "Row 1: 'seats' .* 'many'"),
        (
            [{"seats": 1}],
            {"at_least": {"n": "places"}},
            "at_least: n: no column 'places'; allowed: seats",
        ),
        ([{"seats": 1}], {"id_column": "code"}, "id_column: no column 'code'; allowed: seats"),
    ],
)
def test_rows_that_cannot_be_used_say_why(rows, options, message):
    with pytest.raises(KnowledgeBaseError, match=message):
        InMemoryKnowledgeBase(rows, **options)


def test_csv_and_yaml_files_give_the_same_rows(tmp_path):
    (tmp_path / "rows.csv").write_text(
        'id,movie,time\n1,"Marl, the Quiet",6:30\n2,no,\n', encoding="utf-8-sig"
    )
    (tmp_path / "rows.yml").write_text(
        "- {id: 1, movie: 'Marl, the Quiet', time: 6:30}\n- {id: 2, movie: no}\n", encoding="utf-8"
    )
    expected = [{"id": "1", "movie": "Marl, the Quiet", "time": "6:30"}, {"id": "2", "movie": "no"}]
    for name in ("rows.csv", "rows.yml"):
        assert InMemoryKnowledgeBase.from_file(tmp_path / name).query({}) == expected


@pytest.mark.parametrize(
    "name, text, message",
    [
        ("missing.csv", None, "missing.csv can't be read"),
        ("rows.json", "[]", "neither CSV nor YAML"),
        ("rows.csv", "", "rows.csv:1: every column needs a name"),
        ("rows.csv", "id,movie\n", "has no rows"),
        ("rows.csv", "id,id\n1,2\n", "rows.csv:1: every column needs a name of its own"),
        ("rows.csv", "id,movie\n1,a\n2\n", "rows.csv:3: 1 cells, the header has 2"),
        ("rows.yml", "movie: x\n", "a list of rows is needed"),
        ("rows.yml", "- movie: [x, y]\n", "row 1 is not a mapping"),
        ("rows.yml", "- movie: {\n", "not YAML"),
        ("rows.csv", b"id,movie\n1,\xff\n", "is not UTF-8"),
    ],
)
def test_a_file_that_is_no_table_is_named_with_what_is_wrong(tmp_path, name, text, message):
    if text is not None:
        (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode("utf-8"))
    with pytest.raises(KnowledgeBaseError, match=message):
        InMemoryKnowledgeBase.from_file(tmp_path / name)


@pytest.fixture
def watched(tmp_path, monkeypatch):
    """A file that is looked at for every query, and a function that writes it with a later time."""
    monkeypatch.setattr(memory, "_LOOK_EVERY", 0.0)
    path = tmp_path / "rows.csv"
    path.write_text("id,movie\n1,Harbour Lights\n")
    times = iter(range(10, 100))

    def write(text):
        path.write_text(text)
        later = os.stat(path).st_mtime + next(times)
        os.utime(path, (later, later))

    return InMemoryKnowledgeBase.from_file(path), write


def test_new_rows_of_the_file_are_found_while_serving(watched):
    knowledge_base, write = watched
    write("id,movie\n1,Harbour Lights\n2,Opened Yesterday\n")
    assert knowledge_base.values("movie") == ["Harbour Lights", "Opened Yesterday"]
    assert ids(knowledge_base.query({"movie": "opened yesterday"})) == ["2"]


def test_a_file_that_breaks_while_serving_leaves_the_rows_as_they_were(watched, caplog):
    knowledge_base, write = watched
    write("id,movie\n1,Harbour Lights,too,many\n")
    assert knowledge_base.values("movie") == ["Harbour Lights"]
    assert "its rows stay as they were" in caplog.text
    write("id,movie\n3,Mended\n")
    assert knowledge_base.values("movie") == ["Mended"]


def test_the_fingerprint_changes_with_schema_and_settings_but_not_with_rows():
    def fingerprint(rows, **options):
        return InMemoryKnowledgeBase(rows, **options).config_fingerprint()

    one = fingerprint([{"movie": "a", "seats": 1}])
    assert fingerprint([{"movie": "b", "seats": 2}, {"movie": "c", "seats": 2}]) == one
    assert fingerprint([{"film": "a", "seats": 1}]) != one
    assert fingerprint([{"movie": "a", "seats": 1}], at_least={"n": "seats"}) != one
