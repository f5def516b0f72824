"""The options of ``edgefleet search``."""

from pathlib import Path
from typing import Annotated

import typer

DataOption = Annotated[
    str | None, typer.Option(help="With a file: its data set, a .npz file or a packaged one such as digits.")
]
ObjectiveOption = Annotated[
    list[str] | None, typer.Option(help="Figure to make as good as possible; default: accuracy, latency_p50_ms.")
]
ConstraintOption = Annotated[
    list[str] | None, typer.Option(help="Bound such as 'peak_memory_bytes<=50000000'; may be given several times.")
]
MaxLatencyP50MsOption = Annotated[float | None, typer.Option(min=0, help="Longest median latency.")]
MaxLatencyP90MsOption = Annotated[float | None, typer.Option(min=0, help="Longest 90th percentile.")]
MaxSizeOption = Annotated[str | None, typer.Option(help="Largest file, such as 5MB or 800kB.")]
MaxEnergyMjOption = Annotated[float | None, typer.Option(min=0, help="Most energy of an inference.")]
MinRetentionOption = Annotated[float | None, typer.Option(min=0, help="Least share of the accuracy to keep.")]
MinAccuracyOption = Annotated[float | None, typer.Option(min=0, max=1, help="Least accuracy.")]
GoalOption = Annotated[list[str] | None, typer.Option(help="Bound at which the search ends early.")]
TrialsOption = Annotated[int, typer.Option(min=0, help="Budget for each kind of board.")]
BatchOption = Annotated[int | None, typer.Option(min=1, help="Trials at once; default: one for each board.")]
OrderOption = Annotated[str, typer.Option(help="fixed: the same course whichever trial ends first; free: never waits.")]
SamplerOption = Annotated[str, typer.Option(help="tpe, nsga2 or random.")]
SeedOption = Annotated[int, typer.Option(min=0, help="Seed of the search and of its recipes.")]
TechniqueOption = Annotated[
    list[str] | None,
    typer.Option(help="Only depth, width, calibration, rounding_trained or distillation; default: what suits."),
]
MaxEpochsOption = Annotated[int, typer.Option(min=1, help="Most epochs of one training.")]
SpaceOption = Annotated[Path | None, typer.Option(help="A .json file with a space of one's own.")]
NoReuseOption = Annotated[bool, typer.Option("--no-reuse", help="Begin without what earlier studies found.")]
ThreadsOption = Annotated[int | None, typer.Option(min=1, help="Threads of the runtime on the device.")]
FinalistsOption = Annotated[int, typer.Option(min=0, help="Recipes that are measured again at the end.")]
RoundsOption = Annotated[int, typer.Option(min=1, help="How often each of them is.")]
NoCompareOption = Annotated[
    bool, typer.Option("--no-compare", help="Without the comparison in turns with the uncompressed model.")
]
NameOption = Annotated[str | None, typer.Option(help="Name of the study.")]
WatchItOption = Annotated[bool, typer.Option("--watch", help="Follow the study and print what it found.")]
