from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rasa_hybrid.dialogue import DialogueAct
from rasa_hybrid.simulation import SimulatorError
from rasa_hybrid.simulation.overlap import new_words, tokens, too_close
from rasa_hybrid.simulation.spoken_values import SpokenValue
from rasa_hybrid.simulation.surface import SurfaceSet, read_surfaces
from rasa_hybrid.simulation.templates import (
    INFORMING,
    SYSTEM_ACTS,
    USER_ACTS,
    TemplateKey,
    format_key,
    parse_key,
    parse_template,
)

FOLDER = (
    Path(__file__).resolve().parents[2] / "examples" / "movie_booking" / "simulator" / "surfaces"
)
SLOTS = ("movie", "theatre_name", "date", "time", "num_tickets")
SETS = ("train", "extended-teach", "extended-test")

names = st.from_regex(r"[a-z][a-z_]{0,8}", fullmatch=True)


@st.composite
def keys(draw):
    terms = {}
    for act in draw(
        st.lists(st.sampled_from(sorted(USER_ACTS)), min_size=1, max_size=4, unique=True)
    ):
        slots = [""]
        if USER_ACTS[act] == "always" or (USER_ACTS[act] == "maybe" and draw(st.booleans())):
            slots = draw(st.lists(names, min_size=1, max_size=3, unique=True))
        for slot in slots:
            value = (
                draw(st.sampled_from(["", "dontcare", "2"])) if slot and act in INFORMING else ""
            )
            terms[(act, slot)] = value
    after = draw(st.none() | st.tuples(st.sampled_from(SYSTEM_ACTS), st.just("") | names))
    return TemplateKey(
        tuple(sorted((act, slot, value) for (act, slot), value in terms.items())), after
    )


@given(keys())
def test_a_key_reads_back_as_it_was_written(key):
    assert parse_key(format_key(key)) == key


@given(st.text(max_size=40))
def test_any_text_is_a_key_or_a_value_error(text):
    try:
        key = parse_key(text)
    except ValueError:
        return
    assert parse_key(format_key(key)) == key


@given(
    st.lists(
        st.sampled_from(["to ", "{date}", "see ", "{movie:plain}", "{", "}", "{time}"]), max_size=6
    ).map("".join)
)
def test_template_shows_each_slot_of_its_acts_once_or_is_refused(text):
    terms = (("inform", "date", ""), ("inform", "movie", ""))
    fits = text.count("{date}") == 1 and text.count("{movie:plain}") == 1
    fits = fits and text.count("{") == 2 == text.count("}") and "{time}" not in text
    try:
        template = parse_template(text, terms)
    except ValueError:
        assert not fits
    else:
        assert fits
        assert (
            "".join(
                piece.words
                + (
                    f"{{{piece.slot}{':' + piece.form if piece.form else ''}}}"
                    if piece.slot
                    else ""
                )
                for piece in template.pieces
            )
            == text
        )


def surfaces(text, tmp_path, slots=("movie", "date")):
    path = tmp_path / "forms.yml"
    path.write_text(text, encoding="utf-8")
    return read_surfaces(path, slots)


@pytest.mark.parametrize(
    "text, line, words",
    [
        ("user:\n  inform(movie): |\n    see {movie}\n    see {film}\n", 4, "unknown slot {film}"),
        ("user:\n  inform(film): |\n    see {film}\n", 3, "unknown slot 'film'"),
        ("user:\n  greeting: |\n    hi\n  shout: |\n    ho\n", 4, "unknown user act 'shout'"),
        ("user:\n  inform(movie): |\n    \n    something\n", 4, "has to stand here once"),
        ("user:\n  correct(movie): |\n    {movie}\n", 3, "wrong} is missing"),
        ("user:\n  greeting: |\n    hi\npolite: |\n  please\n", 5, "needs {} once"),
        ("user:\n  greeting: [hi]\n", 2, "one template a line"),
        ("user:\n  greeting: |\n    hi\nusers:\n", 4, "unknown section"),
        ("user:\n  inform(movie) after hello: |\n    {movie}\n", 2, "has to be one system act"),
        ("user:\n  greeting: |\n    hi\n  greeting: |\n    ho\n", 4, "stands here twice"),
    ],
)
def test_mistakes_in_templates_name_file_and_line(tmp_path, text, line, words):
    with pytest.raises(SimulatorError) as error:
        surfaces(text, tmp_path)
    assert f"forms.yml:{line}:" in str(error.value)
    assert words in str(error.value)


SPOKEN = {
    "movie": {"Up": SpokenValue(("Up",), ("Up",))},
    "date": {
        "friday": SpokenValue(("friday",), ("this friday",)),
        "monday": SpokenValue(("monday",), ("monday",)),
    },
}


def say(forms, acts, heard=(), **options):
    rng = np.random.default_rng(1)
    return forms.realise(acts, forms.heard(heard), SPOKEN, rng, **options)


def inform(slot, value):
    return DialogueAct("inform", slot, value)


