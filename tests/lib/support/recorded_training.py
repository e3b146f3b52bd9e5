"""Runs tools/train.py, writes down what each step of its optimizer was trained on, and kills itself after some step.

    python -m support.recorded_training RECORDS KILL_AFTER [arguments of tools/train.py]

Rank r writes `RECORDS/r.jsonl`, a line for each step: the targets that were trained on since the step before. After
that many steps (0: never) the process gets SIGKILL, between the step and the checkpoint that may be due.
"""

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch.optim.optimizer import register_optimizer_step_post_hook

import train


def main(records: Path, kill_after: int, arguments: list[str]) -> None:
    cross_entropy = F.cross_entropy
    targets_of_step: list[int] = []
    steps: list[list[int]] = []

    def recorded_cross_entropy(logits: torch.Tensor, targets: torch.Tensor, **options: Any) -> torch.Tensor:
        if torch.is_grad_enabled():
            targets_of_step.extend(targets.tolist())
        return cross_entropy(logits, targets, **options)

    def after_step(*_: Any) -> None:
        steps.append(list(targets_of_step))
        targets_of_step.clear()
        lines.write(json.dumps(steps[-1]) + "\n")
        lines.flush()
        if len(steps) == kill_after:
            os.kill(os.getpid(), signal.SIGKILL)

    F.cross_entropy = recorded_cross_entropy  # type: ignore[assignment]
    register_optimizer_step_post_hook(after_step)
    records.mkdir(parents=True, exist_ok=True)
    with (records / f"{os.environ.get('RANK', 0)}.jsonl").open("w") as lines:
        train.main(arguments)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
