"""Who is given which dialogue to judge, what is kept, and the figures that follow from it."""

from __future__ import annotations

import json
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Iterator, List, Tuple

import pytest
import sqlalchemy as sa
from click.testing import CliRunner

from rasa_hybrid.commands import main
from rasa_hybrid.corpora import write_jsonl
from rasa_hybrid.dialogue import Decision, Dialogue, SystemAction, Turn, Utterance
from rasa_hybrid.feedback import assembly
from rasa_hybrid.feedback.privacy import forget, redact
from rasa_hybrid.feedback.ratings import (
    PlaceLostError,
    RatingError,
    Ratings,
    Shown,
    corpus_dialogues,
    judge_name,
    rating_figures,
    sample,
    stored_dialogues,
)
from rasa_hybrid.feedback.records import Outcome, Recorded, Step
from rasa_hybrid.feedback.schema import VERSION_TABLE, judgements
from rasa_hybrid.feedback.store import EpisodeStore


@pytest.fixture
def file_store(tmp_path: Path) -> Iterator[EpisodeStore]:
    """A store on SQLite alone, for what does not depend on the database."""
    store = EpisodeStore(f"sqlite:///{tmp_path / 'feedback.db'}")
    yield store
    store.close()


def dialogues(count: int, turns: int = 2, model: str = "m") -> List[Shown]:
    said = {"user": "thai food", "bot": "On which day?"}
    return [Shown(f"{model}{i}", model, (said,) * turns) for i in range(count)]


def judge_all(ratings: Ratings, judge: str, now: float = 0.0) -> List[str]:
    """Rates everything that a judge is given; ids in their order."""
    seen = []
    while True:
        taken = ratings.take(judge, now)
        if taken is None:
            return seen
        seen.append(taken.dialogue.id)
        for turn in range(len(taken.dialogue.turns)):
            ratings.rate(judge, taken.dialogue.id, turn, 3, now)


def readers(store: EpisodeStore) -> Counter:
    """How many judges have read each dialogue to its end."""
    with store.reading() as connection:
        query = sa.select(judgements.c.dialogue).where(judgements.c.finished)
        return Counter(row.dialogue for row in connection.execute(query))


# --- who reads what -----------------------------------------------------------------------------------


def test_each_dialogue_is_read_by_three_judges_in_an_order_of_their_own(
    store: EpisodeStore,
) -> None:
    ratings = Ratings(store, dialogues(8))
    seen = {name: judge_all(ratings, name) for name in ("anna", "bert", "carl", "dora")}
    assert [len(seen[name]) for name in seen] == [8, 8, 8, 0]
    assert len({tuple(order) for order in seen.values()}) == 4
    assert set(readers(store).values()) == {3} and len(readers(store)) == 8


def test_judges_who_come_at_the_same_time_never_are_more_than_three(store: EpisodeStore) -> None:
    ratings = Ratings(store, dialogues(5, turns=1))
    start = threading.Barrier(8)

    def judge(name: str) -> List[str]:
        start.wait()
        return judge_all(ratings, name)

    with ThreadPoolExecutor(8) as pool:
        seen = list(pool.map(judge, [f"judge {i}" for i in range(8)]))
    assert readers(store) == {f"m{i}": 3 for i in range(5)}
    assert sum(map(len, seen)) == 15
    assert all(len(set(ids)) == len(ids) for ids in seen)


def test_the_place_of_a_judge_who_left_halfway_goes_to_another_one(store: EpisodeStore) -> None:
    ratings = Ratings(store, dialogues(1), judges=1, patience=600)
    taken = ratings.take("anna", now=0)
    assert taken is not None
    ratings.rate("anna", "m0", 0, 5, now=100)
    assert ratings.take("bert", now=699) is None
    assert ratings.take("bert", now=701) is not None
    # Anna comes back while Bert reads: the place is taken, what she said stays.
    assert ratings.take("anna", now=702) is None
    with pytest.raises(PlaceLostError, match="what you rated is kept"):
        ratings.rate("anna", "m0", 1, 5, now=702)
    # Bert leaves as well: whoever comes first goes on.
    again = ratings.take("anna", now=2000)
    assert again is not None and again.ratings == (5, None)
    assert ratings.rate("anna", "m0", 1, 4, now=2001) == (5, 4)
    assert ratings.take("bert", now=2002) is None
    assert rating_figures(store)["models"]["m"]["ratings"] == 2


def test_a_judge_goes_on_where_he_was_also_in_another_process(
    store: EpisodeStore, url: str
) -> None:
    first = Ratings(store, dialogues(4, turns=3))
    taken = first.take("anna")
    assert taken is not None and (taken.read, taken.left) == (0, 3)
    first.rate("anna", taken.dialogue.id, 0, 4)
    other = EpisodeStore(url)
    again = Ratings(other, dialogues(4, turns=3)).take("anna")
    assert again is not None and again.dialogue == taken.dialogue
    assert again.ratings == (4, None, None)
    other.close()


