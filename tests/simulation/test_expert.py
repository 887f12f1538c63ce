import pytest

from rasa_hybrid.dialogue import DONTCARE, LISTEN, DialogueAct, ResultSummary, Utterance
from rasa_hybrid.simulation import Expert, SideEffects, track
from rasa_hybrid.simulation.flow import slots_of, state_features


def act(text):
    """`inform(date=friday)`, `negate(time)`, `affirm`"""
    name, _, rest = text.rstrip(")").partition("(")
    slot, _, value = rest.partition("=")
    return DialogueAct(name, slot or None, value or None)


class Talk:
    """One conversation with the expert."""

    def __init__(self, simulator, key=(0, 0)):
        self.side_effects = SideEffects(simulator.flow)
        self.expert = Expert(simulator.flow, simulator.catalogue, self.side_effects)
        self.side_effects.begin([key])
        self.expert.begin(1)
        self.last = None

    def say(self, *acts):
        self.last = self.expert.respond({0: Utterance("...", acts=tuple(map(act, acts)))})[0]
        return [action.name for action in self.last.actions]


@pytest.fixture
def screening(movies):
    """A screening that is not the only one of its film and day, with plenty of seats."""
    return next(
        entity
        for entity in movies.catalogue.everything
        if len(
            movies.catalogue.find(
                {"movie": entity["movie"], "date": entity["date"], "num_tickets": "2"}
            )
        )
        > 3
        and int(entity["seats"]) > 10
    )


def informs(screening, *slots):
    return [f"inform({slot}={screening[slot]})" for slot in slots]


def booked_key(simulator, screening, outcome):
    """A dialogue in which booking this screening ends so."""
    effects = SideEffects(simulator.flow)
    for index in range(2000):
        effects.begin([(0, index)])
        if effects.foresee(0, "action_book_tickets", screening)["booking_status"] == outcome:
            return (0, index)
    raise AssertionError(outcome)


def test_asks_for_what_is_missing_in_the_configured_order(movies, screening):
    talk = Talk(movies)
    assert talk.say("greeting") == ["utter_greet"]
    assert talk.say("start") == ["utter_request_movie"]
    assert talk.say(*informs(screening, "movie")) == ["utter_request_num_tickets"]
    assert talk.say("inform(num_tickets=2)", *informs(screening, "date")) == [
        "utter_request_theatre_name"
    ]
    assert talk.say("inform(theatre_name=dontcare)") == ["utter_request_time"]
    assert talk.say("inform(time=dontcare)") == ["utter_offer"]


def offered(movies, screening, key=(0, 0)):
    talk = Talk(movies, key)
    talk.say(
        *informs(screening, "movie", "date"),
        "inform(num_tickets=2)",
        "inform(theatre_name=dontcare)",
        "inform(time=dontcare)",
    )
    return talk


def test_an_accepted_offer_is_confirmed_and_booked(movies, screening):
    talk = offered(movies, screening)
    first = talk.last.offered
    assert talk.say("affirm") == ["utter_confirm"]
    confirmed = {a.slot: a.value for a in talk.last.actions[0].acts}
    assert confirmed["num_tickets"] == "2"
    assert confirmed["time"] == first["time"]  # the goal says any time; what is booked is said
    talk.side_effects.begin([booked_key(movies, first, "booked")])
    assert talk.say("affirm") == ["action_book_tickets", "utter_notify_success"]
    assert talk.last.actions[0].context == ()
    assert talk.last.actions[1].context == ("slot:booking_status=booked",)
    assert talk.say("thank_you") == ["utter_good_bye"]


def test_a_refused_offer_is_followed_by_the_next_one(movies, screening):
    talk = offered(movies, screening)
    first = talk.last.offered
    assert talk.last.summary.remaining == talk.last.summary.matches
    assert talk.say("request_alternatives") == ["utter_offer"]
    assert talk.last.offered["id"] != first["id"]
    assert talk.last.summary == ResultSummary(
        talk.last.summary.matches, talk.last.summary.matches - 1
    )


