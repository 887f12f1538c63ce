"""What the documentation says is so: defaults, links, configurations, snippets, messages."""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict, Iterator, List, Tuple
from xml.etree import ElementTree

import pytest
import yaml

from tests.documentation import DOCS, FENCE, PAGES, ROOT, snippets

_LINK = re.compile(r"!?\[(?:[^\[\]]|\[[^\]]*\])*\]\(([^)\s]+)\)")


def _tables(page: Path) -> Iterator[Tuple[List[str], List[List[str]]]]:
    """Header and rows of every table of a page, cells without the marks of code."""
    rows: List[List[str]] = []
    for line in [*page.read_text(encoding="utf-8").splitlines(), ""]:
        if line.startswith("|"):
            rows.append([cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]])
        elif rows:
            yield rows[0], rows[2:]
            rows = []


def _defaults(page: str) -> List[Dict[str, Any]]:
    """Name to default of every table of parameters; a parameter that has to be set is left out."""
    tables = []
    for header, rows in _tables(DOCS / "components" / page):
        if header == ["name", "default", "description"]:
            assert all(row[2] for row in rows), "every parameter needs a description"
            tables.append({_code(row[0]): yaml.safe_load(_code(row[1])) for row in rows if row[1]})
    return tables


def _code(cell: str) -> str:
    assert not cell or (cell.startswith("`") and cell.endswith("`")), cell
    return cell[1:-1]


def test_every_setting_of_the_policy_is_documented_with_its_default():
    from rasa_hybrid import HybridPolicy

    [documented] = _defaults("policy.md")
    assert documented == HybridPolicy.get_default_config()
    assert list(documented) == list(HybridPolicy.get_default_config())


def test_every_setting_of_the_nlu_component_is_documented_with_its_default():
    from rasa_hybrid import HybridNLU

    [documented] = _defaults("nlu.md")
    assert documented == HybridNLU.get_default_config()


def test_every_setting_of_the_importer_is_documented_with_its_default():
    from rasa_hybrid import TaughtDataImporter

    [documented] = _defaults("importer.md")
    assert documented == {
        "taught": inspect.signature(TaughtDataImporter).parameters["taught"].default
    }


def test_every_setting_of_the_channel_is_documented_with_its_default():
    from rasa_hybrid.components.channel_configuration import DEFAULTS

    [documented] = _defaults("channel.md")
    assert documented == DEFAULTS
    assert list(documented) == list(DEFAULTS)


def test_every_setting_of_the_presets_is_documented():
    from rasa_hybrid.model.settings import PRESETS, Settings

    [rows] = [
        rows for header, rows in _tables(DOCS / "components" / "policy.md") if "`liu2018`" in header
    ]
    documented = {_code(row[0]): [yaml.safe_load(_code(cell)) for cell in row[1:]] for row in rows}
    default = Settings.from_mapping({"preset": "default"})
    assert documented == {
        name: [getattr(default, name), value] for name, value in PRESETS["liu2018"].items()
    }


def test_every_setting_of_the_knowledge_bases_is_documented_with_its_default():
    from rasa_hybrid.knowledge import InMemoryKnowledgeBase, SqlKnowledgeBase, configuration
    from rasa_hybrid.knowledge.guard import GUARD_DEFAULTS

    every_type, *own = _defaults("knowledge-base.md")
    assert every_type == GUARD_DEFAULTS
    for defaults, builder in zip(own, (InMemoryKnowledgeBase.from_file, SqlKnowledgeBase)):
        arguments = inspect.signature(builder).parameters
        for name in set(defaults) & set(arguments):
            assert not defaults[name]
            assert not arguments[name].default or arguments[name].default is inspect.Parameter.empty
    tables = [
        {_code(row[0]) for row in rows}
        for header, rows in _tables(DOCS / "components" / "knowledge-base.md")
        if header == ["name", "default", "description"]
    ]
    for documented, kind in zip(tables[1:], ("memory", "sql")):
        required, optional, _ = configuration._TYPES[kind]
        assert documented == {*required, *optional}


def test_every_setting_of_teaching_and_reinforce_is_documented_with_its_default():
    from rasa_hybrid.learning.imitation import ImitationSettings
    from rasa_hybrid.learning.reinforce_settings import ReinforceSettings

    documented = [
        {_code(row[0]): yaml.safe_load(row[1]) for row in rows}
        for header, rows in _tables(DOCS / "learning.md")
        if header == ["setting", "default", "meaning"]
    ]
    assert documented == [ImitationSettings().to_dict(), ReinforceSettings().to_dict()]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_pages_and_headings_that_exist(page):
    broken = []
    for target in _LINK.findall(_without_code(page.read_text(encoding="utf-8"))):
        if re.match(r"\w+:", target):
            continue
        path, _, heading = target.partition("#")
        linked = (page.parent / path).resolve() if path else page
        if not linked.exists() or (heading and heading not in _headings(linked)):
            broken.append(target)
    assert not broken


