"""Searches that fill list slots, reviews of what was found, and a bool slot that follows the user's intent."""

from typing import Any, Dict, List

from rasa_sdk import Action, Tracker
from rasa_sdk.events import SlotSet
from rasa_sdk.executor import CollectingDispatcher

CONCERTS = {
    "jazz": ["Blue Lamps"],
    "rock": ["Night Ferry"],
    "folk": ["The Hedge"],
    "techno": ["Pulse 9"],
}
VENUES = ["Old Gasworks", "Harbour Hall"]


class ActionSearchConcerts(Action):
    def name(self) -> str:
        return "action_search_concerts"

    def run(
        self, dispatcher: CollectingDispatcher, tracker: Tracker, domain: Dict[str, Any]
    ) -> List[Dict[str, Any]]:
        genre = tracker.get_slot("genre")
        found = CONCERTS.get(genre.lower(), []) if genre else ["Blue Lamps", "Night Ferry"]
        if found:
            dispatcher.utter_message(text="Playing: " + ", ".join(found))
        return [SlotSet("concerts", found)]


class ActionSearchVenues(Action):
    def name(self) -> str:
        return "action_search_venues"

    def run(
        self, dispatcher: CollectingDispatcher, tracker: Tracker, domain: Dict[str, Any]
    ) -> List[Dict[str, Any]]:
        dispatcher.utter_message(text="Halls: " + ", ".join(VENUES))
        return [SlotSet("venues", VENUES)]


class ActionShowConcertReviews(Action):
    def name(self) -> str:
        return "action_show_concert_reviews"

    def run(
        self, dispatcher: CollectingDispatcher, tracker: Tracker, domain: Dict[str, Any]
    ) -> List[Dict[str, Any]]:
        dispatcher.utter_message(
            text="Loud but lovely: " + ", ".join(tracker.get_slot("concerts") or [])
        )
        return []


class ActionShowVenueReviews(Action):
    def name(self) -> str:
        return "action_show_venue_reviews"

    def run(
        self, dispatcher: CollectingDispatcher, tracker: Tracker, domain: Dict[str, Any]
    ) -> List[Dict[str, Any]]:
        dispatcher.utter_message(
            text="Draughty but grand: " + ", ".join(tracker.get_slot("venues") or [])
        )
        return []


class ActionSetMusicPreference(Action):
    def name(self) -> str:
        return "action_set_music_preference"

    def run(
        self, dispatcher: CollectingDispatcher, tracker: Tracker, domain: Dict[str, Any]
    ) -> List[Dict[str, Any]]:
        return [SlotSet("likes_music", tracker.get_intent_of_latest_message() == "like_music")]
