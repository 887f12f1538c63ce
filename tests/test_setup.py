"""The set-up finds a Python that works, installs what is pinned, and says plainly when it can't."""

import ast
import configparser
import os
import re
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
# A Python that answers as the bootstrap script asks: which version it is, and then `-m venv` and
# `-m pip`, of which it notes the calls.
FAKE_PYTHON = """#!/bin/sh
case "$1 $2" in
"-c import sys, venv"*) echo "{version} $0" ;;
"-c "*) {answer} ;;
"-VV "*) echo "Python {version}.1 (fake)" ;;
"-m venv")
    for folder; do :; done
    mkdir -p "$folder/bin" && echo "VIRTUAL_ENV=$PWD/$folder" >"$folder/bin/activate"
    cp "$0" "$folder/bin/python"
    echo venv >>"$CALLS" ;;
"-m pip")
    echo "$@" >>"$CALLS"
    {pip} ;;
esac
"""
TOOLS = "cat cksum cp date grep ln mkdir readlink rm sed sleep touch".split()


class Checkout:
    """A folder with the bootstrap script and what it reads, on a machine with no Python at first."""

    def __init__(self, folder):
        self.folder = folder
        self.home = folder / "home"
        self.path = folder / "path"
        self.calls_file = folder / "calls"
        for made in (folder / "project" / "scripts", self.home, self.path):
            made.mkdir(parents=True)
        self.project = folder / "project"
        shutil.copy(str(ROOT / "scripts" / "bootstrap"), str(self.project / "scripts"))
        (self.project / "requirements.lock").write_text("uv==1.2.3 ; sys_platform == 'linux'\n")
        for name in ("setup.cfg", "pyproject.toml"):
            (self.project / name).write_text("")

    def python(self, place, version="3.10", pip="exit 0", answer="echo 3.10"):
        """Puts a fake Python at `place`."""
        text = FAKE_PYTHON.format(version=version, pip=pip, answer=answer)
        return self.program(place, text)

    def program(self, place, text):
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
        place.chmod(0o755)
        return place

    def bootstrap(self, *arguments, tools="", **variables):
        """Runs the script with nothing on the PATH but our fakes and the folders `tools`."""
        environment = {
            "PATH": f"{self.path}{tools}",
            "HOME": str(self.home),
            "CALLS": str(self.calls_file),
            **variables,
        }
        command = ["/bin/sh", str(self.project / "scripts" / "bootstrap"), *arguments]
        return subprocess.run(
            command,
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
        )

    def found(self, **variables):
        done = self.bootstrap("find-python", **variables)
        assert done.returncode == 0, done.stderr
        return Path(done.stdout.strip())

    def set_up(self, **variables):
        return self.bootstrap(tools=":" + self.tools_without_python(), **variables)

    def tools_without_python(self):
        """A folder with the programs that the script calls, and none of the machine's Pythons."""
        folder = self.folder / "tools"
        folder.mkdir(exist_ok=True)
        for name in TOOLS:
            if not (folder / name).exists():
                (folder / name).symlink_to(shutil.which(name))
        return str(folder)

    def calls(self):
        lines = self.calls_file.read_text().splitlines() if self.calls_file.exists() else []
        self.calls_file.write_text("")
        return lines


@pytest.fixture
def checkout(tmp_path):
    return Checkout(tmp_path)


def test_python_variable_comes_before_the_path(checkout):
    checkout.python(checkout.path / "python3.10")
    chosen = checkout.python(checkout.folder / "elsewhere" / "python", version="3.8")
    assert checkout.found(PYTHON=str(chosen)) == chosen


@pytest.mark.parametrize("version", ["3.7", "3.11"])
def test_python_variable_of_another_version_is_passed_over_aloud(checkout, version):
    good = checkout.python(checkout.path / "python3.10")
    other = checkout.python(checkout.folder / "elsewhere" / "python", version=version)
    done = checkout.bootstrap("find-python", PYTHON=str(other))
    assert Path(done.stdout.strip()) == good
    assert f"PYTHON={other} is not a working Python" in done.stderr


def test_shim_that_is_there_and_fails_is_passed_over(checkout):
    checkout.program(checkout.path / "python3.10", "#!/bin/sh\necho not activated >&2\nexit 127\n")
    checkout.python(checkout.path / "python3", version="3.11")
    good = checkout.python(checkout.home / ".pyenv" / "versions" / "3.10.4" / "bin" / "python")
    assert checkout.found() == good


