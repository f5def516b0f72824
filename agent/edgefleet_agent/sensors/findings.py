from dataclasses import dataclass

OK, WARNING, PROBLEM = "ok", "warning", "problem"


@dataclass(frozen=True)
class SensorFinding:
    """What was found about one sensor or bus: a stable code, how bad it is, what is the matter, how to fix it."""

    code: str
    subject: str
    level: str
    text: str
    advice: str = ""
