"""SimCLR: two views of each image, each with colours of its own, from one read and one decode, by `fd.Views`.
The views of all ranks are each other's negatives: torchrun --nproc-per-node 8 tools/recipes/simclr.py --data photos"""

import argparse

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributed.nn.functional import all_gather
from torch.nn.parallel import DistributedDataParallel

import fastdata as fd


def two_views(size: int) -> fd.Views:
    """The same random steps twice, as in appendix A of Chen et al., arXiv 2002.05709."""
    jitter, blur = fd.ColorJitter(0.8, 0.8, 0.8, 0.2), fd.GaussianBlur(size // 10 | 1, sigma=(0.1, 2.0))
    colour = [fd.RandomApply([jitter], p=0.8), fd.RandomGrayscale(0.2), fd.RandomApply([blur], p=0.5)]
    return fd.Views(views=(2, [fd.RandomResizedCrop(size), fd.RandomHorizontalFlip(), *colour]))


def nt_xent(embedded: Tensor, temperature: float = 0.5) -> Tensor:
    """Each of N x 2 views is to find the other one of its image, among those of all images on all ranks."""
    mine = F.normalize(embedded, dim=-1)
    views, rank = (torch.cat(all_gather(mine)), dist.get_rank()) if dist.is_initialized() else (mine, 0)
    me = torch.arange(len(mine), device=mine.device) + rank * len(mine)
    similar = (mine @ views.T / temperature).scatter(1, me[:, None], -torch.inf)  # none is to find itself
    return F.cross_entropy(similar, me ^ 1)  # image i has the rows 2 i and 2 i + 1


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True, help="folder of images, at any depth")
    for option, default in (("--epochs", 100), ("--batch-size", 256), ("--size", 224)):
        parser.add_argument(option, type=int, default=default)
    args = parser.parse_args(argv)
    if dist.is_torchelastic_launched():
        dist.init_process_group()
    photos = fd.ImageDirectoryDataset(args.data, labels=None, transform=two_views(args.size))
    device, normalize = "cuda" if torch.cuda.is_available() else "cpu", fd.Normalize.imagenet()
    loader = fd.Loader(photos, args.batch_size, shuffle=True, last="drop", device=device, normalize=normalize)
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 64, 7, 4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 64))
    net = net.to(loader.device)  # where Loader brings the batches: the GPU numbered LOCAL_RANK
    model = DistributedDataParallel(net) if dist.is_initialized() else net
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3)
    for epoch in range(args.epochs):
        for images, _ in loader:
            optimizer.zero_grad()
            loss = nt_xent(model(images["views"].flatten(0, 1)))  # (N, 2, 3, H, W) as 2 N images
            loss.backward()
            optimizer.step()
        print(f"epoch {epoch}: loss {loss.item():.4f}", flush=True)
    if dist.is_initialized():
        del model  # before the group: gloo's thread may wait for the lock under which DDP would end it
        dist.destroy_process_group()


if __name__ == "__main__":
    main()