def test_interpreter_that_cannot_make_environments_is_passed_over(checkout):
    text = "#!/bin/sh\necho \"No module named 'ensurepip'\" >&2\nexit 1\n"
    checkout.program(checkout.path / "python3.10", text)
    good = checkout.python(checkout.path / "python3.9", version="3.9")
    assert checkout.found() == good


def test_path_comes_before_pyenv(checkout):
    good = checkout.python(checkout.path / "python3")
    checkout.python(checkout.home / ".pyenv" / "versions" / "3.10.4" / "bin" / "python")
    assert checkout.found() == good


def test_310_of_pyenv_comes_before_39_of_the_path(checkout):
    checkout.python(checkout.path / "python3.9", version="3.9")
    good = checkout.python(checkout.folder / "pyenv" / "versions" / "3.10.4" / "bin" / "python")
    assert checkout.found(PYENV_ROOT=str(checkout.folder / "pyenv")) == good


def test_uv_downloads_only_when_nothing_is_installed(checkout):
    # As uv does it: not a word on standard output, and the interpreter in a folder of its own.
    uv = """#!/bin/sh
[ "$*" = "--quiet python install 3.10" ] || exit 2
/bin/mkdir -p "$UV_PYTHON_INSTALL_DIR/cpython-3.10.9/bin"
/bin/cp "$DOWNLOAD" "$UV_PYTHON_INSTALL_DIR/cpython-3.10.9/bin/python3.10"
"""
    checkout.program(checkout.path / "uv", uv)
    checkout.python(checkout.path / "python3", version="3.12")
    installed = checkout.python(checkout.path / "python3.8", version="3.8")
    download = str(checkout.python(checkout.folder / "download"))
    assert checkout.found(DOWNLOAD=download) == installed
    installed.unlink()
    found = checkout.found(DOWNLOAD=download)
    assert checkout.project / ".tools" / "python" in (checkout.project / found).parents
    (checkout.path / "uv").unlink()
    assert checkout.found() == found, "a second download"


def test_uv_is_installed_into_the_tools_folder_where_there_is_none(checkout):
    checkout.python(checkout.path / "python3", version="3.12", pip="exit 1")
    done = checkout.set_up()
    assert checkout.calls() == ["venv", "-m pip install -qq uv==1.2.3"]
    assert (checkout.project / ".tools" / "uv").is_dir()
    assert done.returncode != 0


def test_no_interpreter_is_one_sentence_that_says_what_to_install(checkout):
    done = checkout.set_up()
    assert done.returncode != 0
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert "install Python 3.10" in done.stderr
    assert not (checkout.project / ".venv").exists()


def test_second_set_up_does_nothing(checkout):
    checkout.python(checkout.path / "python3.10")
    assert checkout.set_up().returncode == 0
    assert [call for call in checkout.calls() if "requirements.lock" in call]
    second = checkout.set_up()
    assert (second.returncode, second.stderr, checkout.calls()) == (0, "", [])


@pytest.mark.parametrize("changed", ["requirements.lock", "setup.cfg"])
def test_changed_pins_and_scripts_are_installed_into_the_same_environment(checkout, changed):
    checkout.python(checkout.path / "python3.10")
    checkout.set_up()
    checkout.calls()
    (checkout.project / changed).write_text("# changed\n")
    assert checkout.set_up().returncode == 0
    calls = checkout.calls()
    assert "venv" not in calls
    assert [call for call in calls if "requirements.lock" in call]
    # The script `rasa-hybrid` names the function that it calls, also in an editable installation.
    assert [call for call in calls if "--editable ." in call]


def test_environment_of_an_interrupted_set_up_is_made_anew(checkout):
    checkout.python(checkout.path / "python3.10", pip="kill -9 $PPID; sleep 1")
    assert checkout.set_up().returncode != 0
    checkout.python(checkout.path / "python3.10")
    checkout.calls()
    assert checkout.set_up().returncode == 0
    assert checkout.calls()[0] == "venv"


def test_failed_installation_is_tried_again_in_the_same_environment(checkout):
    checkout.python(checkout.path / "python3.10", pip="exit 1")
    failed = checkout.set_up()
    assert failed.returncode != 0
    assert "pip could not install" in failed.stderr
    checkout.python(checkout.project / ".venv" / "bin" / "python")
    checkout.calls()
    assert checkout.set_up().returncode == 0
    assert "venv" not in checkout.calls()


