"""Commands around the network: train, predict, export-model, next."""

from pathlib import Path
from typing import Annotated

import typer

from curate.cli.command import SOME_FAILED, Outcome, Surroundings, command


def register(app: typer.Typer) -> None:
    """Add these commands to `app`."""
    command(app, "train")(train)
    command(app, "predict")(predict)
    command(app, "export-model")(export_model)
    command(app, "next")(next_)


def train(
    around: Surroundings,
    recipe: Annotated[
        str | None,
        typer.Option(metavar="NAME|FILE", help="fast, article, scratch, noise, or a file copied from one of them."),
    ] = None,
    arch: Annotated[str | None, typer.Option(metavar="NAME", help="Any torchvision classifier.")] = None,
    init: Annotated[
        str | None, typer.Option(metavar="imagenet|none|FILE", help="First weights; FILE is safetensors.")
    ] = None,
    size: Annotated[int | None, typer.Option(min=32, metavar="PX", help="Side of the pictures it sees.")] = None,
    epochs: Annotated[int | None, typer.Option(min=1, metavar="N", help="At most so many.")] = None,
    seed: Annotated[int | None, typer.Option(metavar="N", help="Of everything random.")] = None,
    device: Annotated[str | None, typer.Option(metavar="D", help="auto, cpu, cuda, …")] = None,
    compile_: Annotated[
        bool | None,
        typer.Option("--compile/--no-compile", help="Let torch compile it first, for a minute; off unless asked for."),
    ] = None,
    seeds: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Train with so many seeds, to tell luck from progress.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run stopped last, as it was begun.")] = False,
) -> Outcome:
    """Train on the present split. What is not said comes from [train] in curate.toml, then from the recipe.

    The same command again goes on with a run that was stopped.
    """
    from curate.cli import show
    from curate.training import options_from, train_run
    from db.errors import ConfigError

    if resume and seeds:
        raise ConfigError("--resume goes on with one run; with --seeds the same command again goes on by itself")
    project = around.project()
    options = options_from(
        project,
        recipe=recipe,
        arch=arch,
        init=init,
        size=size,
        epochs=epochs,
        seed=seed,
        device=device,
        compile=compile_,
    )
    if seeds:
        from curate.seeds import train_seeds

        several = train_seeds(project, options, seeds, around.progress)
        return Outcome(show.seeds_data(several), show.trained_seeds(several), told=several.best.leads)
    report = train_run(project, options, resume=resume, progress=around.progress)
    return Outcome(show.train_data(report), show.trained(report), told=report.leads)


def predict(
    around: Surroundings,
    paths: Annotated[
        list[str] | None,
        typer.Argument(metavar="[PATH]…", help="Image files and folders of them; - reads a list on stdin."),
    ] = None,
    listed: Annotated[
        Path | None, typer.Option("--from", metavar="FILE", help="A list of paths, one a line; - is stdin.")
    ] = None,
    run: Annotated[str | None, typer.Option(metavar="R", help="A run's name or number; else the best.")] = None,
    backend: Annotated[
        str, typer.Option(metavar="auto|torch|openvino", help="What computes; openvino on a CPU alone.")
    ] = "auto",
) -> Outcome:
    """Say what is on any picture."""
    from dataclasses import asdict

    from curate.cli import show
    from curate.predicting import predict_files
    from db.errors import ConfigError

    wanted = [path for given in [*(paths or []), *_from(listed)] for path in (_stdin() if given == "-" else [given])]
    if not wanted:
        raise ConfigError("which pictures? Name files or folders, or a list with --from FILE, or - for one on stdin")
    report = predict_files(around.project(), wanted, run, around.progress, backend)
    failures = [{"path": path, "reason": r.reason.value, "detail": r.detail} for path, r in report.failures]
    data = {
        "run": report.run,
        "backend": report.backend,
        "predictions": [asdict(p) for p in report.predictions],
        "failures": failures,
    }
    return Outcome(data, show.predictions(report), SOME_FAILED if failures else 0)


def _from(listed: Path | None) -> list[str]:
    from curate.predicting import paths_from

    if listed is None:
        return []
    return ["-"] if str(listed) == "-" else paths_from(listed)


def _stdin() -> list[str]:
    import sys

    from curate.predicting import paths_in
    from db.errors import DatasetError

    try:
        return paths_in(sys.stdin.buffer.read() if sys.stdin else b"")
    except UnicodeDecodeError as error:
        raise DatasetError(f"the list on stdin is no UTF-8: {error}") from error


def export_model(
    around: Surroundings,
    file: Annotated[Path, typer.Argument(metavar="FILE.onnx", help="Where; FILE.onnx.json is put beside it.")],
    run: Annotated[str | None, typer.Option(metavar="R", help="A run's name or number; else the best.")] = None,
) -> Outcome:
    """Write a run's network as ONNX for other programs: bytes of pictures in, calibrated probabilities out.

    Its answers are checked against PyTorch's on validation images before it is written.
    """
    from dataclasses import asdict

    from rich.text import Text

    from curate.serving import export_model as write

    report = write(around.project(), file.absolute(), run, around.progress)
    onnx = report.onnx
    text = (
        f"{file}: run {report.run}, {onnx.bytes / 1e6:.1f} MB, takes pixels (B, {onnx.side}, {onnx.side}, 3) and gives"
        f" probabilities of {len(onnx.classes)} classes;"
        f" on {onnx.checked} images at most {onnx.largest_difference:.1g} from PyTorch's"
    )
    return Outcome({"run": report.run, **asdict(onnx), "file": str(file)}, Text(text))


def next_(
    around: Surroundings,
    count: Annotated[int, typer.Argument(metavar="[N]", min=1, help="How many.")] = 20,
    strategy: Annotated[
        str | None, typer.Option(metavar="NAME", help="As curate simulate has them; else queue.strategy says.")
    ] = None,
) -> Outcome:
    """Say which images to label next, and why."""
    from dataclasses import asdict

    from curate.cli import show
    from curate.select import choose

    choices = choose(around.project(), count, strategy=strategy, progress=around.progress)
    return Outcome({"images": [asdict(choice) for choice in choices]}, show.choices(choices))
