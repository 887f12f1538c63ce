"""The simulator of a project, from `simulator/simulator.yml`: slots, system flow, goals, profiles, surface forms."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple, Union

import numpy as np
import yaml

from rasa_hybrid.dialogue import DONTCARE
from rasa_hybrid.knowledge import KnowledgeBaseError, knowledge_base_from_config
from rasa_hybrid.simulation.agenda import AgendaUser
from rasa_hybrid.simulation.catalogue import Catalogue
from rasa_hybrid.simulation.flow import SystemFlow, read_flow
from rasa_hybrid.simulation.goals import GoalSampler, GoalSlot, read_listed_goals
from rasa_hybrid.simulation.located_yaml import Located, LocatedList, SimulatorError, load_located
from rasa_hybrid.simulation.noise import WordNoise
from rasa_hybrid.simulation.profiles import Profile, cumulative_weights, read_profiles
from rasa_hybrid.simulation.rewards import Rewards, read_rewards
from rasa_hybrid.simulation.spoken_values import KINDS, SpokenValue, spoken_values
from rasa_hybrid.simulation.surface import SurfaceSet, read_surfaces
from rasa_hybrid.simulation.templates import USER_ACTS, Signature
from rasa_hybrid.simulation.voice import Voice

#: Where a project keeps its simulator.
FILE = Path("simulator", "simulator.yml")


class Simulator:
    """Everything that simulated users of a domain need.

    Args:
        slots: the goal slots.
        flow: the system's actions.
        catalogue: the knowledge base.
        goals: what users want.
        profiles: what users are like.
        voice: how users talk.
        spoken: slot, value, ways to say it.
        rewards: what a turn is worth.
        max_turns: number of turns after which a dialogue has failed.
        noise: what happens to words of all profiles, by the names of the section `noise`.
    """

    def __init__(
        self,
        slots: Sequence[GoalSlot],
        flow: SystemFlow,
        catalogue: Catalogue,
        goals: GoalSampler,
        profiles: Sequence[Profile],
        voice: Voice,
        spoken: Mapping[str, Mapping[str, SpokenValue]],
        rewards: Rewards,
        max_turns: int = 15,
        noise: Optional[Mapping[str, float]] = None,
    ) -> None:
        self.slots = tuple(slot.name for slot in slots)
        self.flow, self.catalogue, self.goals, self.rewards = flow, catalogue, goals, rewards
        self.profiles, self.voice, self.spoken, self.max_turns = (
            tuple(profiles),
            voice,
            spoken,
            max_turns,
        )
        self.noise = dict(noise or {})
        self._shares = cumulative_weights(self.profiles)

    @property
    def surfaces(self) -> SurfaceSet:
        """How users talk."""
        return self.voice.surfaces

    def user(self, rng: np.random.Generator) -> AgendaUser:
        """A user for one dialogue; profile and goal are drawn."""
        point = rng.random()
        profile = next(p for p, share in zip(self.profiles, self._shares) if point <= share)
        return AgendaUser(profile, self.goals, self.voice, rng)

    def synonyms(self) -> Dict[str, Dict[str, List[str]]]:
        """Slot, value, and the further ways in which simulated users say it, for `synonym:` in nlu.yml."""
        return {
            slot: {value: sorted(set(forms.any) - {value}) for value, forms in values.items()}
            for slot, values in self.spoken.items()
        }


def load_simulator(
    project: Union[str, Path],
    surface: str = "train",
    profiles: Optional[Sequence[str]] = None,
    noise: Optional[Mapping[str, Optional[float]]] = None,
) -> Simulator:
    """The simulator of a project.

    Args:
        project: directory of the project, or the configuration file itself.
        surface: name of a set of surface forms in the configuration, or a file: YAML of ours or JSON of Google M2M.
        profiles: names of the profiles to use, all of them if None.
        noise: replaces values of the section `noise`, but for those that are None.

    Returns:
        The simulator.

    Raises:
        SimulatorError: for anything that is wrong in the configuration, naming file and line.
    """
    path = Path(project)
    path = path / FILE if path.is_dir() else path
    content = load_located(path)
    content.only(_SECTIONS, "section")
    catalogue = _catalogue(content, path.parent)
    slots = _slots(content.section("slots"), catalogue)
    names = [slot.name for slot in slots]
    flow = read_flow(content.section("system"), names, catalogue.columns)
    goal_section = content.section("goals")
    goal_section.only(("nothing_matches", "blind", "listed", "share_listed"), "key of goals")
    goals = GoalSampler(
        slots,
        catalogue,
        goal_section.number("nothing_matches", 0.0),
        goal_section.number("blind", 0.0),
        read_listed_goals(goal_section, {slot.name: slot for slot in slots}, catalogue),
        goal_section.number("share_listed", 0.0),
        listable=tuple(flow.select),
    )
    spoken = _spoken(content.section("slots"), slots, goals)
    surfaces = _surfaces(content, path.parent, surface, names)
    problems = surfaces.missing(_needed(slots, flow))
    if problems:
        where = content.section("surfaces")
        where.fail(
            f"the surface forms {surface!r} lack templates for {', '.join(problems)}", surface
        )
    rewards = read_rewards(content.section("rewards"))
    settings = content.section("noise")
    settings.only(NOISE, "key of noise")
    chosen = {
        key: settings.number(key, 0.0, 0.0, 20.0 if key == "n_best" else 1.0) for key in NOISE
    }
    chosen.update({key: value for key, value in (noise or {}).items() if value is not None})
    vocabulary = surfaces.words() | {
        word for slot in names for value in goals.values(slot) for word in value.split()
    }
    intents = content.section("intents")
    voice = Voice(
        surfaces,
        spoken,
        WordNoise(vocabulary, int(chosen["n_best"])),
        {act: str(intent) for act, intent in intents.items()},
        chosen["word_drop"],
        chosen["word_confusion"],
        chosen["word_strange"],
    )
    return Simulator(
        slots,
        flow,
        catalogue,
        goals,
        _chosen(read_profiles(content.section("profiles")), profiles, content),
        voice,
        spoken,
        rewards,
        int(content.number("max_turns", 15, 1, 1000)),
        chosen,
    )


_SECTIONS = (
    "knowledge_base",
    "max_turns",
    "slots",
    "system",
    "goals",
    "profiles",
    "noise",
    "rewards",
    "surfaces",
    "intents",
)
#: Keys of the section `noise`.
NOISE = ("word_drop", "word_confusion", "word_strange", "n_best")


def surface_names(project: Union[str, Path]) -> List[str]:
    """The sets of surface forms that a project has."""
    path = Path(project)
    return list(load_located(path / FILE if path.is_dir() else path).section("surfaces"))


def _catalogue(content: Located, directory: Path) -> Catalogue:
    config: Any = content.get("knowledge_base")
    base = directory
    if config is None:
        config, base = _configured_knowledge_base(directory.parent), directory.parent
        if config is None:
            content.fail(
                f"no knowledge base: name one under knowledge_base, or in the policies of {directory.parent}/config.yml",
                "knowledge_base",
            )
    try:
        return Catalogue(knowledge_base_from_config(dict(config), base).knowledge_base)
    except KnowledgeBaseError as error:
        content.fail(f"knowledge_base: {error}", "knowledge_base")


def _configured_knowledge_base(project: Path) -> Optional[Mapping[str, Any]]:
    """`knowledge_base` of the first policy in `config.yml` that has one."""
    try:
        config = yaml.safe_load((project / "config.yml").read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError):
        return None
    policies = config.get("policies") if isinstance(config, dict) else None
    return next(
        (
            p["knowledge_base"]
            for p in policies or ()
            if isinstance(p, dict) and "knowledge_base" in p
        ),
        None,
    )


def _slots(section: Located, catalogue: Catalogue) -> List[GoalSlot]:
    slots = []
    for name in section:
        settings = section.section(name)
        settings.only(("said_as", "any", "values", "spoken"), f"key of slot {name!r}")
        said_as = settings.get("said_as", "plain")
        if said_as not in KINDS:
            settings.fail(
                f"said_as: unknown kind {said_as!r}; allowed: {', '.join(KINDS)}", "said_as"
            )
        values, weights = _values(settings)
        if not values and name not in catalogue.columns:
            settings.fail(
                f"the knowledge base can't express {name!r}: it is none of its columns "
                f"({', '.join(catalogue.columns)}), so its values have to be listed here",
                "values",
            )
        slots.append(GoalSlot(name, said_as, settings.number("any", 0.0), values, weights))
    if not slots:
        section.fail("at least one goal slot is needed")
    return slots


def _values(settings: Located) -> Tuple[Tuple[str, ...], Tuple[float, ...]]:
    values = settings.get("values")
    if values is None:
        return (), ()
    if isinstance(values, LocatedList):
        return tuple(str(value) for value in values), tuple(1.0 for _ in values)
    if isinstance(values, Located):
        return tuple(values), tuple(values.number(value, 1.0, 0.0, 1e6) for value in values)
    settings.fail("values has to be a list, or a mapping of values to weights", "values")


def _spoken(
    section: Located, slots: Sequence[GoalSlot], goals: GoalSampler
) -> Dict[str, Dict[str, SpokenValue]]:
    spoken = {}
    for slot in slots:
        further = section.section(slot.name).section("spoken")
        known = set(goals.values(slot.name))
        forms: Dict[str, List[str]] = {}
        for value in further:
            if value not in known:
                further.fail(f"{slot.name} has no value {value!r}", value)
            listed = further[value]
            forms[value] = [
                str(form) for form in (listed if isinstance(listed, list) else [listed])
            ]
        others = [
            value
            for other in slots
            if other.name != slot.name
            for value in goals.values(other.name)
        ]
        spoken[slot.name] = spoken_values(slot.said_as, goals.values(slot.name), forms, others)
    return spoken


def _surfaces(content: Located, directory: Path, surface: str, slots: Sequence[str]) -> SurfaceSet:
    named = content.section("surfaces")
    if surface in named:
        return read_surfaces(directory / str(named[surface]), slots, surface)
    path = Path(surface)
    if not path.exists():
        raise SimulatorError(
            f"{content.path}:{named.line}: no surface forms {surface!r}; known: {', '.join(named)}, or a file"
        )
    if path.suffix == ".json":
        from rasa_hybrid.simulation.m2m_surface import m2m_surfaces

        first = next(iter(named), None)
        fallback = read_surfaces(directory / str(named[first]), slots, first) if first else None
        return m2m_surfaces(path, slots, fallback)
    return read_surfaces(path, slots)


def _needed(slots: Sequence[GoalSlot], flow: SystemFlow) -> List[Signature]:
    """Acts for which there have to be words, so that everything can be said."""
    alone = [act for act, slots_of_act in USER_ACTS.items() if slots_of_act != "always"]
    needed: List[Signature] = [((act, "", ""),) for act in alone]
    for slot in slots:
        needed += [((act, slot.name, ""),) for act in ("inform", "change", "correct")]
        if slot.any:
            needed.append((("inform", slot.name, DONTCARE),))
    needed += [(("request", slot, ""),) for slot in flow.select]
    return needed


def _chosen(
    profiles: Sequence[Profile], names: Optional[Sequence[str]], content: Located
) -> Tuple[Profile, ...]:
    if names is None:
        return tuple(profiles)
    known = {profile.name: profile for profile in profiles}
    for name in names:
        if name not in known:
            raise SimulatorError(f"{content.path}: no profile {name!r}; known: {', '.join(known)}")
    return tuple(known[name] for name in names)
