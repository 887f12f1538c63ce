"""What `rasa interactive` gains: corrections of the tracked goal, and a taught corpus in which nothing is lost.

Each function here stands in the place of one of Rasa's, which it gets as `original`; `rasa_internals` puts them there. The
questions are asked as Rasa asks its own, so Ctrl-C opens the same menu everywhere.
"""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional

import questionary
from rasa.core.channels.channel import CollectingOutputChannel
from rasa.shared.constants import DEFAULT_SENDER_ID
from rasa.shared.core.constants import ACTION_LISTEN_NAME
from rasa.shared.core.domain import Domain
from rasa.shared.core.events import UserUttered
from rasa.shared.utils import cli
from sanic import Sanic
from sanic.exceptions import Forbidden
from sanic.request import Request

from rasa_hybrid.components import activity
from rasa_hybrid.components.conversion import HYBRID
from rasa_hybrid.components.teaching import (
    TeachingError,
    TeachingSession,
    TurnView,
)
from rasa_hybrid.corpora.taught import Journal, TaughtCorpus
from rasa_hybrid.dialogue import DONTCARE, NONE

_LOCALHOST = "127.0.0.1"
#: Answers that are no slot and no value.
_OTHER, _DONE = "\0other", "\0done"
#: Answers that questionary has keys for.
_MOST_KEYS = 34
#: Values less likely than this are not offered to choose from, or not listed.
_PROBABLE, _LISTED = 0.001, 0.01

#: The dialogue that is taught in this process; None before it began, or where the model can't be taught.
_session: Optional[TeachingSession] = None
#: Time of the message whose goal was asked about.
_confirmed: Optional[float] = None


class _OnLocalhost:
    """An app that listens for this machine alone, whatever it is told."""

    def __init__(self, app: Sanic) -> None:
        self._app = app

    def __getattr__(self, name: str) -> Any:
        return getattr(self._app, name)

    def run(self, *args: Any, **kwargs: Any) -> None:
        """Runs the app."""
        self._app.run(*args, **{**kwargs, "host": _LOCALHOST})


def serve_application(original: Callable, it: Any, app: Sanic, *args: Any, **kwargs: Any) -> Any:
    """The teaching server listens on localhost only."""
    original(_OnLocalhost(app), *args, **kwargs)
    return app


def start_visualization(original: Callable, it: Any, *args: Any, **kwargs: Any) -> None:
    """So does the one that shows the stories."""
    it.Sanic = lambda *a, **k: _OnLocalhost(Sanic(*a, **k))
    original(*args, **kwargs)


def _refuse_strangers(app: Sanic) -> None:
    """A server that listened on all addresses before this module was loaded answers this machine alone."""

    async def refuse(request: Request) -> None:
        if not ipaddress.ip_address(request.ip).is_loopback:
            raise Forbidden("The teaching server is for this machine only.")

    app.register_middleware(refuse, "request")


async def record_messages(
    original: Callable,
    it: Any,
    endpoint: Any,
    file_importer: Any,
    conversation_id: str = DEFAULT_SENDER_ID,
    *args: Any,
    **kwargs: Any,
) -> Any:
    """Offers to go on with dialogues that were broken off, then teaches."""
    from rasa_hybrid.components.importer import TaughtDataImporter

    global _session
    app = Sanic.get_app("rasa_server")
    _refuse_strangers(app)
    agent = app.ctx.agent
    corpus = TaughtCorpus(TaughtDataImporter.directory)
    try:
        _session = TeachingSession(agent, conversation_id, corpus)
        journal = await _resumed(corpus)
        if journal is None:
            await _session.begin()
        else:
            _session = TeachingSession(agent, conversation_id, corpus, journal)
            await _session.resume()
        activity.explore(activity.Exploration(is_on=False))
    except TeachingError as error:
        cli.print_warning(str(error))
    try:
        return await original(endpoint, file_importer, conversation_id, *args, **kwargs)
    finally:
        if _session is not None:
            _session.close()


async def _resumed(corpus: TaughtCorpus) -> Optional[Journal]:
    for path in corpus.unfinished():
        journal = Journal(path)
        texts = [e.get("text") for e in journal.events if e.get("event") == UserUttered.type_name]
        last = f", the last words were {texts[-1]!r}" if texts else ""
        answer = await questionary.select(
            f"There is an unfinished dialogue of {journal.started[:16].replace('T', ' ')}{last}.",
            choices=[
                questionary.Choice("Resume it", "resume"),
                questionary.Choice("Leave it for later", "leave"),
                questionary.Choice("Discard it", "discard"),
            ],
        ).ask_async()
        if answer == "resume":
            return journal
        if answer == "discard":
            corpus.discard(journal)
        else:
            journal.close()
    return None


