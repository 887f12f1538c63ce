"""The teaching page in a real browser: correct the bot, take back, finish; who may, and what it loads."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Dict, Iterator

import pytest
import yaml
from playwright.sync_api import Page, expect

from tests.components.bot_server import BotServer, bot_server

TOKEN = "teachers-only"
PAGE = "/webhooks/hybrid/teach"
DIALOGUES = f"{PAGE}/api/dialogues"

pytestmark = [pytest.mark.process, pytest.mark.browser]


@pytest.fixture(scope="module")
def served(
    archive: Path, actions_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Any]:
    """A server with the page, and the folder that it runs in."""
    folder = tmp_path_factory.mktemp("teaching_page")
    channel = {
        "store": f"sqlite:///{folder / 'feedback.db'}",
        "teach": {"enabled": True, "token": TOKEN},
    }
    with bot_server(archive, folder, actions_url, channel) as server:
        yield SimpleNamespace(server=server, folder=folder, corpus=folder / "data_taught")


@pytest.fixture
def page(chromium: Any, served: Any) -> Iterator[Page]:
    """A page on which a new dialogue has begun."""
    opened = chromium.new_page(viewport={"width": 1280, "height": 800})
    opened.set_default_timeout(30_000)
    opened.asked = []
    opened.errors = []
    opened.on("request", lambda request: opened.asked.append(request.url))
    opened.on("pageerror", lambda error: opened.errors.append(str(error)))
    opened.goto(served.server.url + PAGE)
    opened.fill("#token", TOKEN)
    opened.keyboard.press("Enter")
    opened.get_by_role("button", name="New dialogue").click()
    expect(opened.locator("#text")).to_be_focused()
    yield opened
    assert opened.errors == []
    opened.close()


def say(page: Page, text: str) -> None:
    page.keyboard.type(text)
    page.keyboard.press("Enter")
    expect(page.locator("#chat .user").last).to_have_text(text)
    expect(page.locator("#acts button").first).to_be_focused()


def accept(page: Page, replies: int) -> None:
    """Takes what the bot would do, by the keyboard, and waits for so many replies in all."""
    expect(page.locator("body")).not_to_have_attribute("aria-busy", "true")
    page.keyboard.press("Enter")
    expect(page.locator("#chat .bot")).to_have_count(replies)


def listen(page: Page) -> None:
    expect(page.locator("#acts button").first).to_contain_text("wait for the user")
    expect(page.locator("#acts button").first).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#text")).to_be_focused()


def goal(page: Page) -> Dict[str, str]:
    slots = page.locator("#goal .choice")
    return {
        slots.nth(i).locator(".name").inner_text(): slots.nth(i).locator(".value").inner_text()
        for i in range(slots.count())
    }


def story(served: Any) -> Any:
    """The last dialogue of the corpus, and what was corrected in it."""
    file = max(served.corpus.glob("*.yml"), key=lambda path: path.stat().st_mtime_ns)
    lines = (served.corpus / "corrections.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    [entry] = yaml.safe_load(file.read_text())["stories"]
    return entry["steps"], [r for r in records if r["dialogue"] == file.stem]


def test_a_teacher_corrects_goal_and_action_takes_back_and_rates_with_the_keyboard_alone(
    page, served
):
    say(page, "i want thai food")
    assert goal(page) == {"cuisine": "thai", "date": "not said"}
    # Nothing has run, and nothing was said, before the teacher decides.
    assert page.locator("#chat .bot").count() == 0
    expect(page.locator("#result")).to_have_text("3 found, 3 not offered yet.")
    accept(page, 1)
    expect(page.locator("#chat .bot")).to_have_text("On which day?")
    listen(page)
    say(page, "on friday")
    page.keyboard.press("g")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_label("Another value of date")).to_be_focused()
    page.keyboard.type("MONDAY")
    page.keyboard.press("Enter")
    expect(page.locator("#goal .taught .value")).to_have_text("monday")
    expect(page.locator("#entities td").first).to_have_text("2")
    expect(page.locator("#acts button").first).to_be_focused()
    accept(page, 2)
    expect(page.locator("#chat .bot").last).to_have_text("How about Bangkok on monday?")
    page.keyboard.press("u")
    expect(page.locator("#chat .bot")).to_have_count(1)
    page.locator("#all-acts").select_option("utter_no_match")
    expect(page.locator("#chat .act").last).to_have_text("utter_no_match")
    expect(page.locator("#chat .act").last).to_have_class("act taught")
    listen(page)
    page.locator("#undo").focus()
    page.keyboard.press("f")
    page.get_by_text("4", exact=True).click()
    page.get_by_role("button", name="Keep it").click()
    expect(page.locator("#message")).to_contain_text("Kept as")
    steps, corrections = story(served)
    assert [step for step in steps if "intent" not in step] == [
        {"slot_was_set": [{"cuisine": "thai"}]},
        {"action": "utter_ask_date"},
        {"slot_was_set": [{"date": "monday"}]},
        {"action": "utter_no_match"},
    ]
    said = [(r["kind"], r.get("believed") or r.get("would_have")) for r in corrections]
    assert said == [("goal", "friday"), ("action", "utter_offer"), ("rating", None)]
    assert corrections[-1]["rating"] == 4
    hosts = {url.split("/")[2] for url in page.asked if not url.startswith("data:")}
    assert hosts == {served.server.url.split("/")[2]}


def test_a_likely_value_and_anything_are_one_click_and_words_are_never_html(page):
    say(page, "<img src=x onerror=alert(1)> italian please")
    expect(page.locator("#chat .user")).to_have_text("<img src=x onerror=alert(1)> italian please")
    page.locator("#goal .choice", has_text="cuisine").click()
    page.get_by_role("button", name="french", exact=False).first.click()
    expect(page.locator("#goal .taught .value")).to_have_text("french")
    page.locator("#goal .choice", has_text="date").click()
    page.get_by_role("button", name="anything is fine").click()
    expect(page.locator("#goal .taught")).to_have_count(2)
    assert goal(page) == {"cuisine": "french", "date": "dontcare"}
    page.locator("#goal .choice", has_text="cuisine").click()
    page.get_by_label("Another value of cuisine").fill("klingon")
    page.keyboard.press("Enter")
    expect(page.locator("#message")).to_contain_text("cuisine can't be 'klingon'")


def test_a_reloaded_page_goes_on_where_it_was_and_a_dialogue_can_be_taken_up_or_thrown_away(
    page, served
):
    say(page, "hello")
    page.reload()
    expect(page.locator("#chat .user")).to_have_text("hello")
    expect(page.locator("#acts button").first).to_be_focused()
    page.evaluate("sessionStorage.removeItem('conversation')")
    page.reload()
    page.get_by_role("button", name="“hello”, 1 turn").click()
    expect(page.locator("#chat .user")).to_have_text("hello")
    page.locator("#finish").click()
    page.get_by_role("button", name="Throw it away").click()
    expect(page.locator("#message")).to_have_text("Thrown away.")
    assert page.get_by_text("“hello”").count() == 0


@pytest.mark.parametrize("width", [320, 390, 1280])
def test_everything_is_within_reach_on_phones_and_desktops(page, width):
    page.set_viewport_size({"width": width, "height": 740})
    say(page, "thai food on friday")
    page.locator("#goal .choice").first.click()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for button in page.locator("button:visible, input:visible, select:visible").all():
        box = button.bounding_box()
        assert box["height"] >= 40, button.inner_text()
        assert box["x"] >= 0 and box["x"] + box["width"] <= width
    assert page.evaluate("parseFloat(getComputedStyle(document.body).fontSize)") >= 16


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": f"Basic {TOKEN}"},
        {"Authorization": "Bearer \u00e9\u00ff"},
    ],
)
def test_without_the_token_nothing_is_told(served, headers):
    server: BotServer = served.server
    for method, path in (
        ("GET", DIALOGUES),
        ("POST", DIALOGUES),
        ("GET", f"{DIALOGUES}/x"),
        ("POST", f"{DIALOGUES}/x/say"),
    ):
        answer = server.ask(method, path, {"text": "hi"} if method == "POST" else None, headers)
        assert (answer.status, answer.body["message"]) == (401, "The token is missing or wrong.")


def test_wrong_requests_are_told_what_is_wrong(served):
    def ask(path: str, body: Any = None) -> Any:
        headers = {"Authorization": f"Bearer {TOKEN}"}
        answer = served.server.ask("POST", DIALOGUES + path, body or {"x": 1}, headers)
        return answer.status, answer.body.get("message", "") if answer.status != 201 else (
            answer.body["conversation"]
        )

    _, conversation = ask("")
    assert ask("/gone/say", {"text": "hi"})[0] == 404
    assert ask(f"/{conversation}/say", {"text": 3})[0] == 400
    assert ask(f"/{conversation}/dance")[0] == 404
    assert ask(f"/{conversation}/say", b"[1]") == (400, "The body has to be an object.")
    assert ask(f"/{conversation}/say", {"text": "x" * 30_000})[0] == 413
    assert ask(f"/{conversation}/act", {"action": "utter_greet"})[1] == "It is the user's turn."
    assert ask(f"/{conversation}/act", {"action": "nonsense"})[0] == 409
    assert (
        "after the user's next message"
        in (ask(f"/{conversation}/goal", {"slot": "date", "value": "friday"})[1])
    )
    assert ask(f"/{conversation}/finish", {"rating": 9})[0] == 400


def test_the_page_is_off_unless_it_is_enabled(tmp_path):
    from sanic import Sanic

    from rasa_hybrid import FeedbackChannel

    for teach, expected in (({}, False), ({"enabled": True, "token": TOKEN}, True)):
        channel = FeedbackChannel.from_credentials(
            {"store": f"sqlite:///{tmp_path / 'feedback.db'}", "teach": teach}
        )
        blueprint = channel.blueprint(None)
        Sanic(f"teaching_{expected}").blueprint(blueprint, url_prefix="/webhooks/hybrid")
        assert any("teach" in route.path for route in blueprint.routes) is expected
