"""What a bench has found, in words."""

import math

from fastdata.commands.bench.changes import LOSE_DETAIL
from fastdata.commands.bench.measuring import Report
from fastdata.loading.stats import Stage

_WORTH = 1.05  # what gains less is not advised
_NEAR = 0.85  # of the ceiling, from where on only decoding less helps
_NOISE = 1.05  # times the ceiling, up to where a Loader may seem to be
_SLOW = 1.1  # times as long, from where on a step beside a Loader is worth a word

_IN_WORDS = {
    Stage.READ.value: "Reading",
    Stage.DRAW.value: "Drawing views",
    Stage.DECODE.value: "Decoding JPEGs",
    Stage.RESIZE.value: "Resizing",
    Stage.MAP.value: "Colour, or map=,",
}


def verdict(report: Report, model_rate: float | None = None) -> list[str]:
    """What limits, what would help most, and whether a model of so many images/s would be fed, in words."""
    said = _limits(report)
    if report.left_out:
        said.insert(
            0, f"Can't be read, and are left out: {report.left_out:,} of the {report.tried:,} photos looked at."
        )
    helps = {change: gain for change, gain in report.changes.items() if gain > _WORTH}
    for change, gain in sorted(helps.items(), key=lambda each: -each[1]):
        price = ": a model then sees less detail" if change in LOSE_DETAIL else ""
        said.append(f"{change} makes it {gain:.2f} times as fast, on some of the photos{price}.")
    if not helps:
        said.append("Of what was tried nothing makes it faster: more CPUs will.")
    for name, speed in report.against.items():
        said.append(f"It is {report.sampled / speed:.2f} times as fast as {_NAMES[name]}, on some of the photos.")
    if report.step > _SLOW:
        said.append(f"A step of many small operations takes {report.step:.2f} times as long beside one loading thread.")
    if model_rate is not None:
        said.append(_fed(report, model_rate))
    return said


_NAMES = {"torch": "torch's DataLoader", "webdataset": "webdataset in torch's DataLoader", "dali": "DALI's pipeline"}


def fastest(report: Report) -> tuple[str, int, float]:
    """Decoder, threads and images/s of the fastest Loader."""
    each = [(d, count, speed) for d, speeds in report.by_threads.items() for count, speed in speeds.items()]
    return max(each, key=lambda one: one[2])


def is_beaten(report: Report) -> bool:
    """Whether a Loader is faster than the ceiling by more than noise, so that this is none."""
    return max(report.by_threads.get("cpu", {}).values(), default=0.0) > _NOISE * report.ceiling


def _limits(report: Report) -> list[str]:
    stage, share = max(report.stages.items(), key=lambda each: each[1])
    where = ", over the network," if report.far and stage == Stage.READ.value else ""
    said = [f"{_IN_WORDS[stage]}{where} takes most of the threads' time, {share:.0%} of it."]
    decoder, threads, best = fastest(report)
    speeds = report.by_threads[decoder]
    least = min(speeds)
    if threads > least:
        times = best / speeds[least]
        gain = times / (threads / least)
        said.append(f"{threads} threads are {times:.2f} times as fast as {least}: {gain:.0%} of what they could be.")
    elif len(speeds) > 1:
        said.append(f"More threads than {threads} are no faster: something else may be using the CPUs.")
    if decoder == "cpu" and report.ceiling and not is_beaten(report):
        reached = best / report.ceiling
        rest = (
            "only decoding less makes it faster" if reached > _NEAR else "the rest goes into reading and handing over"
        )
        said.append(f"It has {reached:.0%} of what its threads only decode, {report.ceiling:,.0f} images/s: {rest}.")
    return said


def _fed(report: Report, model_rate: float) -> str:
    decoder, threads, best = fastest(report)
    if best >= model_rate:
        enough = min(count for count, speed in report.by_threads[decoder].items() if speed >= model_rate)
        return f"A model of {model_rate:,.0f} images/s is fed, by {enough} thread{'s' if enough > 1 else ''}."
    wanted = math.ceil(model_rate / (best / threads))
    return f"A model of {model_rate:,.0f} images/s waits: it needs some {wanted} CPUs like these."
