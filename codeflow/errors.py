"""The one family of errors that reaches a user, and the exit status each one maps to.

Every message is one line that says what is wrong, where, and what to do. `codeflow.cli` is the
only place that turns an error into an exit status. `assert` and plain exceptions are for our own
bugs and keep their traceback.
"""

from __future__ import annotations

from codeflow.text.escape import one_line

EXIT_OK = 0
EXIT_INCOMPLETE = 1  # the run finished; something in it failed and is in the ledger
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130


class CodeflowError(Exception):
    """Something the user can mend. `str(error)` is one line: what, where, what to do.

    Names in it may be a stranger's, so that what cannot be seen in them is shown as an escape.
    """

    exit_status = EXIT_INCOMPLETE

    def __str__(self) -> str:
        return one_line(super().__str__())


class UsageError(CodeflowError):
    """A wrong command line, configuration file or repository list."""

    exit_status = EXIT_USAGE


class DataError(CodeflowError):
    """A dataset folder that is damaged, incomplete, or of another schema version."""


class RepositoryError(CodeflowError):
    """One repository cannot be mined. It gets a ledger row and the run goes on.

    Args:
        rule: short stable name, the ledger's `rule` (`missing`, `empty`, `shallow`, ...).
        reason: one line for people, without the name of the repository.
    """

    def __init__(self, rule: str, reason: str) -> None:
        super().__init__(f"{rule}: {reason}")
        self.rule = rule
        self.reason = reason

    def __reduce__(self) -> tuple[type[RepositoryError], tuple[str, str]]:
        return type(self), (self.rule, self.reason)


class LimitExceededError(RepositoryError):
    """A repository or a unit of work went over a limit; `rule` names the limit.

    Args:
        deterministic: false for limits on time or memory, which another machine might not hit.
    """

    def __init__(self, rule: str, reason: str, deterministic: bool = True) -> None:
        super().__init__(rule, reason)
        self.deterministic = deterministic

    def __reduce__(self) -> tuple[type[RepositoryError], tuple[str, str]]:
        return type(self), (self.rule, self.reason, self.deterministic)  # type: ignore[return-value]
