"""CLIP (Radford et al., arXiv 2103.00020): images and their captions from tar shards, by `target="txt"`.
Each image chooses among all ranks' captions: torchrun --nproc-per-node 8 tools/recipes/clip.py --data 'shards/*.tar'"""

import argparse

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributed.nn.functional import all_gather

import fastdata as fd


def tokens(captions: list[str], length: int = 64) -> Tensor:
    """Bytes as tokens from 1 on, 0 as padding: (N, length). Put your tokenizer here."""
    rows = [[byte + 1 for byte in caption.encode()[:length]] for caption in captions]
    return torch.tensor([row + [0] * (length - len(row)) for row in rows])


class Clip(nn.Module):
    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.image = nn.Sequential(nn.Conv2d(3, width, 7, 4), nn.GELU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.text, self.head = nn.EmbeddingBag(257, width, padding_idx=0), nn.Linear(width, width)
        self.scale = nn.Parameter(torch.tensor(1 / 0.07).log())

    def forward(self, images: Tensor, captions: Tensor) -> tuple[Tensor, Tensor]:
        return F.normalize(self.head(self.image(images))), F.normalize(self.text(captions)) * self.scale.exp()


def contrastive(image: Tensor, text: Tensor) -> Tensor:
    """Each image is to find its caption among those of all ranks, and each caption its image."""
    images, texts = (torch.cat(all_gather(each)) if dist.is_initialized() else each for each in (image, text))
    mine = torch.arange(len(image), device=image.device) + len(image) * (dist.is_initialized() and dist.get_rank())
    return (F.cross_entropy(image @ texts.T, mine) + F.cross_entropy(text @ images.T, mine)) / 2


def main(argv: list[str] | None = None) -> Clip:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True, help="shards of .jpg and .txt: a path, glob or {000..331}")
    for option, default in (("--epochs", 30), ("--batch-size", 256), ("--size", 224)):
        parser.add_argument(option, type=int, default=default)
    args = parser.parse_args(argv)
    if dist.is_torchelastic_launched():
        dist.init_process_group()
    pairs = fd.TarImageDataset(args.data, [fd.RandomResizedCrop(args.size, (0.9, 1.0))], target="txt", shuffle=True)
    device, normalize = "cuda" if torch.cuda.is_available() else "cpu", fd.Normalize.imagenet()
    loader = fd.Loader(pairs, args.batch_size, last="drop", device=device, normalize=normalize)
    torch.manual_seed(0)
    net = Clip().to(loader.device)
    model = nn.parallel.DistributedDataParallel(net) if dist.is_initialized() else net
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
    for epoch in range(args.epochs):
        for images, captions in loader:
            loss = contrastive(*model(images, tokens(captions).to(images.device)))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        print(f"epoch {epoch}: loss {loss.item():.4f}", flush=True)
    if dist.is_initialized():
        del model  # before the group: gloo's thread may wait for the lock under which DDP would end it
        dist.destroy_process_group()
    return net


if __name__ == "__main__":
    main()
