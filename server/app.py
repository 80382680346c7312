"""The Flower ServerApp, for `flwr run .`: the scenario that the run config names, on the grid that Flower gives."""

from pathlib import Path

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from fedunlearn.catalogue import checked_cells
from fedunlearn.reporting import publish
from fedunlearn.reporting.progress import Progress
from server.aggregation import check_strategies
from server.engine import claim, run_cells

APP = Path(__file__).resolve().parent.parent  # where Flower has unpacked the app

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Run every cell of the scenario and publish the report.

    Run config: `scenario`, a TOML file of the app unless absolute, and `out`, the run folder, seen from the
    process's working directory unless absolute. A run that was interrupted in `out` is finished. The number of
    SuperNodes is Flower's; scenario keys about the engine do not apply.
    """
    if hasattr(grid, "pull_interval"):
        grid.pull_interval = 0.005  # the default polls ten times a second
    out = Path(str(context.run_config["out"])).absolute()
    cells = checked_cells(APP / str(context.run_config["scenario"]))
    check_strategies(cells)
    claim(out, cells, resume=True)
    nodes = len(list(grid.get_node_ids()))
    with Progress() as progress:
        run_cells(cells, cells, out, progress.lines[0], ("flwr", nodes, nodes), grid)
    print(f"report: {publish(out)}")
