"""Embeddings of all images, each once whatever the number of ranks, and by `batch.keys` the sample that each is of.
Every rank writes a file of its own: torchrun --nproc-per-node 8 tools/recipes/embeddings.py --data 'shards/*.tar'"""

import argparse
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from torch import nn

import fastdata as fd


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True, help="folder of images, or shards: a path, glob or {000..331}")
    parser.add_argument("--out", type=Path, default=Path("embeddings"), help="folder of the .npz files")
    for option, default in (("--batch-size", 256), ("--size", 224)):
        parser.add_argument(option, type=int, default=default)
    args = parser.parse_args(argv)
    if dist.is_torchelastic_launched():
        dist.init_process_group()
    rank, ranks = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
    steps = [fd.Resize(round(args.size * 256 / 224)), fd.CenterCrop(args.size)]
    dataset: fd.ImageDirectoryDataset | fd.TarImageDataset
    if Path(args.data).is_dir():
        dataset = fd.ImageDirectoryDataset(args.data, labels=None, transform=steps)
    else:
        dataset = fd.TarImageDataset(args.data, steps, target=None)
    device, normalize = "cuda" if torch.cuda.is_available() else "cpu", fd.Normalize.imagenet()
    loader = fd.Loader(dataset, args.batch_size, device=device, normalize=normalize)  # last="partial": each once
    torch.manual_seed(0)  # in place of torch.load: put your backbone here
    backbone = nn.Sequential(nn.Conv2d(3, 64, 7, 4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    backbone = backbone.to(loader.device).eval()
    keys: list[str] = []
    embedded = [torch.empty(0, 64)]  # a rank may have none
    with torch.inference_mode():
        for batch in loader:
            keys += batch.keys
            embedded.append(backbone(batch.images).cpu())
    args.out.mkdir(parents=True, exist_ok=True)
    path = args.out / f"{rank:05}-of-{ranks:05}.npz"
    np.savez(path, keys=np.array(keys), embeddings=torch.cat(embedded).numpy())
    print(f"{path}: {len(keys)} of {dataset.num_samples} images", flush=True)
    if dist.is_initialized():
        dist.destroy_process_group()


if __name__ == "__main__":
    main()
