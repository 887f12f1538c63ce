"""A stock of clothes, orders with their parcels, and a fallback question that names intents in plain words."""

import re
from typing import Any, Dict, List, Optional

from rasa_sdk import Action, Tracker
from rasa_sdk.events import SlotSet
from rasa_sdk.executor import CollectingDispatcher
from rasa_sdk.forms import FormValidationAction

STOCK = {
    ("jacket", "medium"),
    ("jacket", "small"),
    ("shirt", "large"),
    ("scarf", "medium"),
    ("boots", "small"),
}


class ActionCheckStock(Action):
    def name(self) -> str:
        return "action_check_stock"

    def run(
        self, dispatcher: CollectingDispatcher, tracker: Tracker, domain: Dict[str, Any]
    ) -> List[Dict[str, Any]]:
        wanted = (str(tracker.get_slot("product")).lower(), tracker.get_slot("size"))
        return [SlotSet("in_stock", wanted in STOCK)]


class ActionOrderStatus(Action):
    def name(self) -> str:
        return "action_order_status"

    def run(
        self, dispatcher: CollectingDispatcher, tracker: Tracker, domain: Dict[str, Any]
    ) -> List[Dict[str, Any]]:
        number = str(tracker.get_slot("order_number"))
        return [SlotSet("parcel", "delivered" if number.endswith("7") else "on its way")]


class ActionChangeDelivery(Action):
    def name(self) -> str:
        return "action_change_delivery"

    def run(
        self, dispatcher: CollectingDispatcher, tracker: Tracker, domain: Dict[str, Any]
    ) -> List[Dict[str, Any]]:
        dispatcher.utter_message(text=f"Now it goes to {tracker.get_slot('city_to')}.")
        return [SlotSet("city_from", None), SlotSet("city_to", None)]


class ActionDefaultAskAffirmation(Action):
    def name(self) -> str:
        return "action_default_ask_affirmation"

    def run(
        self, dispatcher: CollectingDispatcher, tracker: Tracker, domain: Dict[str, Any]
    ) -> List[Dict[str, Any]]:
        ranking = [entry["name"] for entry in tracker.latest_message.get("intent_ranking", [])]
        guess = next((name for name in ranking if name != "nlu_fallback"), "out_of_scope")
        buttons = [
            {"title": "Yes", "payload": f"/{guess}"},
            {"title": "No", "payload": "/out_of_scope"},
        ]
        dispatcher.utter_message(text="I am not sure that I understood you.", buttons=buttons)
        return []


class ValidateOrderStatusForm(FormValidationAction):
    def name(self) -> str:
        return "validate_order_status_form"

    def validate_order_number(
        self, value: Any, dispatcher: CollectingDispatcher, tracker: Tracker, domain: Dict[str, Any]
    ) -> Dict[str, Optional[str]]:
        if re.fullmatch(r"[A-Za-z]{2}\d{4}", str(value)):
            return {"order_number": str(value).upper()}
        dispatcher.utter_message(response="utter_wrong_order_number")
        return {"order_number": None}
