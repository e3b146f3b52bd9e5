"""Detection: COCO's boxes (`fd.Coco`) follow the crop and flip of their image; `view.to_source` maps found ones back.
Writes COCO's results: python tools/recipes/detection.py --data train2017 --annotations instances.json --device cuda"""

import argparse
import json
from pathlib import Path

import torch
from torch import Tensor, nn

import fastdata as fd


def decoded(logits: Tensor) -> Tensor:
    y, x = torch.meshgrid(*(torch.arange(side, device=logits.device) for side in logits.shape[2:]), indexing="ij")
    return (logits[:, :4].movedim(1, -1) + torch.stack([x, y, x, y], dim=-1) + 0.5) * 8  # a box for each cell of 8 x 8


def centernet_loss(logits: Tensor, targets: list[dict[str, Tensor]]) -> Tensor:
    """Zhou et al., arXiv 1904.07850, in small: the cell of a box's centre is to say it, and to be hot in its class."""
    hot, errors = torch.zeros_like(logits[:, 4:]), logits.new_zeros(())
    for row, (boxes, true) in enumerate(zip(decoded(logits), targets, strict=True)):
        x, y = ((true["boxes"][:, :2] + true["boxes"][:, 2:]) / 2 / 8).long().unbind(dim=1)
        hot[row, true["labels"], y, x] = 1
        errors = errors + (boxes[y, x] - true["boxes"]).abs().sum() / 80
    focal = nn.BCEWithLogitsLoss((hot - logits[:, 4:].detach().sigmoid()).square(), reduction="sum")
    loss: Tensor = (focal(logits[:, 4:], hot) + errors) / len(targets)
    return loss


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    files = [("--data", "train2017"), ("--annotations", "instances.json"), ("--out", "results.json")]
    for option, default in (*files, ("--device", "cpu"), ("--epochs", 50), ("--batch-size", 16), ("--size", 512)):
        parser.add_argument(option, type=type(default), default=default)
    args = parser.parse_args(argv)
    coco, crop = fd.Coco(args.annotations, min_visibility=0.3), fd.RandomResizedCrop(args.size, (0.3, 1.0))
    train = fd.ImageDirectoryDataset(args.data, None, [crop, fd.RandomHorizontalFlip()], None, fields=coco)
    test = fd.ImageDirectoryDataset(args.data, None, [fd.Resize((args.size, args.size))], None, fields=coco)
    loader = fd.Loader(train, args.batch_size, shuffle=True, device=args.device)
    layers = [fd.Normalize.imagenet(), nn.Conv2d(3, 64, 16, 8, 4), nn.ReLU(), nn.Conv2d(64, 4 + len(coco.classes), 1)]
    model = nn.Sequential(*layers).to(args.device)
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2)
    for epoch in range(args.epochs):
        for images, targets in loader:
            loss = centernet_loss(model(images), targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        print(f"epoch {epoch}: loss {loss.item():.4f}", flush=True)
    found = []
    for batch in fd.Loader(test, args.batch_size, device=args.device):
        logits, views = model(batch.images).detach(), batch.views
        boxes, heat = decoded(logits), logits[:, 4:].sigmoid()
        peaks = (heat > 0.3) & (heat == nn.functional.max_pool2d(heat, 3, stride=1, padding=1))
        for n, label, y, x in peaks.nonzero().tolist():
            left, top, right, bottom = views[n].to_source(boxes[n, y, x]).tolist()
            what = {"image_id": batch.targets[n]["image_id"], "category_id": coco.category_ids[label]}
            found.append(what | {"bbox": [left, top, right - left, bottom - top], "score": heat[n, label, y, x].item()})
    Path(args.out).write_text(json.dumps(found))


if __name__ == "__main__":
    main()
