"""Custom actions of the project `tables`."""

from rasa_sdk import Action, FormValidationAction
from rasa_sdk.events import AllSlotsReset, SlotSet


class Reserve(Action):
    def name(self):
        return "action_reserve"

    def run(self, dispatcher, tracker, domain):
        return []


class Recall(Action):
    """Knows what the user likes."""

    def name(self):
        return "action_recall"

    def run(self, dispatcher, tracker, domain):
        return [SlotSet("cuisine", "italian")]


class Check(Action):
    """Closed on Mondays; forgets everything when no day is known."""

    def name(self):
        return "action_check"

    def run(self, dispatcher, tracker, domain):
        day = tracker.get_slot("date")
        if day is None:
            return [AllSlotsReset()]
        return [SlotSet("date", None if day == "monday" else day)]


class ValidateDetailsForm(FormValidationAction):
    def name(self):
        return "validate_details_form"

    def validate_people(self, value, dispatcher, tracker, domain):
        try:
            return {"people": float(value) if 0 < float(value) <= 20 else None}
        except ValueError:
            return {"people": None}
