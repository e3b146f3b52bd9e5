"""One page of charts, by one command: images/s against cores and photo size, a step's loss, requests by shuffle.

    python benchmarks/page.py --data photos --out results

It writes `index.html`, which needs nothing else, and `page.json` with every round of every contest. `--only` names who
takes part; who is not installed is left out, and it is said. For the sizes photos are resized and encoded anew.
"""

import argparse
import os
import tempfile
from collections.abc import Mapping, Sequence
from html import escape
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import cv2

import mixing
import step
from contestants import CONTESTANTS
from curves import Curve, bars, curves
from material import Material, jpegs, material
from measure import IMAGES_PER_SECOND, Span
from options import parser, use_cpus
from report import cpu_name, store
from rounds import Contest, Row, compete
from throughput import entry, those_here
from work import Work

WHO = ("Loader, shards", "Loader, crop-ready shards", "DALI's own, shards", "webdataset", "torch's DataLoader, folder")
HEIGHTS = (120, 240, 480, 960)  # pixels
QUALITY = 90
PHOTOS = 200  # of each height


class Chart(NamedTuple):
    """`about` says what is on it; the contests are what it is drawn from."""

    title: str
    about: str
    picture: str
    contests: Sequence[Contest] = ()


def arguments() -> argparse.Namespace:
    made = parser(__doc__, rounds=3, images=1500)
    made.add_argument("--only", nargs="*", choices=CONTESTANTS, default=WHO, help=f"default: {', '.join(WHO)}")
    made.add_argument("--max-workers", type=int, default=2, help="of a DataLoader: the best of 1 to this; default: 2")
    made.add_argument("--steps", type=int, default=1000, help="of training, in each round; default: 1000")
    options = made.parse_args()
    if options.out is None:
        made.error("--out DIR is where the page goes")
    if find_spec("matplotlib") is None:
        made.error("charts are drawn by matplotlib: pip install matplotlib")
    return options


