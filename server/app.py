"""The Flower ServerApp, for `flwr run .`: the scenario that the run config names, on the grid that Flower gives."""

from pathlib import Path

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from fedunlearn import catalogue
from fedunlearn.experiment import Telling
from fedunlearn.reporting import publish
from fedunlearn.reporting.progress import Progress
from fedunlearn.scenario import load_cells
from server.engine import claim, run_cells

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Run every cell of the scenario and publish the report.

    Run config: `scenario` (a TOML file) and `out` (the run folder), both seen from the app's folder unless
    absolute. The number of SuperNodes is Flower's; scenario keys about the engine do not apply.
    """
    if hasattr(grid, "pull_interval"):
        grid.pull_interval = 0.005  # the default polls ten times a second
    scenario, out = Path(str(context.run_config["scenario"])), Path(str(context.run_config["out"]))
    cells = load_cells(scenario)
    for cell in cells:
        catalogue.check(cell.scenario)
    claim(out, cells, resume=True)
    nodes = len(list(grid.get_node_ids()))
    with Progress() as progress:
        run_cells(cells, cells, out, Telling(progress.begin, progress.row), progress, nodes, grid)
    publish(out)
