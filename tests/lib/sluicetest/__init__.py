# SPDX-License-Identifier: Apache-2.0
"""What the end-to-end tests and the demo are made of: real MySQL servers, clients, a sampler, Sluice itself."""
from .wait import WaitExpired, wait_until
from .process import Processes, descendants
from .ports import free_port
from .server import Server, circular, mysql_version, reset_all
from .phase import PauseAt
from .clients import BinlogStream, IdlePool, IdleInTransaction, LongSelect, Reconnecting, Writer
from .sampler import Sampler
from .sluice import Result, Sluice
from .world import Verb, World
from .figures import note_figures

__all__ = [
    "BinlogStream", "IdlePool", "IdleInTransaction", "LongSelect", "PauseAt", "Processes", "Reconnecting", "Result",
    "Sampler", "Server", "Sluice", "Verb", "WaitExpired", "World", "Writer", "circular", "descendants", "free_port",
    "mysql_version", "note_figures", "reset_all", "wait_until",
]
