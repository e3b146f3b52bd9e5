"""Ports for the servers of tests, wherever the system's own begin."""

import socket
from contextlib import ExitStack

import pytest

from support.servers import LOWEST_PORT, free_ports


@pytest.mark.parametrize("system", [1024, LOWEST_PORT, LOWEST_PORT + 2, LOWEST_PORT + 1000])
def test_free_ports_are_several_and_free(system: int) -> None:
    ports = free_ports(5, system)
    assert len(set(ports)) == 5
    with ExitStack() as opened:
        for port in ports:
            opened.enter_context(socket.create_server(("127.0.0.1", port)))


def test_ports_that_a_server_has_are_left_to_it() -> None:
    system = LOWEST_PORT + 1000
    (taken,) = free_ports(1, system)
    with socket.create_server(("127.0.0.1", taken)):
        ports = free_ports(5, system)
    assert taken not in ports
    assert all(LOWEST_PORT <= port < system for port in ports)