def test_when_all_was_refused_nothing_is_left(movies, screening):
    talk = offered(movies, screening)
    for _ in range(talk.last.summary.matches - 1):
        assert talk.say("negate") == ["utter_offer"]
    assert talk.say("negate") == ["utter_no_match"]


def test_sold_out_is_told_and_the_next_one_offered(movies, screening):
    talk = offered(movies, screening)
    first = talk.last.offered
    talk.say("affirm")
    talk.side_effects.begin([booked_key(movies, first, "sold_out")])
    assert talk.say("affirm") == ["action_book_tickets", "utter_sold_out", "utter_offer"]
    assert talk.last.offered["id"] != first["id"]
    assert talk.last.actions[-1].context == ("slot:booking_status=sold_out",)


def test_nothing_is_booked_without_a_confirmed_goal(movies, screening):
    talk = offered(movies, screening)
    talk.say("affirm")
    assert talk.say("inform(num_tickets=3)", "affirm") == ["utter_confirm"]
    assert talk.side_effects.completed(0) is None


def test_impossible_goal_is_reported_as_soon_as_it_is(movies):
    talk = Talk(movies)
    assert talk.say("inform(movie=No Such Film)") == ["utter_no_match"]


def test_a_slot_that_is_said_to_be_wrong_is_asked_again(movies, screening):
    talk = offered(movies, screening)
    talk.say("affirm")
    assert talk.say("negate(time)") == ["utter_request_time"]
    assert "time" not in talk.last.belief.goal()


def test_talk_about_something_else_does_not_lose_the_question(movies, screening):
    talk = Talk(movies)
    talk.say(*informs(screening, "movie"))
    assert talk.say("out_of_domain") == ["utter_cannot_help", "utter_request_num_tickets"]
    assert talk.say("repeat") == ["utter_request_num_tickets"]


def test_asked_what_there_is_it_names_values_that_fit_the_rest(movies, screening):
    talk = Talk(movies)
    talk.say(*informs(screening, "movie"))
    assert talk.say("request(theatre_name)") == ["utter_select_theatre_name"]
    named = [a.value for a in talk.last.actions[0].acts]
    assert 1 <= len(named) <= 3
    assert all(
        len(movies.catalogue.find({"movie": screening["movie"], "theatre_name": name}))
        for name in named
    )


def test_cancelling_and_leaving_end_the_conversation(movies, screening):
    talk = offered(movies, screening)
    assert talk.say("cancel") == ["utter_cancelled"]
    assert talk.say("good_bye") == ["utter_good_bye"]


def test_advice_does_nothing_and_knows_what_would_happen(movies, screening):
    talk = offered(movies, screening)
    first = talk.last.offered
    talk.say("affirm")
    talk.side_effects.begin([booked_key(movies, first, "sold_out")])
    talk.expert.hear(0, Utterance("yes", acts=(act("affirm"),)))
    advice = [action.name for action in talk.expert.advise(0, {})]
    assert advice[:2] == ["action_book_tickets", "utter_sold_out"]
    assert talk.side_effects.completed(0) is None
    assert talk.side_effects.slots(0) == {}


def test_every_decision_of_a_turn_is_labelled_given_those_before(movies, screening):
    talk = offered(movies, screening)
    talk.say("affirm")
    talk.expert.hear(0, Utterance("yes", acts=(act("affirm"),)))
    actions = talk.expert.advise(0, {})
    names = [
        talk.expert.next_action(0, actions[:n], {"booking_status": "booked"} if n else {})
        for n in range(3)
    ]
    assert names == ["action_book_tickets", "utter_notify_success", LISTEN]


def test_goal_is_tracked_from_the_users_acts():
    goal = track(
        {"date": "friday"}, [act("inform(time=6:00 pm)"), act("negate(date)"), act("affirm")]
    )
    assert goal == {"time": "6:00 pm"}
    assert track(goal, [act(f"inform(time={DONTCARE})")]) == {"time": DONTCARE}


def test_context_reads_back_as_the_slots():
    slots = {"booking_status": "sold_out", "member": "yes=no"}
    assert slots_of(state_features(slots)) == slots