def test_a_rating_that_is_sent_again_counts_once_and_a_later_one_takes_its_place(
    store: EpisodeStore,
) -> None:
    ratings = Ratings(store, dialogues(1))
    ratings.take("anna")
    assert ratings.rate("anna", "m0", 0, 2) == ratings.rate("anna", "m0", 0, 2) == (2, None)
    assert ratings.rate("anna", "m0", 1, 2) == (2, 2)
    assert ratings.rate("anna", "m0", 0, 4) == (4, 2)
    figures = rating_figures(store)["models"]["m"]
    assert (figures["ratings"], figures["mean"]) == (2, 3.0)


@pytest.mark.parametrize("rating", [0, 6, 2.5, True, "3", None])
def test_what_is_no_rating_is_refused(file_store: EpisodeStore, rating: object) -> None:
    ratings = Ratings(file_store, dialogues(1))
    ratings.take("anna")
    with pytest.raises(RatingError, match="a whole number from 1 to 5"):
        ratings.rate("anna", "m0", 0, rating)  # type: ignore[arg-type]


def test_only_turns_of_ones_own_dialogue_can_be_rated(file_store: EpisodeStore) -> None:
    ratings = Ratings(file_store, dialogues(1))
    with pytest.raises(RatingError, match="has not been given"):
        ratings.rate("anna", "m0", 0, 3)
    ratings.take("anna")
    for turn in (2, -1, None, True):
        with pytest.raises(RatingError, match="from 0 to 1"):
            ratings.rate("anna", "m0", turn, 3)  # type: ignore[arg-type]
    with pytest.raises(RatingError, match="no such dialogue"):
        ratings.rate("anna", "elsewhere", 0, 3)


def test_a_name_is_the_same_however_it_is_written() -> None:
    assert judge_name("  Anna  Maria ") == judge_name("anna maria")
    for text in ("", "  ", "x" * 65, "a\x00b"):
        with pytest.raises(RatingError, match="1 to 64 characters"):
            judge_name(text)


# --- where dialogues come from ------------------------------------------------------------------------


def talk(name: str, *replies: str) -> Dialogue:
    """A dialogue whose turns have one reply each; an empty one stands for an action without words."""
    return Dialogue(
        name,
        tuple(
            Turn(user=Utterance(f"words {i}"), actions=(SystemAction("act", text=reply or None),))
            for i, reply in enumerate(replies)
        ),
    )


def test_corpora_are_read_under_the_names_of_their_files(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "supervised.jsonl", [talk("1", "Hello", ""), talk("2", "Bye")])
    write_jsonl(tmp_path / "reinforced.jsonl", [talk("1", "Hello", "")])
    paths = [str(tmp_path / "supervised.jsonl"), str(tmp_path / "reinforced.jsonl")]
    found = corpus_dialogues(paths)
    assert [d.model for d in found] == ["supervised", "supervised", "reinforced"]
    assert found[0].turns == ({"user": "words 0", "bot": "Hello"}, {"user": "words 1", "bot": ""})
    assert len({d.id for d in found}) == 3
    assert found == corpus_dialogues(paths)
    assert Counter(d.model for d in sample(found, 1, seed=0)) == {"supervised": 1, "reinforced": 1}
    assert sample(found, 1, seed=0) == sample(found[::-1], 1, seed=0)
    (tmp_path / "other").mkdir()
    write_jsonl(tmp_path / "other" / "supervised.jsonl", [talk("1", "Hello")])
    with pytest.raises(RatingError, match="2 files are called 'supervised'"):
        corpus_dialogues([*paths, str(tmp_path / "other" / "supervised.jsonl")])
    write_jsonl(tmp_path / "silent.jsonl", [talk("7", "", "")])
    with pytest.raises(RatingError, match="dialogue '7' does not hold what the bot said"):
        corpus_dialogues([str(tmp_path / "silent.jsonl")])


def keep(store: EpisodeStore, sender: str, model: str, reply: str) -> str:
    """A conversation in the store."""
    id = store.begin(sender, 1.0)
    store.give(sender, Outcome(success=True), now=10.0)
    steps = ((Step(Decision("act", 0.5), "hybrid"), Step(Decision("action_listen"))),)
    said = Recorded(talk(sender, reply), steps, model, 5.0)
    assembly.keep(store, id, sender, 1.0, said, rated=store.settled(id))
    return id


def test_conversations_of_the_store_are_shown_until_they_are_deleted(store: EpisodeStore) -> None:
    first = keep(store, "anna", "m1", "Hello anna")
    second = keep(store, "bert", "m2", "Hello bert")
    keep(store, "carl", "m2", "")
    found = stored_dialogues(store)
    assert {(d.id, d.model) for d in found} == {(first, "m1"), (second, "m2")}
    assert [d.id for d in stored_dialogues(store, ["m2"])] == [second]
    with pytest.raises(RatingError, match="no conversation of the model m9"):
        stored_dialogues(store, ["m9"])
    ratings = Ratings(store, found)
    for judge in ("j1", "j2"):
        judge_all(ratings, judge)
    deleted = forget(store, "anna")
    assert deleted["judgements"] == 2
    assert judge_all(ratings, "j3") == [second]
    assert list(rating_figures(store)["models"]) == ["m2"]


