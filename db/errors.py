"""What stops a run.

    CurateError
    ├── ConfigError       curate.toml, an option, or a setting is wrong
    ├── DatabaseError     the database is newer, foreign, corrupt or missing
    ├── StoreError        a file cannot be written: disk full, read-only folder
    ├── DatasetError      the data does not allow what was asked
    └── LabelStudioError  the labelling server refuses, is down, or answers something odd

What concerns a single image or address is no exception but a `db.reasons.Refusal`.
"""


class CurateError(Exception):
    """Stops the command with exit code 2. The message is one line: what is wrong, and what to do about it."""


class ConfigError(CurateError):
    """A setting or an option is wrong."""


class DatabaseError(CurateError):
    """The database cannot be used as it is. It was not written to."""


class StoreError(CurateError):
    """A file could not be written; nothing half-written was left behind."""


class DatasetError(CurateError):
    """The images, labels or runs at hand do not allow what was asked."""


class LabelStudioError(CurateError):
    """The labelling server could not do what was asked."""
