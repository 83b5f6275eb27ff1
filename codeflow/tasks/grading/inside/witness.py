"""Sees whether what runs tests was changed by what is tested.

A solution lives in one interpreter with its tests and may reach anything there. What it would have
to change to be told passed for what fails, is looked at before it is imported and after each test:
the functions of the test runner, the builtins, the tests themselves, the interpreter's hooks.
"""

from __future__ import annotations

import builtins
import sys
import types

_RUNNERS = ("_pytest", "pluggy", "unittest", "pytest", "__main__", "witness", "report")
_HONEST = {"unittest.mock", "_pytest.assertion.util"}  # state that they change themselves


class Witness:
    """What there was when it was made."""

    def __init__(self):
        self._functions = dict(_functions())
        # pytest's own plug-in for paths of old puts its functions in place when it is loaded
        known = (function for function, _ in self._functions.values())
        self._old_ways = {id(f): f for f in known if f.__module__ == "_pytest.legacypath"}
        self._builtins = {name: id(value) for name, value in vars(builtins).items()}
        self._tests = {}
        self._hooks = (sys.gettrace(), sys.getprofile())

    def remember(self, name, function):
        """A test as it was collected."""
        code = getattr(function, "__code__", None)
        if code is not None:
            self._tests[name] = (function, code)

    def changed(self):
        """The first thing that is no longer what it was; None when all is."""
        if (sys.gettrace(), sys.getprofile()) != self._hooks:
            return "a trace function"
        for name, number in self._builtins.items():
            if name != "_" and id(getattr(builtins, name, None)) != number:
                return f"builtins.{name}"
        for (owner, name), (function, code) in self._functions.items():
            now = _plain(vars(owner).get(name))
            if self._old_ways.get(id(now)) is now is not None:
                continue
            if now is not function or function.__code__ is not code:
                return f"{getattr(owner, '__name__', owner)}.{name}"
        for name, (function, code) in self._tests.items():
            if function.__code__ is not code:
                return f"the test {name}"
        return None


def _plain(value):
    """The function in a method of a class."""
    if isinstance(value, (staticmethod, classmethod)):
        value = value.__func__
    if isinstance(value, property):
        value = value.fget
    return value


def _functions():
    for module_name, module in list(sys.modules.items()):
        if module_name.partition(".")[0] not in _RUNNERS or module_name in _HONEST:
            continue
        if not isinstance(module, types.ModuleType):
            continue
        owners = [module]
        for value in vars(module).values():
            if isinstance(value, type) and value.__module__ == module_name:
                owners.append(value)
        for owner in owners:
            for name, value in list(vars(owner).items()):
                plain = _plain(value)
                if isinstance(plain, types.FunctionType):
                    yield (owner, name), (plain, plain.__code__)
