"""Takes the network away from a child process where the kernel allows it: only its own loopback is left.

Root may make a network namespace; anybody else needs a user namespace around it, which some distributions and most
containers forbid. Training with several processes talks over loopback, so that is switched on in the new namespace.
See unshare(2), user_namespaces(7), netdevice(7).
"""

import contextlib
import ctypes
import fcntl
import functools
import logging
import os
import socket
import struct
import subprocess
from pathlib import Path

LOG = logging.getLogger(__name__)

CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000
"""Flags of unshare(2), from linux/sched.h."""

SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 0x1
"""Requests and flag of netdevice(7), from linux/sockios.h and linux/if.h."""

_LIBC = ctypes.CDLL(None, use_errno=True)


def isolate_network() -> None:
    """Leave the calling process (the child, before it executes) without a network; OSError where that is forbidden."""
    uid, gid = os.getuid(), os.getgid()
    try:
        _unshare(CLONE_NEWNET)
    except PermissionError:
        _unshare(CLONE_NEWUSER | CLONE_NEWNET)
        # the same identity inside as outside; a process may map no other without privileges
        with contextlib.suppress(FileNotFoundError):
            Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1")
        Path("/proc/self/gid_map").write_text(f"{gid} {gid} 1")
    _switch_on_loopback()


@functools.cache
def can_isolate() -> bool:
    """Whether children can be isolated here; tried once with a child that does nothing. Says so in the log if not."""
    try:
        subprocess.run(["/bin/sh", "-c", ":"], preexec_fn=isolate_network, check=True)
    except (OSError, subprocess.SubprocessError) as err:
        LOG.warning(
            "steps and inspections keep their network: this kernel or container allows no network namespace (%s)", err
        )
        return False
    return True


def _unshare(flags: int) -> None:
    if _LIBC.unshare(flags) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _switch_on_loopback() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        request = struct.pack("16sh14x", b"lo", 0)
        answer = fcntl.ioctl(control.fileno(), SIOCGIFFLAGS, request)
        flags = struct.unpack("16sh14x", answer)[1] | IFF_UP
        fcntl.ioctl(control.fileno(), SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", flags))
