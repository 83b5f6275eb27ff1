"""System calls that a sandbox does without, as a program for the kernel's seccomp filter.

Namespaces and limits leave some doors: memory that belongs to no process (memfd, System V shared
memory and queues), sockets that no network namespace holds (vsock reaches the host of a virtual
machine), reading and writing other processes, kernel keyrings, and large young interfaces in which
most holes of sandboxes were found (io_uring, bpf, userfaultfd). Nothing that tests do needs them.
What is refused gives EPERM, and ENOSYS where a caller then takes another way.

Format: struct sock_filter of linux/filter.h over struct seccomp_data (nr, arch, ip, args).
"""

from __future__ import annotations

import errno
import platform
import struct
from typing import Final

_LOAD, _JUMP_EQUAL, _JUMP_AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_NR, _ARCH, _FIRST_ARGUMENT = 0, 4, 16
_ALLOW, _ERRNO, _KILL_PROCESS = 0x7FFF0000, 0x00050000, 0x80000000
_X32 = 0x40000000  # the second table of x86-64, by which numbers could be gone around
_FAMILIES: Final = (1, 2, 10, 16)  # unix, inet, inet6, netlink

# by machine: the audit architecture, then numbers of (x86-64, arm64) in the same order
_MACHINES: Final = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1)}
_SOCKET: Final = (41, 198)
_MISSING: Final = {
    "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "userfaultfd": (323, 282),
}
_REFUSED: Final = {
    "shmget": (29, 194),
    "msgget": (68, 186),
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "unshare": (272, 97),
    "setns": (308, 268),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "mount_setattr": (442, 442),
}


def seccomp_filter(machine: str | None = None) -> bytes | None:
    """The filter for a machine as `uname -m` names it (None: this); None for one unknown here."""
    known = _MACHINES.get(machine or platform.machine())
    if known is None:
        return None
    arch, column = known
    program = [
        _load(_ARCH),
        _jump(_JUMP_EQUAL, arch, 1, 0),
        _return(_KILL_PROCESS),
        _load(_NR),
    ]
    if column == 0:
        program += [_jump(_JUMP_AT_LEAST, _X32, 0, 1), _return(_ERRNO | errno.ENOSYS)]
    for numbers, refusal in ((_MISSING, errno.ENOSYS), (_REFUSED, errno.EPERM)):
        for number in numbers.values():
            program += [
                _jump(_JUMP_EQUAL, number[column], 0, 1),
                _return(_ERRNO | refusal),
            ]
    program += [_jump(_JUMP_EQUAL, _SOCKET[column], 1, 0), _return(_ALLOW), _load(_FIRST_ARGUMENT)]
    for family in _FAMILIES:
        program += [_jump(_JUMP_EQUAL, family, 0, 1), _return(_ALLOW)]
    program += [_return(_ERRNO | errno.EAFNOSUPPORT)]
    return b"".join(program)


def _load(offset: int) -> bytes:
    return struct.pack("<HBBI", _LOAD, 0, 0, offset)


def _jump(kind: int, value: int, if_true: int, if_false: int) -> bytes:
    return struct.pack("<HBBI", kind, if_true, if_false, value)


def _return(value: int) -> bytes:
    return struct.pack("<HBBI", _RETURN, 0, 0, value)
