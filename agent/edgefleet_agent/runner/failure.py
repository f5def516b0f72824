from typing import Any, Dict, Optional


class RunnerFailure(Exception):
    """The artifact can't be measured; ``code`` is one of the wire's error codes and the message says what to do."""

    def __init__(self, code: str, message: str, detail: "Optional[Dict[str, Any]]" = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.detail = detail or {}