def speeds(title: str, files: Material, threads: int, options: argparse.Namespace) -> Contest:
    work = Work(files, antialias=True, floats=False, batch_size=options.batch_size, threads=threads, workers=0)
    span = Span(options.images // 3, options.images)
    names = those_here(options.only, files)
    return compete(
        f"{title}; {files.about}",
        dict(entry(name, work, span, options.max_workers) for name in names),
        [IMAGES_PER_SECOND],
        options.rounds,
    )


def by_name(contests: Mapping[float, Contest]) -> dict[str, Curve]:
    """Images/s of each contestant, whatever its workers, against what the contests' keys are."""
    points: dict[str, dict[float, Row]] = {}
    for x, contest in contests.items():
        for row in contest.rows:
            points.setdefault(row.name.rsplit(", ", 1)[0] if "worker" in row.name else row.name, {})[x] = row
    return {
        name: curve({x: [one[IMAGES_PER_SECOND] for one in row.rounds] for x, row in of.items()})
        for name, of in points.items()
    }


def curve(rounds: Mapping[float, Sequence[float]]) -> Curve:
    medians = [sorted(of)[len(of) // 2] for of in rounds.values()]
    return Curve(list(rounds), medians, [min(of) for of in rounds.values()], [max(of) for of in rounds.values()])


def cores(files: Material, cpus: Sequence[int], options: argparse.Namespace) -> Chart:
    contests: dict[float, Contest] = {}
    for number in range(1, len(cpus) + 1):
        use_cpus(",".join(map(str, cpus[:number])))
        contests[number] = speeds(f"{number} CPUs", files, number, options)
    about = (
        "Random crops of 224, antialiased, flips, in batches of uint8; each contestant with as many threads as CPUs."
    )
    picture = curves(by_name(contests), "CPUs", IMAGES_PER_SECOND)
    return Chart("Images a second against cores", f"{about} {files.about}.", picture, list(contests.values()))


def sizes(data: Path, directory: Path, threads: int, options: argparse.Namespace) -> Chart:
    contests: dict[float, Contest] = {}
    for height in HEIGHTS:
        folder = directory / str(height)
        kilobytes = resized(data, folder, height) / 1000
        files = material(folder, directory / f"{height}-packed", options.epoch)
        contests[kilobytes] = speeds(f"{height} pixels high", files, threads, options)
    about = f"The photos, {', '.join(map(str, HEIGHTS))} pixels high, JPEG of quality {QUALITY}; {threads} CPUs."
    picture = curves(by_name(contests), "kB a photo", IMAGES_PER_SECOND, logarithmic=True)
    return Chart("Images a second against photo size", about, picture, list(contests.values()))


def resized(data: Path, folder: Path, height: int) -> float:
    """Photos of `data` so high, in `folder`; gives their mean size in bytes."""
    folder.mkdir()
    written = []
    for number, photo in enumerate(jpegs(data)[:PHOTOS]):
        pixels = cv2.imread(str(photo))
        if pixels is None:
            raise OSError(f"OpenCV can't read {photo}")
        width = max(round(pixels.shape[1] * height / pixels.shape[0]), 1)
        _, encoded = cv2.imencode(
            ".jpg",
            cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA),
            [cv2.IMWRITE_JPEG_QUALITY, QUALITY],
        )
        target = folder / photo.parent.name / f"{number}.jpg"
        target.parent.mkdir(exist_ok=True)
        written.append(target.write_bytes(encoded.tobytes()))
    return sum(written) / len(written)


def loss(files: Material, options: argparse.Namespace) -> Chart:
    asked = argparse.Namespace(plain=False, batch_size=options.batch_size, steps=options.steps, warmup=8, only=None)
    contest = compete("a training step", step.entries(files, asked), [step.MEAN, step.MEDIAN], options.rounds)
    ratios = {row.name: row.ratios[step.MEAN].median for row in contest.rows}
    about = (
        f"{step.OPERATIONS} small operations of torch, beside a loader of one thread or worker at full speed: "
        "the mean step's time, as a multiple of the step's alone."
    )
    return Chart("What a training step loses", about, bars(ratios, "times the step alone"), [contest])


def requests() -> Chart:
    asked = mixing.Material(samples=1_280_000, classes=1000, batch=1024, bytes=100_000, seed=0)
    of = {mixed.name: float(mixed.requests) for mixed in mixing.all_mixed(asked)}
    about = f"Ranges asked of an object store in an epoch of {asked.samples:,} samples, by arithmetic (mixing.py)."
    return Chart("Requests against shuffle", about, bars(of, "requests an epoch", logarithmic=True))


def html(charts: Sequence[Chart], machine: str) -> str:
    parts = [
        f"<section><h2>{escape(chart.title)}</h2><p>{escape(chart.about)}</p>{chart.picture}"
        + "".join(f"<p>{escape(note)}</p>" for contest in chart.contests for note in contest.notes)
        + "</section>"
        for chart in charts
    ]
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>fastdata, measured</title>
<style>body {{ font: 16px/1.5 sans-serif; max-width: 46rem; margin: 2rem auto; padding: 0 1rem }}
svg {{ max-width: 100%; height: auto; background: #fff }}</style></head>
<body><h1>fastdata, measured</h1><p>{escape(machine)}. Lines are medians, bands the rounds' extremes.</p>
{"".join(parts)}</body></html>
"""


def main() -> None:
    options = arguments()
    threads = use_cpus(options.cpus)
    cpus = sorted(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        files = material(options.data, root / "photos", options.epoch)
        charts = [
            cores(files, cpus, options),
            sizes(Path(files.folder), root, threads, options),
            loss(files, options),
            requests(),
        ]
    store([contest for chart in charts for contest in chart.contests], vars(options), "page", options.out)
    (options.out / "index.html").write_text(html(charts, f"{cpu_name()}, {threads} CPUs, {options.rounds} rounds"))
    print(options.out / "index.html")


if __name__ == "__main__":
    main()