async def send_event(original: Callable, it: Any, *args: Any, **kwargs: Any) -> Any:
    """What Rasa changes in the conversation is on disk before the next question."""
    answer = await original(*args, **kwargs)
    if _session is not None:
        await _session.record()
    return answer


async def validate_user_text(
    original: Callable, it: Any, latest_message: Dict, endpoint: Any, conversation_id: str
) -> bool:
    """The intent is only asked about where something depends on it."""
    if _session is not None and not _needs_intents(_session):
        return True
    return await original(latest_message, endpoint, conversation_id)


def _needs_intents(session: TeachingSession) -> bool:
    mappings = [m for slot in session.domain.slots for m in slot.mappings or []]
    return session.policy.needs_intents or any("intent" in mapping for mapping in mappings)


async def correct_wrong_nlu(
    original: Callable,
    it: Any,
    corrected_nlu: Dict,
    events: List[Dict],
    endpoint: Any,
    conversation_id: str,
) -> None:
    """A corrected message keeps what we put into its parse data, and its slots are filled again."""
    message = it.latest_user_message(events) or {}
    kept = {k: v for k, v in (message.get("parse_data") or {}).items() if k == HYBRID}
    await original({**corrected_nlu, **kept}, events, endpoint, conversation_id)
    if _session is None:
        return
    processor = _session.agent.processor
    assert processor is not None
    async with _session.agent.lock_store.lock(conversation_id):
        tracker = await processor.get_tracker(conversation_id)
        tracker = await processor.run_action_extract_slots(CollectingOutputChannel(), tracker)
        await processor.save_tracker(tracker)
        await _session.record()


async def validate_nlu(
    original: Callable, it: Any, intents: List[str], endpoint: Any, conversation_id: str
) -> None:
    """After Rasa's question about the message: is this what the user wants?"""
    if _session is not None:
        await _session.record()  # the message
    await original(intents, endpoint, conversation_id)
    if _session is not None:
        await _ask_goal(it, _session, endpoint, conversation_id)


async def predict_till_next_listen(
    original: Callable, it: Any, endpoint: Any, conversation_id: str, *args: Any, **kwargs: Any
) -> None:
    """Asks about the goal of a message that is new here: one that a button sent, that was resumed, or returned to."""
    if _session is not None:
        await _session.record()
        await _ask_goal(it, _session, endpoint, conversation_id)
    await original(endpoint, conversation_id, *args, **kwargs)


async def _ask_goal(it: Any, session: TeachingSession, endpoint: Any, conversation_id: str) -> None:
    global _confirmed
    message = await session.message()
    if message is None or message == _confirmed:
        return

    async def ask(question: Any) -> Any:
        return await it._ask_questions(question, conversation_id, endpoint)

    view = await session.view()
    print(described(view))
    right = not view.goal or await ask(questionary.confirm("Is this what the user wants?"))
    corrected = False
    while not right:
        slot = await ask(_which_slot(view, corrected))
        if slot == _DONE:
            break
        value = await ask(_which_value(view, slot))
        if value == _OTHER:
            value = await ask(_typed_value(session, slot))
        try:
            await session.correct({slot: value})
        except TeachingError as error:
            cli.print_error(str(error))
            continue
        corrected = True
        view = await session.view()
        print(described(view))
    _confirmed = message


def _which_slot(view: TurnView, corrected: bool) -> questionary.Question:
    slots = sorted(view.goal, key=lambda s: (s.probability, s.slot))
    choices = [questionary.Choice(f"{slot.slot:20} {slot.value}", slot.slot) for slot in slots]
    done = questionary.Choice("Everything else is right", _DONE, shortcut_key="0")
    # After the first correction one key is enough to go on.
    choices = [done, *choices] if corrected else [*choices, done]
    return _select("Which slot is wrong?", choices)


def _which_value(view: TurnView, slot: str) -> questionary.Question:
    [seen] = [s for s in view.goal if s.slot == slot]
    likely = [
        questionary.Choice(f"{value}  {chance:.2f}", value)
        for value, chance in seen.alternatives
        if value not in (NONE, DONTCARE, seen.value) and chance >= _PROBABLE
    ]
    choices = [
        *likely,
        questionary.Choice("another value ...", _OTHER, shortcut_key="o"),
        questionary.Choice("none: the user has not said it", NONE, shortcut_key="n"),
        questionary.Choice("dontcare: anything is fine", DONTCARE, shortcut_key="d"),
    ]
    return _select(f"What does the user want as {slot}?", choices)