def test_redacted_conversations_are_not_shown(file_store: EpisodeStore) -> None:
    id = keep(file_store, "anna", "m1", "Hello anna")
    ratings = Ratings(file_store, stored_dialogues(file_store))
    with file_store.writing() as connection:
        connection.execute(sa.text("UPDATE hybrid_episodes SET status = 'promoted'"))
    assert redact(file_store, "drop", before=100.0) == 1
    assert "Hello" not in json.dumps(file_store.episode(id).recorded.dialogue.transcript())  # type: ignore[union-attr]
    assert ratings.take("j") is None
    assert stored_dialogues(file_store) == []


def test_a_store_of_the_first_version_is_upgraded(url: str) -> None:
    store = EpisodeStore(url)
    id = keep(store, "anna", "m1", "Hello anna")
    with store.writing() as connection:
        connection.execute(sa.text("DROP TABLE hybrid_judgements"))
        connection.execute(sa.text(f"UPDATE {VERSION_TABLE} SET version_num = '0001'"))
    store.close()
    again = EpisodeStore(url)
    assert judge_all(Ratings(again, stored_dialogues(again)), "j") == [id]
    again.close()


# --- figures ------------------------------------------------------------------------------------------


def rated(store: EpisodeStore, model: str, *by_judge: Tuple[int, int]) -> None:
    """Ratings of a dialogue of two turns by several judges."""
    ratings = Ratings(store, dialogues(1, model=model))
    for i, given in enumerate(by_judge):
        ratings.take(f"judge {i}")
        for turn, rating in enumerate(given):
            ratings.rate(f"judge {i}", f"{model}0", turn, rating)


def test_figures_by_hand(file_store: EpisodeStore) -> None:
    rated(file_store, "first", (1, 2), (1, 3), (2, 3))
    rated(file_store, "second", (5, 4))
    figures = rating_figures(file_store)
    first = figures["models"]["first"]
    assert (first["dialogues"], first["ratings"], first["mean"]) == (1, 6, 2.0)
    # Squared distances from 2: 1, 1, 0, 0, 1, 1; sum 4, by n - 1.
    assert first["deviation"] == pytest.approx((4 / 5) ** 0.5)
    # Turns (1, 1, 2) and (2, 3, 3): each grade stands twice, so their middles are 1, 3, 5 and their distances 4, 4, 16.
    # Unequal pairs, each weighing 1/2: (1,2), (2,1), (2,3), (3,2) twice. D_o: 4 * 4 / 6. D_e: 8 * (4 + 4 + 16) / 30.
    assert first["alpha"] == pytest.approx(1 - (16 / 6) / (192 / 30))
    assert figures["models"]["second"]["mean"] == 4.5
    assert figures["models"]["second"]["alpha"] is None
    assert (figures["judges"], figures["dialogues"]) == (3, 2)


def test_ratings_are_printed_as_a_table_and_as_json(file_store: EpisodeStore) -> None:
    asked = ["ratings", "--store", str(file_store.engine.url)]
    assert "Nothing has been rated yet" in CliRunner().invoke(main, asked).stdout
    rated(file_store, "first", (1, 2), (1, 3), (2, 3))
    table = CliRunner().invoke(main, asked).stdout
    assert "2.000 ± 0.894" in table and "3 judges" in table
    told = json.loads(CliRunner().invoke(main, [*asked, "--json"]).stdout)
    assert told == rating_figures(file_store)


def test_what_can_not_be_served_is_an_error_that_says_why(
    file_store: EpisodeStore, tmp_path: Path
) -> None:
    write_jsonl(tmp_path / "silent.jsonl", [talk("7", "")])
    broken = tmp_path / "broken.jsonl"
    broken.write_text("{")
    base = ["serve-ratings", "--store", str(file_store.engine.url)]
    token = ["--token", "judges-only"]
    for arguments, message in (
        ([*base, *token], "Name what is to be rated"),
        ([*base, "--stored"], "--token"),
        ([*base, "--stored", "--token", "short"], "at least 8"),
        ([*base, "--stored", *token], "no dialogue to be rated"),
        ([*base, "--stored", "--model", "m9", *token], "no conversation of the model m9"),
        ([*base, "--dialogues", str(broken), "--model", "m", *token], "--stored"),
        ([*base, "--dialogues", str(broken), *token], "broken.jsonl:1: broken JSON"),
        ([*base, "--dialogues", str(tmp_path / "silent.jsonl"), *token], "what the bot said"),
        ([*base, "--dialogues", str(tmp_path / "none.jsonl"), *token], "does not exist"),
    ):
        done = CliRunner().invoke(main, arguments)
        assert done.exit_code in (1, 2) and message in done.output, (arguments, done.output)
