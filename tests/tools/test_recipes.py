"""tools/recipes in this process, and where it matters on two ranks, each on made images that are learned in seconds."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

import fastdata as fd
from fastdata.sources.tars.writer import ShardWriter
from recipes import balanced, clip, detection, dino, embeddings, segmentation, simclr, timm_a2
from support.forks import OPTIMIZERS, Run, on_ranks, prepared
from support.pictures import encoded, photo

RECIPES = Path(simclr.__file__).parent
COLOURS = {"blue": (40, 60, 200), "green": (40, 180, 60), "red": (200, 50, 40)}


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """So small networks are only held up by more."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def coloured(number: int, colour: tuple[int, int, int], width: int = 40, height: int = 36) -> Any:
    """A photo tinted with a colour: uint8, shape (height, width, 3)."""
    pixels: Any = (photo(width, height, number) // 3 + np.array(colour) * 2 // 3).astype(np.uint8)
    return pixels


@pytest.fixture(scope="module")
def classes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """48 images in three class folders of a colour each."""
    root = tmp_path_factory.mktemp("classes")
    for number in range(48):
        name = list(COLOURS)[number % 3]
        (root / name).mkdir(exist_ok=True)
        (root / name / f"{number:02}.jpg").write_bytes(encoded(coloured(number, COLOURS[name])))
    return root


def losses(printed: str) -> list[float]:
    """Those of the epochs, each the mean over the ranks that tell one, whose lines may run into each other."""
    of_epochs: dict[int, list[float]] = {}
    for epoch, loss in re.findall(r"epoch (\d+): loss (\d+\.\d{4})", printed):
        of_epochs.setdefault(int(epoch), []).append(float(loss))
    return [float(np.mean(of_epochs[epoch])) for epoch in range(len(of_epochs))]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    with prepared(tmp_path_factory.mktemp("ranks"), OPTIMIZERS, silent=False, OMP_NUM_THREADS="1") as run:
        yield run


def test_each_is_short_and_says_what_it_shows() -> None:
    recipes = sorted(RECIPES.glob("*.py"))
    assert len(recipes) == 8
    for recipe in recipes:
        lines = [line for line in recipe.read_text().splitlines() if line]
        assert len(lines) < 60, recipe
        assert lines[0].startswith('"""')
        assert f"tools/recipes/{recipe.name} --data" in lines[1]


# --- several views


def both_views(folder: Path, transform: fd.Views, name: str) -> dict[str, torch.Tensor]:
    """The views of a group, by key."""
    dataset = fd.ImageDirectoryDataset(folder, labels=None, transform=transform)
    found: dict[str, torch.Tensor] = {}
    for batch in fd.Loader(dataset, 16, shuffle=True):
        images, _ = batch
        found |= dict(zip(batch.keys, images[name], strict=True))
    return found


def test_two_views_of_an_image_differ_and_come_again_in_another_run(classes: Path) -> None:
    first, again = (both_views(classes, simclr.two_views(24), "views") for _ in range(2))
    assert len(first) == 48
    assert all(torch.equal(views, again[key]) for key, views in first.items())
    assert not any(torch.equal(*views) for views in first.values())


def test_simclr_learns(classes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    simclr.main(["--data", str(classes), "--batch-size", "16", "--size", "24", "--epochs", "12"])
    of_epochs = losses(capsys.readouterr().out)
    assert np.mean(of_epochs[-3:]) < np.mean(of_epochs[:3]) - 0.1


def test_each_view_is_told_from_all_others_but_itself() -> None:
    embedded = torch.randn(8, 5, generator=torch.Generator().manual_seed(0))
    unit = embedded / embedded.norm(dim=1, keepdim=True)
    expected = []
    for i in range(8):
        exponents = {j: float(torch.exp(unit[i] @ unit[j] / 0.5)) for j in range(8) if j != i}
        expected.append(-np.log(exponents[i ^ 1] / sum(exponents.values())))
    assert simclr.nt_xent(embedded).item() == pytest.approx(np.mean(expected), rel=1e-5)


def test_dinos_student_learns_of_every_other_view(classes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    generator = torch.Generator().manual_seed(0)
    said, taught = torch.randn(8, 3, 5, generator=generator), torch.randn(2, 3, 5, generator=generator)
    centre = torch.full((5,), 0.5).scatter(0, torch.tensor(2), 1.0)
    wanted, logs = ((taught - centre) / 0.04).softmax(-1), (said / 0.1).log_softmax(-1)
    pairs = [-(wanted[t, n] @ logs[s, n]) for t in range(2) for s in range(8) if s != t for n in range(3)]
    assert dino.dino_loss(said, taught, centre).item() == pytest.approx(torch.stack(pairs).mean().item(), rel=1e-5)
    small = "--size 32 --local-size 16 --batch-size 16 --epochs 2"
    dino.main(["--data", str(classes), *small.split()])
    assert np.isfinite(losses(capsys.readouterr().out)).all()


def test_dinos_crops_differ(classes: Path) -> None:
    for views in both_views(classes, dino.multi_crop(32, 16), "local").values():
        assert views.shape == (6, 3, 16, 16)
        assert len({view.numpy().tobytes() for view in views}) == 6


# --- captions


@pytest.fixture(scope="module")
def captions(tmp_path_factory: pytest.TempPathFactory) -> str:
    """24 images of six colours with captions, in two shards."""
    root = tmp_path_factory.mktemp("captions")
    names = {**COLOURS, "white": (250, 250, 250), "yellow": (230, 220, 40), "black": (5, 5, 5)}
    for part in range(2):
        with ShardWriter(root / f"{part}.tar") as shard:
            for number in range(12 * part, 12 * part + 12):
                name = list(names)[number % 6]
                jpg = encoded(coloured(number, names[name]))
                shard.write(f"{number:02}", {"jpg": jpg, "txt": f"{number % 6} a {name} picture".encode()})
    return str(root / "*.tar")


def test_clip_finds_images_by_their_captions(captions: str, capsys: pytest.CaptureFixture[str]) -> None:
    net = clip.main(["--data", captions, "--batch-size", "12", "--size", "24", "--epochs", "60"])
    of_epochs = losses(capsys.readouterr().out)
    assert of_epochs[-1] < of_epochs[0]
    (batch,) = fd.Loader(
        fd.TarImageDataset(captions, [fd.Resize((24, 24))], target="txt"), 24, normalize=fd.Normalize.imagenet()
    )
    with torch.no_grad():
        image, text = net(batch.images, clip.tokens(batch.targets))
    found = (image @ text[:6].T).argmax(dim=1)
    assert (found == torch.arange(24) % 6).float().mean() > 0.9


@pytest.mark.parametrize("recipe", [simclr, dino, clip], ids=lambda recipe: recipe.__name__.split(".")[-1])
def test_two_ranks_train_as_one_of_their_batches_together(
    run: Run, recipe: ModuleType, classes: Path, captions: str, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = f"--data {captions if recipe is clip else classes} --size 24 --epochs 3".split()
    arguments += ["--local-size", "16"] if recipe is dino else []
    recipe.main([*arguments, "--batch-size", "24"])
    alone = losses(capsys.readouterr().out)
    assert len(alone) == 3
    of_two = losses(on_ranks(run, 2, recipe.__file__, *arguments, "--batch-size", 12))
    np.testing.assert_allclose(of_two, alone, atol=3e-3)


# --- fields that follow the view


@pytest.fixture(scope="module")
def rectangles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Grey images with a red rectangle each, masks of it, and COCO's json of it, whose category has the id 7."""
    root, rng = tmp_path_factory.mktemp("rectangles"), np.random.default_rng(0)
    coco: dict[str, Any] = {"images": [], "annotations": [], "categories": [{"id": 7, "name": "red"}]}
    (root / "images").mkdir()
    (root / "masks").mkdir()
    for number in range(24):
        pixels, mask = photo(128, 112, number) // 3, np.zeros((112, 128), np.uint8)
        left, top, width, height = (int(rng.integers(*span)) for span in ((4, 72), (4, 60), (32, 52), (32, 48)))
        where = slice(top, top + height), slice(left, left + width)
        pixels[where], mask[where] = (230, 40, 30), 1
        mask[:1] = 255
        (root / "images" / f"{number}.jpg").write_bytes(encoded(pixels, quality=95))
        (root / "masks" / f"{number}.png").write_bytes(encoded(mask, "PNG", mode="L"))
        coco["images"].append({"id": 100 + number, "file_name": f"{number}.jpg"})
        box = {"image_id": 100 + number, "category_id": 7, "bbox": [left, top, width, height]}
        coco["annotations"].append(box)
    (root / "coco.json").write_text(json.dumps(coco))
    return root


def test_masks_lie_on_what_they_are_of(rectangles: Path) -> None:
    steps = [fd.RandomResizedCrop(32, (0.25, 1.0)), fd.RandomHorizontalFlip()]
    for images, masks in fd.Loader(segmentation.masked(str(rectangles), steps), 8, shuffle=True):
        red = (images[:, 0].int() - images[:, 1].int() > 60) & (masks != 255)
        assert ((masks == 1) == red).float().mean() > 0.95
        assert set(masks.unique().tolist()) <= {0, 1, 255}


def test_segmentation_learns(rectangles: Path, capsys: pytest.CaptureFixture[str]) -> None:
    segmentation.main(f"--data {rectangles} --classes 2 --batch-size 8 --size 32 --epochs 8".split())
    assert float(capsys.readouterr().out.splitlines()[-1].split("IoU ")[1]) > 0.8


def test_boxes_found_are_those_of_the_source(rectangles: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    files = f"--data {rectangles}/images --annotations {rectangles}/coco.json --out {tmp_path}/results.json"
    detection.main(f"{files} --batch-size 8 --size 64 --epochs 100".split())
    true = {a["image_id"]: a["bbox"] for a in json.loads((rectangles / "coco.json").read_text())["annotations"]}
    best: dict[int, Any] = {}
    for result in json.loads((tmp_path / "results.json").read_text()):
        assert result["category_id"] == 7
        if result["score"] > best.get(result["image_id"], result)["score"] or result["image_id"] not in best:
            best[result["image_id"]] = result
    errors = [np.abs(np.subtract(best[image]["bbox"], box)).max() for image, box in true.items() if image in best]
    assert len(errors) > 0.7 * len(true)
    assert np.median(errors) < 16  # of 128 pixels, which the model sees as 64


# --- a training recipe, extraction, and classes in balance


def test_a2_learns_from_images_that_are_mixed(classes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = f"--data {classes} --batch-size 16 --size 24 --epochs 12 --erasing 0.25".split()
    timm_a2.main(arguments)
    once = losses(capsys.readouterr().out)
    assert np.mean(once[-4:]) < np.mean(once[:2]) - 0.05
    timm_a2.main([*arguments[:6], "--epochs", "2", "--erasing", "0.25"])
    again = losses(capsys.readouterr().out)
    assert again[0] == once[0]  # its random numbers are those of seed, epoch and key, or of the batch


def test_what_is_mixed_has_targets_in_proportion_to_its_pixels() -> None:
    images = torch.arange(4.0)[:, None, None, None].expand(4, 3, 8, 8)
    seen = set()
    for _ in range(40):
        mixed, targets = timm_a2.mix(4, images.clone(), torch.arange(4))
        torch.testing.assert_close(mixed.mean((1, 2, 3)), targets @ torch.arange(4.0))
        torch.testing.assert_close(targets.sum(dim=1), torch.ones(4))
        seen.add(float(mixed[0].std()) > 0)
    assert seen == {True, False}  # CutMix, and Mixup


def extracted(out: Path) -> dict[str, Any]:
    """What was written, by key; fails where a key was written twice."""
    found: dict[str, Any] = {}
    for path in sorted(out.glob("*.npz")):
        with np.load(path) as part:
            assert not found.keys() & set(part["keys"].tolist())
            assert len(set(part["keys"].tolist())) == len(part["keys"]) == len(part["embeddings"])
            found |= dict(zip(part["keys"].tolist(), part["embeddings"], strict=True))
    return found


def test_embeddings_are_of_each_sample_once_on_any_number_of_ranks(run: Run, classes: Path, tmp_path: Path) -> None:
    arguments = ["--data", classes, "--batch-size", 7, "--size", 24, "--out"]
    embeddings.main([*map(str, arguments), str(tmp_path / "one")])
    on_ranks(run, 2, embeddings.__file__, *arguments, tmp_path / "two")
    one, two = extracted(tmp_path / "one"), extracted(tmp_path / "two")
    assert len(list((tmp_path / "two").iterdir())) == 2
    dataset = fd.ImageDirectoryDataset(classes)
    assert sorted(one) == sorted(two) == sorted(dataset.key(number) for number in range(48))
    for key, embedding in one.items():
        np.testing.assert_allclose(two[key], embedding, atol=1e-5)


def test_classes_are_drawn_in_balance_and_learned(classes: Path, tmp_path: Path, capsys: Any) -> None:
    rows, taken = ["file,label,split"], {"blue": 3, "green": 13, "red": 6}
    for name, count in taken.items():
        for place, path in enumerate(sorted((classes / name).iterdir())):
            if place < count or place >= 13:
                rows.append(f"{name}/{path.name},{name},{'train' if place < count else 'val'}")
    (tmp_path / "labels.csv").write_text("\n".join(rows))
    options = f"--data {classes} --labels {tmp_path}/labels.csv --batch-size 6 --size 24 --epochs 8"
    balanced.main(options.split())
    printed = capsys.readouterr().out.splitlines()
    drawn = np.array([json.loads(line.split("of each class ")[1].split(", recalls")[0]) for line in printed])
    assert drawn.sum(axis=1).tolist() == [22] * 8
    assert drawn.min() >= 7
    assert np.mean(json.loads(printed[-1].split("recalls ")[1])) > 0.9
