"""The command line: what it imports, what it prints, and how it fails."""

import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import run_sim
from fedunlearn import catalogue
from fedunlearn.errors import QuorumLost
from fedunlearn.scenario import Cell, load_cells

ROOT = Path(run_sim.__file__).parent
SCENARIOS = sorted((ROOT / "scenarios").glob("*.toml"))
GOOD = """
[data]
name = "digits"

[[requests]]
round = 3
holders = [0, 1]
scope = "class"
target = { random = 1 }

[[observers]]
name = "server"
access = "updates"

[[observers]]
name = "user"
access = "labels"
flags = ["public-unlabelled"]

[[attacks]]
name = "bias-drop"
observer = "server"

[[attacks]]
name = "gradient-matching"
observer = "server"
settings = { steps = 3 }

[matrix]
"federation.algorithm" = ["fedsgd", "fedavg"]
"""


@pytest.fixture
def scenario(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "good.toml"
    file.write_text(GOOD)
    return file


def call(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    """Return (exit code, stdout, stderr) of the command line."""
    with pytest.raises(SystemExit) as ended:
        run_sim.main([str(argument) for argument in arguments])
    printed = capsys.readouterr()
    return int(ended.value.code or 0), printed.out, printed.err


def test_help_is_quick_and_imports_nothing_heavy():
    code = (
        "import sys, run_sim\n"
        "try: run_sim.main(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'flwr', 'ray', 'numpy', 'pydantic', 'scipy', 'sklearn', 'datasets', 'tensorboard'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    seconds = []
    for _ in range(3):  # the best of three: other processes may have the machine
        started = time.perf_counter()
        done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
        seconds.append(time.perf_counter() - started)
        assert done.stdout.endswith("[]\n")
    assert "Without a command: run the" in done.stdout
    assert min(seconds) <= 0.5


def test_check_says_what_would_run(scenario: Path, capsys: pytest.CaptureFixture[str]):
    code, out, err = call(capsys, "check", scenario)
    assert (code, err) == (0, "")
    assert out.startswith(f"{scenario}: valid\n")
    assert "2: fedsgd, fedavg; trunks to train: 2" in out
    assert "bias-drop by server (access updates)" in out


@pytest.mark.parametrize("file", SCENARIOS, ids=lambda file: file.stem)
def test_every_scenario_checks(file: Path):
    assert catalogue.checked_cells(file)


def test_there_is_a_quickstart():
    assert run_sim.QUICKSTART in SCENARIOS


BAD = {
    "unknown key": ("federation.round=3", 'federation.round = 3: unknown key; did you mean "rounds"?'),
    "unknown table": ("federaton.rounds=3", 'federaton = {"rounds": 3}: unknown key; did you mean "federation"?'),
    "snake_case": (
        "federation.local_epochs=3",
        'federation.local_epochs = 3: unknown key; did you mean "local-epochs"?',
    ),
    "type": ("federation.rounds=ten", 'federation.rounds = "ten": must be an integer >= 1'),
    "range": ("federation.rounds=0", "federation.rounds = 0: must be an integer >= 1"),
    "NaN": ("federation.learning-rate=nan", "federation.learning-rate = nan: must be a finite number > 0"),
    "word": ("federation.strategy=FedAdm", 'federation.strategy = "FedAdm": must be one of "FedAvg"'),
    "data set": ("data.name=digit", 'data.name = "digit": unknown built-in data set; did you mean "digits"?'),
    "model": ("model.name=lenett", 'model.name = "lenett": unknown model; did you mean "lenet"?'),
    "unlearner": (
        'unlearning.methods=["federasr"]',
        'unlearning.methods.0 = "federasr": unknown unlearner; did you mean "federaser"?',
    ),
    "unlearner's setting": (
        "unlearning.options.federaser.intervall=2",
        'unlearning.options.federaser.intervall = 2: unknown key; did you mean "interval"?',
    ),
    "attack": ("attacks.0.name=bias-dorp", 'attacks.0.name = "bias-dorp": unknown attack; did you mean "bias-drop"?'),
    "attack's setting": (
        "attacks.1.settings.step=2",
        'attacks.1.settings.step = 2: unknown key; did you mean "steps"?',
    ),
    "flag": (
        'observers.0.flags=["public"]',
        'observers.0.flags.0 = "public": unknown flag; did you mean "public-labelled"?',
    ),
    "access": ("observers.0.access=update", 'did you mean "updates"?'),
    "observer": ("attacks.0.observer=sever", 'attacks.0.observer = "sever": unknown observer; did you mean "server"?'),
    "attack without access": (
        "attacks.1.observer=user",
        'attacks.1.name = "gradient-matching": needs access updates; observer "user" has access labels',
    ),
    "request after the end": (
        "requests.0.round=99",
        "requests.0.round = 99: must be at most federation.rounds = 12",
    ),
    "holder": ("requests.0.holders=[3, 10]", "requests.0.holders.1 = 10: unknown client; they are numbered 0 to 9"),
    "matrix": ("matrix.sead=[1]", 'matrix.sead = [1]: unknown key; did you mean "seed"?'),
    "no assignment": ("seed", '--set "seed": write key.path=value'),
    "past the end of a list": ("requests.4.round=1", "requests.4.round: requests has entries 0 to 0"),
    "folder": ('data={path="/no/where",format="npz"}', 'data.path = "/no/where": no such folder or file'),
}


@pytest.mark.parametrize(("override", "line"), BAD.values(), ids=BAD.keys())
def test_a_wrong_scenario_is_one_line(override: str, line: str, scenario: Path, capsys: pytest.CaptureFixture[str]):
    code, out, err = call(capsys, "check", scenario, "--set", override)
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert err.startswith("error: ")
    assert line in err


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("seed = 1\n[data\n", "not TOML: Expected ']' at the end of a table declaration (at line 2, column 6)"),
        ("[federation]\nround = 1\n", 'federation.round = 1: unknown key; did you mean "rounds"?'),
        ("seed = nan", "seed = nan: must be an integer >= 0"),
        (None, 'no such file; did you mean "'),
    ],
)
def test_a_wrong_file_is_one_line(text: str | None, line: str, scenario: Path, capsys: pytest.CaptureFixture[str]):
    file = scenario.with_name("goood.toml")
    if text is not None:
        file.write_text(text)
    for command in ("check", "run"):
        code, _, err = call(capsys, command, file)
        assert (code, err.count("\n")) == (2, 1)
        assert err.startswith(f"error: {file}: {line}")


def test_list_names_and_describes(capsys: pytest.CaptureFixture[str]):
    code, out, _ = call(capsys, "list")
    assert code == 0
    for name in (
        "datasets",
        "  mnist-5k ",
        "models",
        "  lenet ",
        "  federaser ",
        "  bias-drop ",
        "  psnr ",
        "  quickstart ",
    ):
        assert name in out
    assert all(len(line.split(None, 1)) == 2 for line in out.splitlines() if line.startswith("  "))
    assert call(capsys, "list", "model") == (2, "", 'error: unknown kind "model"; did you mean "models"?\n')


class Engine:
    """Stands in for the engine, and remembers what it was asked."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[tuple[list[Cell], Path, bool]] = []
        self.jobs = 0
        self.fails: BaseException | None = None
        monkeypatch.setitem(sys.modules, "server.engine", SimpleNamespace(run_experiment=self.run))
        monkeypatch.setitem(sys.modules, "clients.app", SimpleNamespace(app="the client app"))

    def run(self, cells: list[Cell], out: Path, client_app: Any, *, resume: bool, jobs: int) -> None:
        assert client_app == "the client app"
        self.jobs = jobs
        self.asked.append((cells, out, resume))
        out.mkdir(parents=True, exist_ok=True)
        if self.fails:
            raise self.fails


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Engine:
    return Engine(monkeypatch)


def test_run_hands_cells_and_a_new_folder_to_the_engine(
    scenario: Path, engine: Engine, capsys: pytest.CaptureFixture[str]
):
    for _ in range(2):
        assert call(capsys, "run", scenario, "--set", "seed=5", "--engine", "inline")[0] == 0
    assert call(capsys, "run", scenario, "--resume")[0] == 0
    assert call(capsys, "run", scenario, "--out", "here")[0] == 0
    assert [out for _, out, _ in engine.asked] == [
        Path("runs/good"),
        Path("runs/good-2"),
        Path("runs/good-2"),
        Path("here"),
    ]
    assert [resume for _, _, resume in engine.asked] == [False, False, True, False]
    cells = engine.asked[0][0]
    assert [cell.name for cell in cells] == ["fedsgd", "fedavg"]
    assert {(cell.scenario.seed, cell.scenario.federation.engine) for cell in cells} == {(5, "inline")}


def test_without_a_command_the_quickstart_runs(scenario: Path, engine: Engine, capsys: pytest.CaptureFixture[str]):
    assert call(capsys)[0] == 0
    assert engine.asked == [(load_cells(run_sim.QUICKSTART), Path("runs/quickstart"), False)]


def test_errors_of_a_run_have_their_exit_codes(scenario: Path, engine: Engine, capsys: pytest.CaptureFixture[str]):
    engine.fails = QuorumLost("0 of 10 clients answered.\nclient 3: no")
    assert call(capsys, "run", scenario) == (4, "", "error: 0 of 10 clients answered. client 3: no\n")


def test_an_interrupted_run_says_how_to_go_on(scenario: Path, engine: Engine, capsys: pytest.CaptureFixture[str]):
    engine.fails = KeyboardInterrupt()
    code, _, err = call(capsys, "run", scenario, "--set", "title=a b", "--engine", "inline")
    again = "--set 'title=a b' --set federation.engine=inline --out runs/good --resume"
    assert (code, err) == (130, f"interrupted; go on with: python run_sim.py run {scenario} {again}\n")
    code, _, err = call(capsys, "run", scenario, "--jobs", "3", "--out", "three")
    assert (code, engine.jobs) == (130, 3)
    assert err.endswith(f"run {scenario} --jobs 3 --out three --resume\n")


def test_there_must_be_something_to_resume(scenario: Path, engine: Engine, capsys: pytest.CaptureFixture[str]):
    refused = (2, "", "error: --resume: there is no run folder runs/good\n")
    assert call(capsys, "run", scenario, "--resume") == refused
    assert engine.asked == []


def test_report_needs_a_folder(scenario: Path, capsys: pytest.CaptureFixture[str]):
    assert call(capsys, "report", "nowhere") == (2, "", "error: nowhere: no such run folder\n")


def test_report_needs_results(scenario: Path, capsys: pytest.CaptureFixture[str]):
    Path("empty").mkdir()
    code, _, err = call(capsys, "report", "empty")
    assert (code, err.count("\n")) == (2, 1)
    assert "empty" in err
