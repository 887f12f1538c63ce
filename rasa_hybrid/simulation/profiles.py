"""What kind of person the simulated user is: named parameters, one profile drawn per dialogue."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, Dict, List, Sequence, Tuple

from rasa_hybrid.simulation.located_yaml import Located, SimulatorError


def _parameter(default: float, help: str, low: float = 0.0, high: float = 1.0) -> Any:
    return field(default=default, metadata={"help": help, "low": low, "high": high})


@dataclass(frozen=True)
class Profile:
    """A kind of user.

    Args:
        name: as in the configuration and in the reports.
        weight: share of the dialogues, relative to the other profiles.
    """

    name: str = "default"
    weight: float = _parameter(
        1.0, "share of the dialogues, relative to the other profiles", 0.0, 1e6
    )
    cooperativeness: float = _parameter(
        0.97, "probability of answering what the system asked instead of saying something else"
    )
    verbosity: float = _parameter(
        0.15,
        "probability of adding one more constraint to an utterance, again and again",
        0.0,
        0.95,
    )
    opening: float = _parameter(
        0.35,
        "the same for the first utterance; with the rest it only says what it came for",
        0.0,
        0.95,
    )
    randomness: float = _parameter(
        0.02, "probability a turn of volunteering a constraint that is not due yet"
    )
    patience: int = _parameter(
        5, "setbacks (asked again, nothing found) after which the user gives up", 1, 100
    )
    politeness: float = _parameter(
        0.3, "probability of a greeting, of thanks, and (halved) of a please"
    )
    hesitation: float = _parameter(0.05, "probability a turn of a filler before what is said")
    lower_case: float = _parameter(0.4, "probability of writing an utterance without capitals")
    misunderstanding: float = _parameter(
        0.02,
        "probability of misunderstanding a question: half the time the user asks back, else answers another",
    )
    self_correction: float = _parameter(
        0.02,
        "probability that a value is misspoken and put right, in the same breath or in the next turn",
    )
    change_of_mind: float = _parameter(
        0.06, "probability that the goal changes once during the dialogue"
    )
    out_of_domain: float = _parameter(
        0.01, "probability a turn of talk that has nothing to do with the task"
    )
    curiosity: float = _parameter(
        0.04, "probability of asking what there is instead of naming a value"
    )
    pickiness: float = _parameter(
        0.2, "probability of refusing an offer that fits, where the goal leaves something open"
    )
    giving_up: float = _parameter(0.002, "probability a turn of calling the whole thing off")
    word_drop: float = _parameter(
        0.0, "probability of each word to be lost on its way to the system"
    )
    word_confusion: float = _parameter(
        0.0, "probability of each word to be taken for a similar one on its way to the system"
    )
    word_strange: float = _parameter(
        0.0, "probability of each word that says no value to be one that nobody has heard before"
    )

    @staticmethod
    def parameters() -> List[Tuple[str, float, float, float, str]]:
        """Name, default, lowest, highest value and meaning of every parameter."""
        return [
            (
                f.name,
                getattr(Profile, f.name),
                f.metadata["low"],
                f.metadata["high"],
                f.metadata["help"],
            )
            for f in fields(Profile)
            if f.metadata
        ]


def read_profiles(section: Located) -> Tuple[Profile, ...]:
    """The profiles of a configuration.

    Args:
        section: profile name to parameters.

    Returns:
        The profiles in the order of the file; one with the defaults if there is none.

    Raises:
        SimulatorError: for an unknown parameter, an impossible value, or weights that are all 0; names file and line.
    """
    known = {name: (low, high) for name, _, low, high, _ in Profile.parameters()}
    profiles = []
    for name in section:
        parameters = section.section(name)
        parameters.only(known, f"parameter of profile {name!r}")
        values: Dict[str, Any] = {}
        for parameter in parameters:
            low, high = known[parameter]
            value = parameters.number(parameter, 0.0, low, high)
            if parameter == "patience":
                if int(value) != value:
                    parameters.fail(f"patience has to be a whole number, not {value!r}", parameter)
                value = int(value)
            values[parameter] = value
        profiles.append(Profile(name=name, **values))
    if profiles and not sum(profile.weight for profile in profiles) > 0:
        raise SimulatorError(
            f"{section.path}:{section.line}: at least one profile needs a weight above 0"
        )
    return tuple(profiles) or (Profile(),)


def cumulative_weights(profiles: Sequence[Profile]) -> List[float]:
    """Cumulative shares of the profiles, ending in 1."""
    total = sum(profile.weight for profile in profiles)
    shares, so_far = [], 0.0
    for profile in profiles:
        so_far += profile.weight / total
        shares.append(so_far)
    shares[-1] = 1.0
    return shares