def _select(question: str, choices: List[questionary.Choice]) -> questionary.Question:
    """A question with a key for each answer, as long as there are keys."""
    keys = len(choices) <= _MOST_KEYS
    return questionary.select(question, choices, use_shortcuts=keys, use_jk_keys=False)


def _typed_value(session: TeachingSession, slot: str) -> questionary.Question:
    values = session.values(slot)
    question = f"Value of {slot}:"
    return questionary.autocomplete(question, values) if values else questionary.text(question)


def described(view: TurnView) -> str:
    """Goal and answer of the knowledge base as lines of text; changed slots are marked."""
    lines = ["", "The user wants (* new in this turn):"]
    for slot in view.goal:
        others = ", ".join(
            f"{value} {chance:.2f}"
            for value, chance in slot.alternatives
            if value != slot.value and chance >= _LISTED
        )
        mark = "*" if slot.changed or slot.taught else " "
        said = "by you" if slot.taught else f"{slot.probability:.2f}"
        lines.append(f"{mark} {slot.slot:20} {slot.value:30} {said:6} {others}".rstrip())
    if view.query is not None:
        asked = ", ".join(f"{slot}={value}" for slot, value in view.query.items()) or "anything"
        found = "no answer"
        if view.matches is not None:
            found = f"{view.matches} found, {view.remaining} not offered yet"
        lines.append(f"Knowledge base, {asked}: {found}")
        lines += ["    " + ", ".join(f"{k} {v}" for k, v in e.items()) for e in view.entities[:3]]
    return "\n".join([*lines, ""])


async def send_action(
    original: Callable,
    it: Any,
    endpoint: Any,
    conversation_id: str,
    action_name: str,
    policy: Optional[str] = None,
    confidence: Optional[float] = None,
    is_new_action: bool = False,
) -> Any:
    """Runs an action with its slots and metadata, which Rasa's own way leaves out."""
    if _session is None:
        return await original(
            endpoint, conversation_id, action_name, policy, confidence, is_new_action
        )
    if is_new_action:
        answer = await original(
            endpoint, conversation_id, action_name, policy, confidence, is_new_action
        )
        await _session.record()
        return answer
    return {"messages": await _session.act(action_name)}


async def undo_latest(original: Callable, it: Any, conversation_id: str, endpoint: Any) -> None:
    """Takes the last step back."""
    if _session is None:
        await original(conversation_id, endpoint)
        return
    global _confirmed
    _confirmed = None
    if not await _session.undo():
        cli.print_warning("There is nothing to take back.")


async def write_data_to_file(
    original: Callable, it: Any, conversation_id: str, endpoint: Any
) -> None:
    """Exports as Rasa does; the taught corpus is the default place of the stories."""
    if _session is not None:
        await _session.record()
        if not await _session.is_listening() and await _session.message() is None:
            question = "Is the bot's turn over? (If not, its last turn is left out.)"
            if await questionary.confirm(question).ask_async():
                await _session.act(ACTION_LISTEN_NAME)
        if _session.stories_path is not None:
            it.PATHS["stories"] = str(_session.stories_path)
    await original(conversation_id, endpoint)


def write_stories_to_file(
    original: Callable, it: Any, export_story_path: str, events: List[Dict], domain: Domain
) -> None:
    """Writes what stands of the dialogue, with the corrections beside it."""
    if _session is None:
        original(export_story_path, events, domain)
        return
    own = str(_session.stories_path) == export_story_path
    path = _session.finish(stories_path=None if own else Path(export_story_path))
    if path is None:
        cli.print_warning("No turn was finished, so there is nothing to learn.")
    else:
        cli.print_success(f"The dialogue is in {path}; `rasa train --finetune` learns it.")


def write_nlu_to_file(
    original: Callable, it: Any, export_nlu_path: str, events: List[Dict]
) -> None:
    """Intents that nobody was asked about are no NLU examples."""
    if _session is None or _needs_intents(_session):
        original(export_nlu_path, events)


def write_domain_to_file(
    original: Callable, it: Any, domain_path: str, events: List[Dict], old_domain: Domain
) -> None:
    """A domain to which nothing was added stays as it was written."""
    messages, actions = it._collect_messages(events), it._collect_actions(events)
    new = {action["name"] for action in actions} - set(old_domain.action_names_or_texts)
    new |= set(it._intents_from_messages(messages)) - set(old_domain.intents)
    new |= set(it._entities_from_messages(messages)) - set(old_domain.entities)
    new |= set(it.NEW_RESPONSES)
    if new or not Path(domain_path).exists():
        original(domain_path, events, old_domain)
