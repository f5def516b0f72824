"""The front of a job, typed."""

from dataclasses import dataclass, field

from edgefleet_controller.client.errors import JsonObject


@dataclass(frozen=True)
class Point:
    """A variant on a device as a point of two figures."""

    variant: str
    device: str | None
    x: float
    y: float
    verdict: str
    on_front: bool
    run_id: str | None


@dataclass(frozen=True)
class LeftOutRow:
    """A row without a point, and why."""

    variant: str
    device: str | None
    reason: str


@dataclass(frozen=True)
class Front:
    """The points of two figures in ascending order of ``x``; ``best`` are those that no other one beats in both."""

    x: str
    y: str
    provenance: str | None
    points: tuple[Point, ...]
    left_out: tuple[LeftOutRow, ...]
    document: JsonObject = field(repr=False)

    @property
    def best(self) -> tuple[Point, ...]:
        """The points on the front."""
        return tuple(point for point in self.points if point.on_front)


def front_of(document: JsonObject) -> Front:
    """The typed front of a document of ``GET /v1/front``."""
    return Front(
        x=document["x"]["name"],
        y=document["y"]["name"],
        provenance=document["provenance"],
        points=tuple(
            Point(
                variant=point["name"],
                device=point["device_name"],
                x=point["x"],
                y=point["y"],
                verdict=point["verdict"],
                on_front=point["on_front"],
                run_id=point["run_id"],
            )
            for point in document["points"]
        ),
        left_out=tuple(LeftOutRow(row["name"], row["device_name"], row["reason"]) for row in document["left_out"]),
        document=document,
    )