def test_environment_that_was_moved_is_made_anew(checkout):
    checkout.python(checkout.path / "python3.10")
    checkout.set_up()
    checkout.calls()
    checkout.project = checkout.project.rename(checkout.folder / "moved")
    assert checkout.set_up().returncode == 0
    assert checkout.calls()[0] == "venv"


def test_other_version_that_is_asked_for_replaces_the_environment(checkout):
    checkout.python(checkout.path / "python3.10")
    checkout.set_up()
    checkout.calls()
    other = checkout.python(checkout.path / "python3.9", version="3.9", answer="echo 3.9")
    assert checkout.set_up(PYTHON=str(other)).returncode == 0
    assert checkout.calls()[0] == "venv"
    assert checkout.set_up().returncode == 0, "without PYTHON the environment stays as it is"
    assert checkout.calls() == []


def setup_cfg():
    parser = configparser.ConfigParser()
    parser.read(str(ROOT / "setup.cfg"))
    return parser


def requirements(text):
    lines = (line.strip() for line in text.splitlines())
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


def applicable(required):
    """Name to requirement, of those that count for this Python on this machine."""
    return {
        canonicalize_name(one.name): one
        for one in required
        if one.marker is None or one.marker.evaluate()
    }


@pytest.fixture(scope="module")
def lock():
    return applicable(requirements((ROOT / "requirements.lock").read_text()))


def test_lock_file_has_all_that_setup_cfg_asks_for(lock):
    config = setup_cfg()
    texts = [config["options"]["install_requires"], *config["options.extras_require"].values()]
    for text in texts:
        for name, asked in applicable(requirements(text)).items():
            assert name in lock, f"run `make lock`: {name} is not pinned"
            (pin,) = lock[name].specifier
            assert asked.specifier.contains(pin.version), f"run `make lock`: {asked} but {pin}"


def test_lock_file_names_no_host_and_no_path():
    text = (ROOT / "requirements.lock").read_text()
    assert not re.search(r"://|^\s*-|\s@\s|file:", text, re.MULTILINE)


def test_environment_is_what_the_lock_file_says(lock):
    installed = {
        canonicalize_name(one.metadata["Name"]): one.version for one in metadata.distributions()
    }
    wrong = {
        name: installed.get(name)
        for name, one in lock.items()
        if not one.specifier.contains(installed.get(name, "0"), prereleases=True)
    }
    assert not wrong, f"run `make setup`: {wrong}"


def test_environment_has_no_conflicts():
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "check"]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60)
    assert done.returncode == 0, done.stdout.decode()


DISTRIBUTION_OF_MODULE = {"yaml": "pyyaml", "rasa_sdk": "rasa"}
OURS = {"benchmarks", "examples", "rasa_hybrid", "tests"}
STANDARD_LIBRARY = set(getattr(sys, "stdlib_module_names", ()))


@pytest.mark.skipif(not STANDARD_LIBRARY, reason="Python tells its own modules since 3.10")
def test_everything_the_package_imports_is_declared():
    config = setup_cfg()
    declared = set(applicable(requirements(config["options"]["install_requires"])))
    undeclared = {}
    for path in sorted((ROOT / "rasa_hybrid").rglob("*.py")):
        for module in imported_modules(path) - OURS - STANDARD_LIBRARY:
            name = canonicalize_name(DISTRIBUTION_OF_MODULE.get(module, module))
            if name not in declared:
                undeclared.setdefault(module, []).append(str(path.relative_to(ROOT)))
    assert not undeclared, f"add them to install_requires in setup.cfg: {undeclared}"


def imported_modules(path):
    """Top-level names of what `path` imports, wherever in the file it does."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names.add(node.module.split(".")[0])
    return names


def test_second_set_up_of_this_checkout_starts_working_within_three_seconds():
    command = [str(ROOT / "scripts" / "bootstrap")]
    environment = {key: value for key, value in os.environ.items() if key != "PYTHON"}
    if not (ROOT / ".venv" / ".ready").exists():
        pytest.skip("this environment was not made by scripts/bootstrap")
    subprocess.run(command, env=environment, check=True, timeout=3)
