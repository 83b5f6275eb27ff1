"""The seccomp program, run by an interpreter of classic BPF that is written here."""

from __future__ import annotations

import errno
import struct

import pytest

from codeflow.sandbox.syscalls import seccomp_filter

X86, ARM = 0xC000003E, 0xC00000B7
ALLOWED, KILLED = 0x7FFF0000, 0x80000000
NAMES = {  # from the kernel's tables
    "x86_64": (X86, {"read": 0, "clone": 56, "socket": 41, "ptrace": 101, "memfd_create": 319}),
    "aarch64": (ARM, {"read": 63, "clone": 220, "socket": 198, "ptrace": 117, "memfd_create": 279}),
}


def run(program: bytes, number: int, arch: int, first: int = 0) -> int:
    data = struct.pack("<IIQQ", number, arch, 0, first)
    at = accumulator = 0
    steps = list(struct.iter_unpack("<HBBI", program))
    while True:
        code, if_true, if_false, value = steps[at]
        at += 1
        if code == 0x20:
            [accumulator] = struct.unpack_from("<I", data, value)
        elif code == 0x15:
            at += if_true if accumulator == value else if_false
        elif code == 0x35:
            at += if_true if accumulator >= value else if_false
        else:
            assert code == 0x06
            return value


def refused(error: int) -> int:
    return 0x00050000 | error


@pytest.mark.parametrize("machine", NAMES)
def test_the_filter_of_a_machine(machine: str) -> None:
    arch, numbers = NAMES[machine]
    program = seccomp_filter(machine)
    assert program is not None
    for name in ("read", "clone"):
        assert run(program, numbers[name], arch) == ALLOWED
    assert run(program, numbers["ptrace"], arch) == refused(errno.EPERM)
    assert run(program, numbers["memfd_create"], arch) == refused(errno.ENOSYS)
    for family, answer in ((1, ALLOWED), (2, ALLOWED), (10, ALLOWED), (16, ALLOWED)):
        assert run(program, numbers["socket"], arch, family) == answer
    for family in (0, 3, 17, 38, 40):  # packets, the kernel's ciphers, vsock
        assert run(program, numbers["socket"], arch, family) == refused(errno.EAFNOSUPPORT)


def test_numbers_of_another_architecture_end_the_process() -> None:
    program = seccomp_filter("x86_64")
    assert program is not None
    assert run(program, 0, 0x40000003) == KILLED  # 32 bits
    assert run(program, 0x40000000, X86) == refused(errno.ENOSYS)  # x32


def test_an_unknown_machine_has_none() -> None:
    assert seccomp_filter("riscv64") is None