def _without_code(text: str) -> str:
    return re.sub(r"`[^`\n]*`", "", FENCE.sub("", text))


def _headings(page: Path) -> List[str]:
    """Anchors of a page, as mkdocs makes them."""
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    titles = re.findall(r"^#+ (.+)$", text, re.M)
    return [
        re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", title).strip().lower()) for title in titles
    ]


def test_every_page_is_in_the_navigation():
    navigation = yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"]
    assert sorted(_leaves(navigation)) == sorted(
        page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md")
    )


def _leaves(node: Any) -> Iterator[str]:
    if isinstance(node, str):
        yield node
    for child in (
        node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    ):
        yield from _leaves(child)


def test_pictures_are_well_formed_and_small():
    pictures = sorted((DOCS / "images").glob("*"))
    assert pictures
    for picture in pictures:
        ElementTree.parse(picture)
        assert picture.stat().st_size < 20_000


@pytest.mark.parametrize("snippet", snippets("yaml"), ids=str)
def test_yaml_snippets_are_what_our_components_and_rasa_read(snippet):
    content = yaml.safe_load(snippet.text)
    if not isinstance(content, dict):
        return
    for policy in content.get("policies") or ():
        if policy["name"] == "rasa_hybrid.HybridPolicy":
            _check_policy(policy, content)
    for component in content.get("pipeline") or ():
        if component["name"] == "rasa_hybrid.HybridNLU":
            from rasa_hybrid import HybridNLU

            assert set(component) <= {"name", *HybridNLU.get_default_config()}
    if "rasa_hybrid.FeedbackChannel" in content:
        from rasa_hybrid.components.channel_configuration import check_channel

        check_channel(content["rasa_hybrid.FeedbackChannel"])
    if "version" in content:
        _check_data(snippet.text, content)


def _check_policy(policy: Dict[str, Any], content: Dict[str, Any]) -> None:
    from rasa_hybrid.components.configuration import check_configuration
    from rasa_hybrid.knowledge import configuration
    from rasa_hybrid.knowledge.guard import GUARD_DEFAULTS

    config = {key: value for key, value in policy.items() if key != "name"}
    check_configuration(config, content.get("language"))
    settings = dict(config.get("knowledge_base") or {})
    if settings.pop("type", None) in configuration._TYPES:
        kind = config["knowledge_base"]["type"]
        own = {key: value for key, value in settings.items() if key not in GUARD_DEFAULTS}
        configuration._check_keys(kind, own, *configuration._TYPES[kind][:2])


def _check_data(text: str, content: Dict[str, Any]) -> None:
    from rasa.shared.core.domain import Domain
    from rasa.shared.core.training_data.story_reader.yaml_story_reader import YAMLStoryReader

    if "slots" in content:
        assert not Domain.from_yaml(text).is_empty()
    if "stories" in content:
        assert YAMLStoryReader().read_from_string(text)


@pytest.mark.parametrize("snippet", snippets("python"), ids=str)
def test_python_snippets_compile(snippet):
    compile(snippet.text, str(snippet), "exec")


@pytest.mark.parametrize("snippet", snippets("json"), ids=str)
def test_json_snippets_are_dialogues(snippet, tmp_path):
    import json

    from rasa_hybrid.corpora import read_dstc2
    from rasa_hybrid.corpora.jsonl import dialogue_from_json

    content = json.loads(snippet.text)
    if isinstance(content, list):  # a file of a public corpus
        (tmp_path / "corpus.json").write_text(snippet.text)
        assert all(dialogue.turns for dialogue in read_dstc2(tmp_path / "corpus.json"))
    else:
        assert dialogue_from_json(content).turns


def test_make_targets_in_the_documentation_exist():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    for page in PAGES:
        named = re.findall(r"(?:^ {4}|`)make ([a-z-]+)", page.read_text(encoding="utf-8"), re.M)
        assert set(named) <= targets, page


def test_messages_in_the_questions_are_those_that_the_code_says():
    said = "\0".join(
        node.value.replace("`", "")
        for module in (ROOT / "rasa_hybrid").rglob("*.py")
        for node in ast.walk(ast.parse(module.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    )
    [messages] = [
        [row[0] for row in rows]
        for header, rows in _tables(DOCS / "faq.md")
        if header[0] == "message"
    ]
    for message in messages:
        for part in re.split(r"'?\.\.\.'?", _code(message)):
            words = part.strip(" :;,'\"().")
            for piece in re.split(r"\s*[:()]\s*", words):
                # What stands between placeholders is one text in the code, but for values of the example.
                if len(piece.split()) > 2 and not re.search(r"\d", piece):
                    assert piece in said, message


@pytest.mark.process
def test_the_site_builds_without_a_warning(tmp_path):
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "mkdocs",
            "build",
            "--strict",
            "--quiet",
            "--site-dir",
            str(tmp_path / "site"),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
