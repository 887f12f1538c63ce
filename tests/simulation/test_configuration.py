import re
from pathlib import Path

import pytest

from rasa_hybrid.simulation import SimulatorError, load_simulator
from rasa_hybrid.simulation.profiles import Profile

CONFIGURATION = "simulator/simulator.yml"


def edited(project, before, after):
    path = project / CONFIGURATION
    text = path.read_text(encoding="utf-8")
    assert before in text
    path.write_text(text.replace(before, after, 1), encoding="utf-8")
    return path.read_text(encoding="utf-8")


def line_of(text, words):
    return next(number for number, line in enumerate(text.splitlines(), start=1) if words in line)


@pytest.mark.parametrize(
    "before, after, words",
    [
        (
            "choosy: {pickiness: 0.6",
            "choosy: {pickynes: 0.6",
            "unknown parameter of profile 'choosy' 'pickynes'",
        ),
        (
            "pickiness: 0.6",
            "pickiness: 1.6",
            "pickiness has to be a number between 0 and 1, not 1.6",
        ),
        ("hungry: {weight: 3}", "hungry: {patience: 2.5}", "patience has to be a whole number"),
        ("hungry: {weight: 3}", "hungry: {weight: many}", "weight has to be a number"),
        (
            "{food: thai, area: centre}",
            "{food: martian, area: centre}",
            "can't express food = 'martian'",
        ),
        ("{food: thai, area: centre}", "{food: thai, parking: yes}", "unknown slot 'parking'"),
        ("slots:\n", "slots:\n  parking: {any: 0.1}\n", "can't express 'parking'"),
        ("food: {any: 0.1}", "food: {said_as: title-ish}", "unknown kind 'title-ish'"),
        ("slots: [name, food, area, price]", "slots: [nome]", "unknown slot 'nome'"),
        ("food: utter_request_food, ", "", "no action asks for the slot 'food'"),
        ("no_match: utter_no_match", "no_mach: utter_no_match", "unknown key of system 'no_mach'"),
        (
            "nothing_matches: 0.15",
            "nothing_matches: sometimes",
            "nothing_matches has to be a number",
        ),
        ("max_turns: 15", "max_turn: 15", "unknown section 'max_turn'"),
        ("goals:\n", "rewards:\n  applause: 3\n\ngoals:\n", "unknown reward 'applause'"),
        ("goals:\n", "rewards:\n  no.such.module: 3\n\ngoals:\n", "can't be loaded"),
        ("path: ../restaurants.csv", "path: ../cantines.csv", "cantines.csv"),
        ("train: surfaces/train.yml", "test: surfaces/train.yml", "no surface forms 'train'"),
    ],
)
def test_mistakes_in_the_configuration_name_file_and_line(restaurant_project, before, after, words):
    text = edited(restaurant_project, before, after)
    with pytest.raises(SimulatorError) as error:
        load_simulator(restaurant_project)
    message = str(error.value)
    assert words in message
    named = re.match(rf"{re.escape(str(restaurant_project / CONFIGURATION))}:(\d+): ", message)
    assert named, message
    # The line that was changed, the one that it belongs to, or the section it is missing from.
    changed = (
        line_of(text, after.strip().splitlines()[-1][:20] or "request:")
        if after
        else line_of(text, "request:")
    )
    assert changed - 3 <= int(named.group(1)) <= changed + 3


def test_goal_that_leaves_open_what_users_always_care_about_is_refused(restaurant_project):
    edited(restaurant_project, "food: {any: 0.1}", "food: {any: 0}")
    edited(restaurant_project, "{food: thai, area: centre}", "{area: centre}")
    with pytest.raises(SimulatorError, match="needs a value for 'food'"):
        load_simulator(restaurant_project)


def test_missing_templates_are_named(restaurant_project):
    path = restaurant_project / "simulator/surfaces/train.yml"
    path.write_text(
        path.read_text(encoding="utf-8").replace("  cancel: |", "  greeting + cancel: |"),
        encoding="utf-8",
    )
    with pytest.raises(SimulatorError, match=r"lack templates for cancel"):
        load_simulator(restaurant_project)


def test_broken_yaml_names_its_line(restaurant_project):
    (restaurant_project / CONFIGURATION).write_text("slots:\n  food: {any: 0.1\n", encoding="utf-8")
    with pytest.raises(SimulatorError, match=r"simulator\.yml:\d+: not YAML"):
        load_simulator(restaurant_project)


def test_project_without_simulator_is_an_error_that_names_the_file(tmp_path):
    with pytest.raises(SimulatorError, match=r"simulator\.yml: can't be read"):
        load_simulator(tmp_path)


def test_knowledge_base_is_that_of_the_policy_unless_named(movies):
    assert {"movie", "theatre_name", "date", "time"} <= set(movies.catalogue.columns)
    assert movies.catalogue.knowledge_base.at_least == {"num_tickets": "seats"}


def test_only_the_named_profiles_are_drawn(restaurant_project):
    simulator = load_simulator(restaurant_project, profiles=["chatty"])
    assert [profile.name for profile in simulator.profiles] == ["chatty"]
    with pytest.raises(SimulatorError, match="no profile 'angry'; known: hungry, choosy, chatty"):
        load_simulator(restaurant_project, profiles=["angry"])


def test_every_profile_parameter_is_documented():
    assert all(help for *_, help in Profile.parameters())
    assert all(low <= default <= high for _, default, low, high, _ in Profile.parameters())


def test_documentation_tells_every_parameter_with_its_default():
    page = (Path(__file__).resolve().parents[2] / "docs" / "simulator.md").read_text(
        encoding="utf-8"
    )
    for name, default, _, _, help in Profile.parameters():
        assert f"| `{name}` | {default:g} | {help} |" in page
