"""Seeded generators: the same numbers in the thread that trains and beside it, and nothing left of it afterwards."""

import random
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from fastdata.datasets.generators import seeded, seeded_beside

IMAGE = torch.arange(48.0).view(3, 4, 4)

DRAWS: dict[str, Callable[[], Any]] = {
    "random": random.random,
    "random.shuffle": lambda: random.sample(range(100), 20),
    "random.gauss": lambda: (random.gauss(0, 1), random.gauss(0, 1)),
    "numpy": lambda: np.random.rand(3).tolist(),
    "numpy.normal": lambda: np.random.normal(),
    "rand": lambda: torch.rand(3),
    "rand out": lambda: torch.rand(3, out=torch.empty(3)),
    "randn": lambda: torch.randn(20),
    "randint": lambda: torch.randint(1000, (5,)),
    "randint low": lambda: torch.randint(5, 1000, (5,)),
    "randperm": lambda: torch.randperm(50),
    "normal": lambda: torch.normal(IMAGE, 2.0),
    "normal size": lambda: torch.normal(1.0, 2.0, size=(3,)),
    "bernoulli": lambda: torch.bernoulli(IMAGE / 48),
    "bernoulli_": lambda: torch.empty(40).bernoulli_(0.3),
    "multinomial": lambda: torch.multinomial(IMAGE.flatten(), 5),
    "uniform_": lambda: torch.empty(3).uniform_(-1, 1),
    "normal_": lambda: torch.empty(3).normal_(),
    "random_": lambda: torch.empty((), dtype=torch.int64).random_(),
    "random_ to": lambda: torch.empty(9).random_(3, 100),
    "exponential_": lambda: torch.empty(3).exponential_(),
    "poisson": lambda: torch.poisson(IMAGE),
    "rand_like": lambda: torch.rand_like(IMAGE),
    "randn_like": lambda: torch.randn_like(IMAGE, dtype=torch.float64),
    "randint_like": lambda: torch.randint_like(IMAGE, 1000),
    "randint_like low": lambda: torch.randint_like(IMAGE, 500, 1000),
    "dropout": lambda: F.dropout(IMAGE, 0.5),
    "dropout1d": lambda: F.dropout1d(IMAGE.view(1, 48, 1), 0.5),
    "gumbel_softmax": lambda: F.gumbel_softmax(IMAGE),
    "Normal": lambda: torch.distributions.Normal(0.0, 1.0).sample(),  # type: ignore[no-untyped-call]
    "Beta": lambda: torch.distributions.Beta(0.4, 0.4).sample(),
    "trunc_normal_": lambda: torch.nn.init.trunc_normal_(torch.empty(9)),
}


def plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, Tensor) else value


def in_a_thread(do: Callable[[], Any]) -> Any:
    results: list[Any] = []
    thread = threading.Thread(target=lambda: results.append(do()))
    thread.start()
    thread.join()
    return results[0]


def beside(do: Callable[[], Any], seed: int) -> Any:
    def seeded_there() -> Any:
        with seeded_beside(seed):
            return plain(do()), plain(do())

    return in_a_thread(seeded_there)


def here(do: Callable[[], Any], seed: int) -> Any:
    with seeded(seed):
        return plain(do()), plain(do())


def states() -> list[Any]:
    """Of all global generators."""
    name, words, *rest = np.random.get_state()
    return [random.getstate(), name, np.asarray(words).tolist(), rest, torch.get_rng_state().tolist()]


@pytest.mark.parametrize("name", DRAWS)
def test_the_same_numbers_here_and_beside_and_no_trace_of_it(name: str) -> None:
    draw = DRAWS[name]
    before = states()
    first = here(draw, 2**63 + 5)
    assert beside(draw, 2**63 + 5) == first
    assert here(draw, 6) != first
    assert beside(draw, 6) != first
    assert first[0] != first[1]
    assert states() == before


def test_the_seed_is_pythons_numpys_and_torchs() -> None:
    with seeded(7):
        drawn = random.random(), np.random.rand(), torch.rand(3).tolist()
    assert drawn[0] == random.Random(7).random()
    assert drawn[1] == np.random.RandomState([7, 0, 1]).rand()
    assert drawn[2] == torch.rand(3, generator=torch.Generator().manual_seed(7)).tolist()


def test_an_operator_that_draws_and_can_not_be_seeded_is_an_error() -> None:
    with seeded_beside(1), pytest.raises(RuntimeError, match=r"native_dropout.*takes no generator.*DataLoader"):
        torch.native_dropout(IMAGE, 0.5, True)


def test_attention_without_dropout_draws_nothing() -> None:
    expected = F.scaled_dot_product_attention(IMAGE[None], IMAGE[None], IMAGE[None])
    with seeded_beside(1):
        assert torch.equal(F.scaled_dot_product_attention(IMAGE[None], IMAGE[None], IMAGE[None]), expected)


def test_a_generator_that_is_given_is_the_one_that_is_drawn_from() -> None:
    with seeded_beside(1):
        drawn = torch.rand(3, generator=torch.Generator().manual_seed(9))
    assert torch.equal(drawn, torch.rand(3, generator=torch.Generator().manual_seed(9)))


def test_the_thread_that_trains_draws_its_own_numbers_meanwhile() -> None:
    entered, leave = threading.Event(), threading.Event()

    def draw_and_wait() -> None:
        with seeded_beside(1):
            torch.rand(100)
            entered.set()
            leave.wait()

    thread = threading.Thread(target=draw_and_wait)
    torch.manual_seed(3)
    thread.start()
    entered.wait()
    drawn = torch.rand(3)
    leave.set()
    thread.join()
    assert torch.equal(drawn, torch.rand(3, generator=torch.Generator().manual_seed(3)))


@pytest.mark.parametrize("how", [seeded, seeded_beside])
def test_all_is_put_back_where_it_raises(how: Any) -> None:
    def draw_and_fail() -> None:
        with how(1):
            raise KeyError(random.random() + np.random.rand() + torch.rand(1).item())

    before = states()
    with pytest.raises(KeyError):
        draw_and_fail()
    assert states() == before
    assert torch._C._len_torch_dispatch_stack() == 0


def test_one_within_another_goes_on_after_it() -> None:
    with seeded(1):
        expected = [random.random(), random.random()]
    with seeded_beside(1):
        first = random.random()
        with seeded(2):
            random.random()
        assert [first, random.random()] == expected


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_devices_generator_is_seeded_and_put_back() -> None:
    device = torch.device("cuda", 0)
    torch.cuda.manual_seed(5)
    expected = torch.rand(3, device=device)
    torch.cuda.manual_seed(5)
    with seeded(7, device):
        drawn = torch.rand(3, device=device)
    assert torch.equal(torch.rand(3, device=device), expected)
    assert torch.equal(drawn, torch.rand(3, device=device, generator=torch.Generator(device).manual_seed(7)))
