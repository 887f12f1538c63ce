"""The one text normalisation: what it makes equal, and that its tokens point at the original text."""

from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rasa_hybrid.dialogue import normalise, tokenize

#: Every kind of character that users type, with more of what the rules look at.
TEXTS = st.text(
    st.one_of(
        st.sampled_from("0123456789:.,'’ &-"),
        st.sampled_from("aApPmMsStTIiİıßÄäéñç"),
        st.sampled_from("東京タワーがสวัสดีहिन्दीمحمد한국"),
        st.characters(exclude_categories=("Cs",)),
    )
)
SPOKEN = st.lists(
    st.sampled_from(
        "a quarter half past to six thirty twenty one twelve noon midnight 6 30 6:30 18.45 pm p m am o clock "
        "o'clock in the evening at night uh don ' t & i'd like 00:00 24:00 25:61".split()
    )
).map(" ".join)


@pytest.mark.parametrize(
    ("said", "normal"),
    [
        ("6 pm", "6:00pm"),
        ("6.00 p.m.", "6:00pm"),
        ("6:00 PM", "6:00pm"),
        ("6pm", "6:00pm"),
        ("six o'clock in the evening", "6:00pm"),
        ("six p m", "6:00pm"),
        ("18:00", "6:00pm"),
        ("half past six", "6:30"),
        ("six thirty", "6:30"),
        ("six thirty pm", "6:30pm"),
        ("quarter past 6 am", "6:15am"),
        ("a quarter to one", "12:45"),
        ("8 at night", "8:00pm"),
        ("noon", "12:00pm"),
        ("midnight", "12:00am"),
        ("00:15", "12:15am"),
        ("7 o clock", "7:00"),
    ],
)
def test_a_clock_time_has_one_form_however_it_is_said(said, normal):
    assert normalise(said) == normal


@pytest.mark.parametrize(
    "said", ["25:00", "6:75", "half past", "half a dozen", "a quarter", "13 pm"]
)
def test_what_is_no_clock_time_is_left_alone(said):
    assert not re.search(r"[ap]m$", normalise(said).split()[0])


def test_digits_of_a_phone_number_are_no_clock_time():
    assert normalise("call 555 6 30 12") == "call 555 6 30 12"


@pytest.mark.parametrize(
    ("said", "normal"),
    [
        ("twenty one tickets", "21 tickets"),
        ("twenty-one", "21"),
        ("twenty", "20"),
        ("ninety nine", "99"),
        ("twenty twelve", "20 12"),
        ("nineteen", "19"),
        ("two or three", "2 or 3"),
        ("1,000.50", "1,000.50"),
    ],
)
def test_number_words_become_digits(said, normal):
    assert normalise(said) == normal


@pytest.mark.parametrize("said", ["we'd like", "We’d like", "we ' d like"])
def test_a_contracted_verb_is_a_word_of_its_own(said):
    assert normalise(said) == "we d like"
    assert normalise("they'll see you've known") == "they ll see you ve known"
    assert (
        normalise("theyll see youve known it'll rain, wed")
        == "they ll see you ve known it ll rain wed"
    )
    for text in ("We'd", "Youre"):
        for token in tokenize(text):
            assert text[token.start : token.end].lower() == token.text


@pytest.mark.parametrize("said", ["I'm sure I'd", "i’m sure i ’ d", "i ' m sure i'd", "im sure id"])
def test_what_is_contracted_with_i_is_one_word_as_transcribers_write_it(said):
    assert normalise(said) == "im sure id"


@pytest.mark.parametrize("said", ["don't", "don’t", "don ' t", "DON'T", "don ’ t", "dont"])
def test_contractions_are_one_word_however_a_tokenizer_splits_them(said):
    assert normalise(said) == "dont"


def test_fillers_are_dropped_and_an_ampersand_is_the_word_and():
    assert normalise("uh, Romeo & Juliet, um, please") == "romeo and juliet please"


def test_english_rules_are_for_english_only():
    assert normalise("um six Uhr & half past six", "de") == "um six uhr & half past six"


def test_german_spellings_of_one_word_are_equal():
    assert normalise("STRASSE", "de") == normalise("Straße", "de") == "strasse"
    assert normalise("Übergröße", "de") == normalise("U\u0308BERGRO\u0308SSE", "de")


def test_turkish_keeps_its_two_letters_i_apart_and_other_languages_know_one():
    assert normalise("DİYARBAKIR", "tr") == normalise("diyarbakır", "tr") == "diyarbakır"
    assert normalise("IŞIK", "tr") == normalise("ışık", "tr") != normalise("işik", "tr")
    assert normalise("İstanbul", "en") == normalise("istanbul", "en") == "istanbul"


def test_scripts_without_spaces_are_split_by_character_also_beside_latin_words():
    assert normalise("BTSの東京tour", "ja") == "bts の 東 京 tour"
    assert len(tokenize("สวัสดี", "th")) == 4  # vowel and tone signs stay with their consonant


def test_vowel_signs_stay_in_their_word():
    assert normalise("हिन्दी में", "hi") == "हिन्दी में"


def test_emoji_and_punctuation_are_no_words():
    assert tokenize("❤️ 🎬 !!! …", "en") == ()
    assert normalise("yes 👍🏽!") == "yes"


def test_full_width_letters_are_letters():
    assert normalise("Ｆｒｉｄａｙ　７ｐｍ") == "friday 7:00pm"


def test_a_tokenizer_of_a_pipeline_can_stand_in_for_ours():
    def at_hyphens_too(text):
        return [match.span() for match in re.finditer(r"[^\s-]+", text)]

    assert normalise("Rock-'n'-Roll Bar", "de", at_hyphens_too) == "rock n roll bar"
    assert normalise("six-thirty pm", "en", at_hyphens_too) == "6:30pm"


def test_a_span_of_a_merged_token_covers_all_the_words_it_stands_for():
    text = "Two tickets at half past six p.m., please"
    by_token = {token.text: text[token.start : token.end] for token in tokenize(text)}
    assert by_token == {
        "2": "Two",
        "tickets": "tickets",
        "at": "at",
        "6:30pm": "half past six p.m",
        "please": "please",
    }


@pytest.mark.parametrize("language", ["en", "de", "tr", "th", "ja"])
@settings(deadline=None)
@given(text=st.one_of(TEXTS, SPOKEN))
def test_spans_always_index_the_original_text_in_order_and_without_overlap(language, text):
    end = 0
    for token in tokenize(text, language):
        assert end <= token.start < token.end <= len(text)
        end = token.end
        assert token.text and not re.search(r"\s", token.text)
        assert any(character.isalnum() for character in text[token.start : token.end]) or (
            text[token.start : token.end] == "&"
        )


@settings(deadline=None)
@given(text=st.one_of(TEXTS, SPOKEN))
def test_composed_and_decomposed_characters_are_equal(text):
    assert normalise(unicodedata.normalize("NFD", text)) == normalise(
        unicodedata.normalize("NFC", text)
    )


@settings(deadline=None)
@given(text=SPOKEN)
def test_normalising_twice_changes_nothing(text):
    assert normalise(normalise(text)) == normalise(text)


@settings(deadline=None)
@given(text=st.one_of(TEXTS, SPOKEN))
def test_letter_case_and_surrounding_blanks_do_not_matter(text):
    lowered = text.lower() if text.lower().upper() == text.upper() else text
    assert normalise(f"  {lowered}\n") == normalise(text)
