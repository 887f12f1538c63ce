"""Validation of the restaurant form: what the kitchens offer, how many guests fit, what counts as outside."""

from typing import Any, Dict, Optional

from rasa_sdk import Tracker
from rasa_sdk.executor import CollectingDispatcher
from rasa_sdk.forms import FormValidationAction

CUISINES = {"italian", "greek", "thai", "mexican", "korean", "ethiopian", "turkish", "vegan"}
NUMBER_WORDS = {
    "one": 1,
    "two": 2,
    "three": 3,
    "four": 4,
    "five": 5,
    "six": 6,
    "seven": 7,
    "eight": 8,
}
OUTSIDE = {"outside", "outdoors", "terrace", "garden"}
INSIDE = {"inside", "indoors"}


class ValidateRestaurantForm(FormValidationAction):
    def name(self) -> str:
        return "validate_restaurant_form"

    def validate_cuisine(
        self, value: Any, dispatcher: CollectingDispatcher, tracker: Tracker, domain: Dict[str, Any]
    ) -> Dict[str, Optional[str]]:
        if isinstance(value, str) and value.lower() in CUISINES:
            return {"cuisine": value.lower()}
        dispatcher.utter_message(response="utter_wrong_cuisine")
        return {"cuisine": None}

    def validate_num_people(
        self, value: Any, dispatcher: CollectingDispatcher, tracker: Tracker, domain: Dict[str, Any]
    ) -> Dict[str, Optional[int]]:
        text = str(value).lower()
        guests = NUMBER_WORDS.get(text) or (int(text) if text.isdigit() else 0)
        if 1 <= guests <= 12:
            return {"num_people": guests}
        dispatcher.utter_message(response="utter_wrong_num_people")
        return {"num_people": None}

    def validate_outdoor_seating(
        self, value: Any, dispatcher: CollectingDispatcher, tracker: Tracker, domain: Dict[str, Any]
    ) -> Dict[str, Optional[bool]]:
        if isinstance(value, bool):
            return {"outdoor_seating": value}
        if str(value).lower() in OUTSIDE:
            return {"outdoor_seating": True}
        return {"outdoor_seating": False if str(value).lower() in INSIDE else None}

    def validate_preferences(
        self, value: Any, dispatcher: CollectingDispatcher, tracker: Tracker, domain: Dict[str, Any]
    ) -> Dict[str, Optional[str]]:
        if len(str(value)) >= 5:
            return {"preferences": value}
        dispatcher.utter_message(response="utter_wrong_preferences")
        return {"preferences": None}