def test_values_are_marked_where_they_stand_in_the_text(tmp_path):
    forms = surfaces("user:\n  inform(movie, date): |\n    on {date} I'll see {movie}\n", tmp_path)
    text, entities = say(forms, [inform("movie", "Up"), inform("date", "friday")])
    assert text == "on this friday I'll see Up"
    assert {(e.name, e.value, text[e.start : e.end]) for e in entities} == {
        ("movie", "Up", "Up"),
        ("date", "friday", "this friday"),
    }


def test_marks_stay_right_behind_a_decoration(tmp_path):
    forms = surfaces(
        "polite: |\n  oh please, {}\nuser:\n  inform(movie): |\n    see {movie}\n", tmp_path
    )
    text, (entity,) = say(forms, [inform("movie", "Up")], polite=True)
    assert text == "oh please, see Up"
    assert text[entity.start : entity.end] == "Up"


def test_plain_form_is_used_where_the_template_asks_for_it(tmp_path):
    forms = surfaces("user:\n  inform(date): |\n    the {date:plain} show\n", tmp_path)
    assert say(forms, [inform("date", "friday")])[0] == "the friday show"


def test_bare_answer_is_only_given_to_a_question_about_its_slot(tmp_path):
    forms = surfaces(
        "user:\n  inform(date): |\n    on {date}\n  inform(date) after request(date): |\n    {date}\n",
        tmp_path,
    )
    asked = {say_seeded(forms, seed, [DialogueAct("request", "date")]) for seed in range(30)}
    other = {say_seeded(forms, seed, [DialogueAct("request", "movie")]) for seed in range(30)}
    assert asked == {"on this friday", "this friday"}
    assert other == {"on this friday"}


def say_seeded(forms, seed, heard):
    rng = np.random.default_rng(seed)
    return forms.realise([inform("date", "friday")], forms.heard(heard), SPOKEN, rng)[0]


def test_acts_without_a_common_template_are_said_one_after_the_other(tmp_path):
    forms = surfaces(
        "user:\n  greeting: |\n    hi\n  inform(date): |\n    on {date}\n  inform(movie): |\n    see {movie}\n",
        tmp_path,
    )
    text, entities = say(
        forms, [DialogueAct("greeting"), inform("movie", "Up"), inform("date", "monday")]
    )
    assert text.startswith("hi")
    assert "see Up" in text and "on monday" in text
    assert [text[e.start : e.end] for e in entities] == [e.value for e in entities]


def test_star_stands_for_every_slot(tmp_path):
    forms = surfaces("user:\n  inform(*) after request(*): |\n    {*} it is\n", tmp_path)
    assert say(forms, [inform("movie", "Up")], [DialogueAct("request", "movie")])[0] == "Up it is"
    assert len(forms) == 1


def test_words_agree_with_the_number(tmp_path):
    forms = surfaces(
        "user:\n  inform(n): |\n    {n} {n?seat|seats}\n    we are {n:many}\n",
        tmp_path,
        slots=("n",),
    )
    said = {
        forms.realise([inform("n", value)], frozenset(), {"n": {}}, np.random.default_rng(seed))[0]
        for value in ("1", "3")
        for seed in range(20)
    }
    assert said == {"1 seat", "3 seats", "we are 3"}


def test_unknown_acts_are_taken_from_the_fallback(tmp_path):
    fallback = surfaces("user:\n  cancel: |\n    forget it\n", tmp_path)
    forms = SurfaceSet("other", ("movie",), fallback)
    forms.add(parse_key("inform(movie)"), "{movie}")
    assert say(forms, [DialogueAct("cancel")])[0] == "forget it"


# ------------------------------------------------------------------------------------ the sets of movie booking


@pytest.fixture(scope="module")
def sets():
    return {name: read_surfaces(FOLDER / f"{name}.yml", SLOTS, name) for name in SETS}


@pytest.mark.parametrize("name", SETS)
def test_each_set_has_300_templates_and_none_twice(sets, name):
    assert len(sets[name]) >= 300
    said = [(format_key(key), tokens(template.text)) for key, template in sets[name].source]
    assert len(set(said)) == len(said)


@pytest.mark.parametrize(
    "first, second", [(SETS[0], SETS[1]), (SETS[0], SETS[2]), (SETS[1], SETS[2])]
)
def test_no_template_of_one_set_is_nearly_one_of_another(sets, first, second):
    assert too_close(sets[first], sets[second]) == []


@pytest.mark.parametrize("name", SETS[1:])
def test_extended_sets_bring_150_words_that_train_lacks(sets, name):
    assert len(new_words(sets[name], sets["train"])) >= 150


def test_closeness_is_measured_in_tokens_of_the_longer_template(tmp_path):
    first, second = SurfaceSet("a", ("date",)), SurfaceSet("b", ("date",))
    first.add(
        parse_key("inform(date)"), "I want to go on {date}"
    )  # 6 tokens: 2 changes are within 0.35 * 6
    second.add(parse_key("inform(date)"), "I need to go this {date}")
    assert len(too_close(first, second)) == 1
    assert too_close(first, second, share=0.3) == []
