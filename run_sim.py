"""The command line of fedunlearn. Commands import what they need themselves, so that --help is instant."""

import re
import shlex
import sys
from pathlib import Path
from typing import Annotated

try:
    import typer
except ModuleNotFoundError:
    sys.exit("error: fedunlearn is not installed for this Python; run `make venv`, then use .venv/bin/python")

from fedunlearn.errors import FedUnlearnError, ScenarioError

QUICKSTART = Path(__file__).parent / "scenarios" / "quickstart.toml"
RUNS = Path("runs")

app = typer.Typer(add_completion=False, pretty_exceptions_show_locals=False)
ScenarioFile = Annotated[Path, typer.Argument(metavar="SCENARIO")]
Overrides = Annotated[list[str] | None, typer.Option("--set", metavar="KEY.PATH=VALUE", help="Change one value.")]


@app.callback(invoke_without_command=True)
def default(context: typer.Context) -> None:
    """Watch a federation forget: what does it give away? Without a command: run the quickstart."""
    if context.invoked_subcommand is None:
        run(QUICKSTART)


@app.command()
def run(
    scenario: ScenarioFile,
    overrides: Overrides = None,
    out: Annotated[Path | None, typer.Option(help="Run folder; runs/<name of the scenario> if absent.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with an interrupted run.")] = False,
    engine: Annotated[str | None, typer.Option(metavar="ray|inline", help="As federation.engine.")] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Processes that share the cells of inline engines.")] = 1,
) -> None:
    """Run the scenario in a TOML file: train, forget, attack, judge, report."""
    changes = [*(overrides or []), *([f"federation.engine={engine}"] if engine else [])]
    from fedunlearn.catalogue import checked_cells

    cells = checked_cells(scenario, changes)
    folder = out or run_folder(cells[0].scenario.name, resume)
    if resume and not folder.is_dir():
        raise ScenarioError(f"--resume: there is no run folder {folder}")
    from clients.app import app as client_app
    from server.engine import run_experiment

    try:
        run_experiment(cells, folder, client_app, resume=resume, jobs=jobs)
        print(f"report       {folder / 'report.html'}")
        if any(cell.scenario.output.tensorboard for cell in cells):
            print(f"TensorBoard  tensorboard --logdir {folder}")
    except KeyboardInterrupt:
        settings = [word for change in changes for word in ("--set", change)]
        settings += ["--jobs", str(jobs)] if jobs > 1 else []
        again = ["python", "run_sim.py", "run", str(scenario), *settings, "--out", str(folder), "--resume"]
        stop(f"interrupted; go on with: {shlex.join(again)}", 130)


@app.command()
def check(scenario: ScenarioFile, overrides: Overrides = None) -> None:
    """Check the scenario in a TOML file without running it, and say what it would do."""
    from fedunlearn.catalogue import checked_cells
    from fedunlearn.scenario import summary
    from server.aggregation import check_strategies

    cells = checked_cells(scenario, overrides or [])
    check_strategies(cells)
    print(f"{scenario}: valid", *summary(cells), sep="\n")


@app.command("list")
def list_(kind: Annotated[str | None, typer.Argument(metavar="[KIND]")] = None) -> None:
    """Show what there is of a KIND (datasets, models, unlearners, attacks, decisions, defences, metrics, access, flags,
    strategies, scenarios); all without it."""
    from fedunlearn.catalogue import KINDS, listing

    for each in [kind] if kind else KINDS:
        entries = listing(each)
        width = max(map(len, entries), default=0)
        print(each, *(f"  {name:{width}}  {line}" for name, line in entries.items()), sep="\n")


@app.command()
def report(folder: Annotated[Path, typer.Argument(metavar="DIR")]) -> None:
    """Rebuild the table and report.html of the run in folder DIR from its results."""
    if not folder.is_dir():
        raise ScenarioError(f"{folder}: no such run folder")
    from fedunlearn.reporting import rebuild

    rebuild(folder)


def run_folder(name: str, resume: bool) -> Path:
    """Return runs/<name>, with the next free number behind it when it is taken; to resume, the latest of them."""
    pattern = re.compile(rf"{re.escape(name)}(?:-(\d+))?")
    matches = [pattern.fullmatch(folder.name) for folder in RUNS.glob(f"{name}*")]
    latest = max((int(match[1] or 1) for match in matches if match), default=0)
    number = max(latest, 1) if resume else latest + 1
    return RUNS / (name if number == 1 else f"{name}-{number}")


def stop(line: str, exit_code: int) -> None:
    """Print a line on stderr and end."""
    print(line, file=sys.stderr)
    raise SystemExit(exit_code)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; every error that a user can cause is one line and an exit code."""
    try:
        app(arguments)
    except FedUnlearnError as error:
        stop(f"error: {' '.join(str(error).split())}", error.exit_code)


if __name__ == "__main__":
    main()
