"""Every error of our own, split by what the caller does next.

    FlywheelError
    ├── ConfigError(ValueError)         stop: fix the settings or the call      exit code 2
    ├── DataError(ValueError)           stop: the data does not allow it        exit code 3
    │   ├── TooFewRecordsError
    │   ├── LeakageError
    │   └── DatasetError                a stored dataset is missing or damaged
    ├── RemoteError(RuntimeError)       a service, a platform, a worker process exit code 4
    │   ├── TransientRemoteError        worth another try
    │   ├── RemoteRejected              the service understood and refused: do not retry
    │   │   └── EndpointRefused         ... and will refuse whatever is asked: wrong key, model or address
    │   ├── RemoteJobFailed
    │   │   └── TrainingOutOfTime       ... because it reached the bound of hours that its settings give it
    │   ├── RemoteJobTimedOut
    │   │   └── NotEnoughResources      ... because the platform had no GPUs free for it
    │   └── RemoteJobCancelled
    ├── NotStarted(RuntimeError)        nothing is wrong: the settings keep work from starting now
    │   ├── OutsideWindow               ... until the window opens again
    │   └── OverBudget                  ... because it would cost more than there is
    ├── ScoringError(RuntimeError)      the item counts as unscored; go on
    └── RunFailed(RuntimeError)         every candidate failed                  exit code 4

A message is one or two sentences and says what to do. An error pickles (it crosses processes), so its
constructor takes the message alone.
"""

from __future__ import annotations


class FlywheelError(Exception):
    """Base of all errors that the flywheel raises on purpose.

    `except FlywheelError as error: print(error)` shows a user everything there is to know.
    """

    exit_code = 1


class ConfigError(FlywheelError, ValueError):
    """A setting or an argument is wrong."""

    exit_code = 2


class DataError(FlywheelError, ValueError):
    """The records do not allow what was asked."""

    exit_code = 3


class TooFewRecordsError(DataError):
    """Fewer usable records than the settings need."""


class LeakageError(DataError):
    """Evaluation and training overlap, and the settings say that this fails the run."""


class DatasetError(DataError):
    """A stored dataset is missing, damaged or of a schema this version does not read."""


class RemoteError(FlywheelError, RuntimeError):
    """Something outside this process failed. `attempts` counts the requests made before giving up."""

    exit_code = 4
    attempts: int = 1


class TransientRemoteError(RemoteError):
    """A failure that may pass: a time-out, a dropped connection, 429, 502, 503, 504."""


class RemoteRejected(RemoteError):
    """The other side understood the request and refused it; the same request will be refused again."""


class EndpointRefused(RemoteRejected):
    """The other side refuses us, not this request: wrong key, unknown model, wrong address."""


class RemoteJobFailed(RemoteError):
    """A fine-tune or a deployment ended in failure."""


class TrainingOutOfTime(RemoteJobFailed):
    """A fine-tune reached `training_config.max_hours` and was stopped; it is over, there too."""


class RemoteJobTimedOut(RemoteError):
    """A fine-tune or a deployment made no progress within its bound."""


class NotEnoughResources(RemoteJobTimedOut):
    """A fine-tune or a deployment waited for GPUs until its bound and never began."""


class RemoteJobCancelled(RemoteError):
    """A fine-tune was cancelled, here or on the platform."""


class NotStarted(FlywheelError, RuntimeError):
    """Work that the settings keep from starting now; the candidate stays pending and a resumed run takes it up."""

    exit_code = 4


class OutsideWindow(NotStarted):
    """The window for GPU work is closed."""


class OverBudget(NotStarted):
    """The work would use more GPU-hours or money than its budget has left."""


class ScoringError(FlywheelError, RuntimeError):
    """An answer cannot be scored; it counts as unscored, never as zero."""


class RunFailed(FlywheelError, RuntimeError):
    """No candidate could be evaluated."""

    exit_code = 4
