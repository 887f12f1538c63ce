"""The page of ratings in a real browser: read, rate, change, resume; who may, and what is told of a dialogue."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Dict, Iterator, Optional, Tuple

import pytest
from playwright.sync_api import Page, expect

from rasa_hybrid.corpora import write_jsonl
from rasa_hybrid.dialogue import Dialogue, SystemAction, Turn, Utterance
from rasa_hybrid.feedback.ratings import rating_figures
from rasa_hybrid.feedback.store import EpisodeStore

TOKEN = "judges-only"

pytestmark = [pytest.mark.process, pytest.mark.browser]


def talk(name: str) -> Dialogue:
    said = (
        ("<img src=x onerror=alert(1)> thai food", "On which day?"),
        ("on friday", "How about Bangkok on friday?"),
        ("thanks", ""),
    )
    return Dialogue(
        name,
        tuple(
            Turn(user=Utterance(user), actions=(SystemAction("act", text=bot),))
            for user, bot in said
        ),
    )


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Any]:
    """The command, serving two dialogues of each of two models."""
    files = []
    for model in ("supervised", "reinforced"):
        files += ["--dialogues", str(tmp_path / f"{model}.jsonl")]
        write_jsonl(tmp_path / f"{model}.jsonl", [talk("1"), talk("2")])
    store = f"sqlite:///{tmp_path / 'ratings.db'}"
    command = [sys.executable, "-m", "rasa_hybrid.commands", "serve-ratings", "--store", store]
    running = SimpleNamespace(store=store, process=None, url="")

    def start(port: str = "0") -> None:
        running.process = subprocess.Popen(
            [*command, *files, "--port", port],
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.getcwd(), "RASA_HYBRID_RATINGS_TOKEN": TOKEN},
        )
        told = ""
        for line in running.process.stderr:
            told += line
            if line.startswith("http://"):
                running.url = line.strip()
                return
        raise AssertionError(told)

    def stop(how: int = signal.SIGTERM) -> None:
        running.process.send_signal(how)
        running.process.wait(30)
        running.process.stderr.close()

    running.start, running.stop = start, stop
    start()
    yield running
    stop()


@pytest.fixture
def page(chromium: Any, served: Any) -> Iterator[Page]:
    """The page, on which nobody has signed in."""
    opened = chromium.new_page(viewport={"width": 1280, "height": 800})
    opened.set_default_timeout(30_000)
    opened.received, opened.errors, opened.asked = [], [], []
    opened.on("request", lambda request: opened.asked.append(request.url))
    opened.on("response", lambda response: opened.received.append(response))
    opened.on("pageerror", lambda error: opened.errors.append(str(error)))
    opened.goto(served.url)
    yield opened
    assert opened.errors == []
    opened.close()


def sign_in(page: Page, judge: str, token: str = TOKEN) -> None:
    page.fill("#judge", judge)
    page.fill("#token", token)
    page.keyboard.press("Enter")


def press(page: Page, key: str, given: int) -> None:
    """Rates by the keyboard, and waits until so many turns of the dialogue are rated."""
    expect(page.locator("body")).not_to_have_attribute("aria-busy", "true")
    page.keyboard.press(key)
    expect(page.locator("#chat .given")).to_have_count(given)


def rate_all(page: Page, grades: str) -> None:
    for i, grade in enumerate(grades):
        press(page, grade, i + 1)
    expect(page.locator("#next")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#next")).to_be_hidden()


def figures(served: Any) -> Dict[str, Any]:
    store = EpisodeStore(served.store)
    found = rating_figures(store)
    store.close()
    return found


def test_a_judge_rates_every_turn_with_the_keyboard_alone_and_is_never_told_the_model(
    page: Page, served: Any
) -> None:
    expect(page.locator("#judge")).to_be_focused()
    page.keyboard.type("Anna")
    page.keyboard.press("Tab")
    page.keyboard.type(TOKEN)
    page.keyboard.press("Enter")
    # What comes later in the dialogue is not seen yet.
    expect(page.locator("#chat .user")).to_have_text("<img src=x onerror=alert(1)> thai food")
    expect(page.locator("#chat .bot")).to_have_text("On which day?")
    expect(page.locator("#progress")).to_have_text("Dialogue 1, 3 left")
    press(page, "5", 1)
    expect(page.locator("#chat .bot.asked")).to_have_text("How about Bangkok on friday?")
    page.keyboard.press("7")
    press(page, "4", 2)
    expect(page.locator("#chat .bot.asked")).to_have_text("(says nothing)")
    # Back to the first turn, which was not that good.
    page.keyboard.press("u")
    page.keyboard.press("u")
    expect(page.locator("#chat .bot.asked")).to_have_text("On which day?")
    expect(page.locator("#grades [aria-pressed=true]")).to_have_text("5")
    page.keyboard.press("3")
    expect(page.locator("#chat .given").first).to_have_text("rated 3")
    press(page, "1", 3)
    page.keyboard.press("Enter")
    for _ in range(3):
        expect(page.locator("#chat .bot")).to_have_count(1)
        rate_all(page, "222")
    expect(page.locator("#done")).to_contain_text("nothing left for you to rate")
    found = figures(served)
    assert [model["ratings"] for model in found["models"].values()] == [6, 6]
    means = sorted(model["mean"] for model in found["models"].values())
    assert means == pytest.approx([2.0, (3 + 4 + 1 + 6) / 6])
    told = [answer.text() for answer in page.received if answer.request.method == "POST"]
    told += [json.dumps(dict(answer.headers)) for answer in page.received]
    assert told and not any("supervised" in text or "reinforced" in text for text in told)
    assert {url.split("/")[2] for url in page.asked if not url.startswith("data:")} == {
        served.url.split("/")[2]
    }


def test_what_was_rated_survives_a_killed_server_and_a_closed_page(
    page: Page, served: Any, chromium: Any
) -> None:
    sign_in(page, "Anna")
    press(page, "4", 1)
    served.stop(signal.SIGKILL)
    page.keyboard.press("5")
    expect(page.locator("#message")).to_have_text(
        "The server does not answer. What you rated so far is kept."
    )
    served.start(served.url.rstrip("/").rpartition(":")[2])
    press(page, "5", 2)
    page.reload()
    expect(page.locator("#chat .given")).to_have_count(2)
    other = chromium.new_page()
    other.goto(served.url)
    sign_in(other, " ANNA ")
    expect(other.locator("#chat .given")).to_have_text(["rated 4", "rated 5"])
    other.get_by_role("button", name="Change the rating of answer 1").click()
    other.get_by_role("button", name="2 of 5").click()
    expect(other.locator("#chat .given").first).to_have_text("rated 2")
    other.close()
    [model] = figures(served)["models"].values()
    assert (model["ratings"], model["mean"]) == (2, 3.5)


def test_a_fourth_judge_is_thanked_at_once(page: Page, served: Any) -> None:
    for judge in ("a", "b", "c"):
        for _ in range(4):
            _, taken = post(served, "take", {"judge": judge})
            for turn in range(3):
                body = {"judge": judge, "dialogue": taken["dialogue"], "turn": turn, "rating": 4}
                assert post(served, "rate", body)[0] == 200
    sign_in(page, "d")
    expect(page.locator("#done")).to_be_visible()
    found = figures(served)
    assert found["judges"] == 3
    assert [model["ratings"] for model in found["models"].values()] == [18, 18]


@pytest.mark.parametrize("width", [320, 390, 1280])
def test_everything_is_within_reach_on_phones_and_desktops(page: Page, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 640})
    sign_in(page, "Anna")
    for i in range(2):
        page.get_by_role("button", name="4 of 5").click()
        expect(page.locator("#chat .given")).to_have_count(i + 1)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for button in page.locator("button:visible").all():
        box = button.bounding_box()
        assert box and box["height"] >= 40, button.inner_text()
        assert box["x"] >= 0 and box["x"] + box["width"] <= width
    # The question stays in sight however long the dialogue is.
    for place in ("#grades", "#chat .asked"):
        expect(page.locator(place)).to_be_in_viewport()
    assert page.evaluate("parseFloat(getComputedStyle(document.body).fontSize)") >= 16


def post(
    served: Any, path: str, body: Any, headers: Optional[Dict[str, str]] = None
) -> Tuple[int, Dict[str, Any]]:
    """Status and content of an answer."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {"Authorization": f"Bearer {TOKEN}"} if headers is None else headers
    request = urllib.request.Request(f"{served.url}api/{path}", data, headers, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


def test_without_the_token_nothing_is_told(page: Page, served: Any) -> None:
    basic = {"Authorization": f"Basic {TOKEN}"}
    for headers in ({}, {"Authorization": "Bearer wrong"}, basic):
        for path in ("take", "rate"):
            answer = post(served, path, {"judge": "anna"}, headers)
            assert answer == (401, {"message": "The token is missing or wrong."})
    sign_in(page, "anna", "not the token")
    expect(page.locator("#message")).to_have_text("The token is missing or wrong.")
    expect(page.locator("#sign-in")).to_be_visible()


def test_wrong_requests_are_told_what_is_wrong(served: Any) -> None:
    _, taken = post(served, "take", {"judge": "anna"})
    rating = {"judge": "anna", "dialogue": taken["dialogue"], "turn": 0, "rating": 3}
    for path, body, status, message in (
        ("take", b"{", 400, "The body has to be a JSON object."),
        ("take", b"[1]", 400, "The body has to be a JSON object."),
        ("take", b"[" * 9000, 400, "The body has to be a JSON object."),
        ("take", {}, 400, "judge has to be a text."),
        ("take", {"judge": " "}, 400, "A judge needs a name of 1 to 64 characters."),
        ("dance", {"judge": "anna"}, 404, "There is no such request."),
        ("take", {"judge": "a" * 20_000}, 413, "A request may have 10000 bytes."),
        ("rate", {**rating, "rating": 9}, 400, "rating has to be a whole number from 1 to 5."),
        ("rate", {**rating, "turn": 3}, 400, None),
        ("rate", {**rating, "dialogue": "\ud800"}, 400, "There is no such dialogue."),
        ("rate", {**rating, "judge": "bert"}, 400, "This judge has not been given this dialogue."),
    ):
        answer = post(served, path, body)
        assert answer[0] == status, answer
        assert message is None or answer[1]["message"] == message
    with pytest.raises(urllib.error.HTTPError, match="404"):
        urllib.request.urlopen(f"{served.url}../ratings.py")
