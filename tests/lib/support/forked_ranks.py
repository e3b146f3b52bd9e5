"""What `torchrun --standalone` does, with ranks that are forks of this process and so have imported what it has."""

import runpy
import sys
import uuid
from pathlib import Path

from torch.distributed.launcher.api import LaunchConfig, elastic_launch


def launch(number: int, script: str, *arguments: str) -> None:
    """Run a script, or a module by its name, on so many ranks; a rank that fails is an error."""
    config = LaunchConfig(
        1,
        1,
        number,
        run_id=str(uuid.uuid4()),
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        max_restarts=0,
        monitor_interval=0.02,
        start_method="fork",
    )
    elastic_launch(config, _rank)(script, *arguments)


def _rank(script: str, *arguments: str) -> None:
    sys.argv = [script, *arguments]
    if script.endswith(".py"):
        sys.path.insert(0, str(Path(script).resolve().parent))  # where its own modules lie
        runpy.run_path(script, run_name="__main__")
    else:
        runpy.run_module(script, run_name="__main__")
