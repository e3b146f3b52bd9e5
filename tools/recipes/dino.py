"""DINO (Caron et al., arXiv 2104.14294): two wide and six near crops of each image, by one decode, `fd.Views`.
The student learns what its average says of wide ones: torchrun --nproc-per-node 8 tools/recipes/dino.py --data …"""

import argparse

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

import fastdata as fd


def multi_crop(size: int, local: int) -> fd.Views:
    jitter, blur = fd.ColorJitter(0.4, 0.4, 0.2, 0.1), fd.RandomApply([fd.GaussianBlur(9)], p=0.5)
    wide, near = fd.RandomResizedCrop(size, (0.4, 1.0)), fd.RandomResizedCrop(local, (0.05, 0.4))
    both = [fd.RandomHorizontalFlip(), fd.RandomApply([jitter], p=0.8), fd.RandomGrayscale(0.2), blur]
    return fd.Views(global_=(2, [wide, *both, fd.RandomSolarize(128, p=0.1)]), local=(6, [near, *both]))


def dino_loss(said: Tensor, taught: Tensor, centre: Tensor) -> Tensor:
    """Cross entropies of the student's 8 x N views with what the teacher says of the other ones of its 2 x N."""
    wanted = ((taught - centre) / 0.04).softmax(dim=-1)
    entropies = torch.einsum("tnk,snk->ts", wanted, -(said / 0.1).log_softmax(dim=-1)) / said.shape[1]
    return entropies[~torch.eye(*entropies.shape, dtype=torch.bool)].mean()


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True, help="folder of images, at any depth")
    for option, default in (("--epochs", 100), ("--batch-size", 64), ("--size", 224), ("--local-size", 96)):
        parser.add_argument(option, type=int, default=default)
    args = parser.parse_args(argv)
    if dist.is_torchelastic_launched():
        dist.init_process_group()
    photos = fd.ImageDirectoryDataset(args.data, labels=None, transform=multi_crop(args.size, args.local_size))
    device, normalize = "cuda" if torch.cuda.is_available() else "cpu", fd.Normalize.imagenet()
    loader = fd.Loader(photos, args.batch_size, shuffle=True, last="drop", device=device, normalize=normalize)
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 64, 7, 4), nn.GELU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 256))
    teacher = AveragedModel(net.to(loader.device), multi_avg_fn=get_ema_multi_avg_fn(0.996))
    student = nn.parallel.DistributedDataParallel(net) if dist.is_initialized() else net
    optimizer, centre = torch.optim.AdamW(student.parameters(), 1e-3), torch.zeros(256, device=loader.device)
    for epoch in range(args.epochs):
        for images, _ in loader:
            wide, near = (images[name].transpose(0, 1).flatten(0, 1) for name in ("global", "local"))  # views first
            said, taught = torch.cat([student(wide), student(near)]), teacher(wide).detach().unflatten(0, (2, -1))
            loss = dino_loss(said.unflatten(0, (8, -1)), taught, centre)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            teacher.update_parameters(net)
            dist.all_reduce(taught.div_(dist.get_world_size())) if dist.is_initialized() else None
            centre.lerp_(taught.mean((0, 1)), 0.1)
        print(f"epoch {epoch}: loss {loss.item():.4f}", flush=True)
    if dist.is_initialized():
        dist.barrier()  # gloo's thread may still hold the last all_reduce's tensors
        del student  # before the group: gloo's thread may wait for the lock under which DDP would end it
        dist.destroy_process_group()


if __name__ == "__main__":
    main()
