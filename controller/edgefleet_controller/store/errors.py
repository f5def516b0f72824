"""Why a store command could not do its work.

StoreError
├── StoreInUse             a controller or a writer has the store
├── RevisionMismatch       the store has another schema than this program
├── TargetNotEmpty         there is something where the copy should go
├── SourceUnsupported      this back end cannot be moved from
├── CopyDiffers            what was written is not what was read
├── ArchiveInvalid         the backup is damaged, or none
└── ArchiveTooNew          the backup needs a newer program
"""


class StoreError(Exception):
    """A store command failed; ``code`` is stable, the message says what to do next."""

    code = "store_error"

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class StoreInUse(StoreError):
    """A controller or a writer has the store."""

    code = "store_in_use"


class RevisionMismatch(StoreError):
    """The store has another schema than this program."""

    code = "revision_mismatch"


class TargetNotEmpty(StoreError):
    """There is something where the copy should go."""

    code = "target_not_empty"


class SourceUnsupported(StoreError):
    """This back end cannot be moved from."""

    code = "source_unsupported"


class CopyDiffers(StoreError):
    """What was written is not what was read; nothing of it was kept."""

    code = "copy_differs"


class ArchiveInvalid(StoreError):
    """The backup is damaged, or the file is none."""

    code = "archive_invalid"


class ArchiveTooNew(StoreError):
    """The backup needs a newer program."""

    code = "archive_too_new"
