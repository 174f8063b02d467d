"""Two processes against one: the same masks, the same accuracy, a whole artifact, and a resume after a kill.

    python benchmarks/two_processes.py --data DIR --model DIR [--rows 2000] [--seeds 42] [--record]

All five stages of minilm-sst2 on the first rows of SST-2, three times for each seed: in one process; in two, each with
half of the batch, as ``accelerate launch --num_processes 2`` starts them (on the CPU, over gloo); and in two that are
both killed (SIGKILL) in the middle of prune_heads, started again, killed in prune_ffn, and started again. Run again,
it goes on where it stopped. In float32, lest the two choose their precision by what their clocks say.
"""

from __future__ import annotations

import argparse
import math
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from machine import machine_facts, record, section
from rank_witness import Note, agreement, read_notes, witnessed
from sst2_work import FILES, add_work_arguments, sst2_recipe

from pipeline import load_recipe
from pipeline.api import plan, run
from pipeline.artifacts.run import Run
from pipeline.recipe import Recipe
from pipeline.reporting.layout import markdown_table
from stages import STAGES

RUNS = {"one": 1, "two": 2, "killed": 2}
"""How many processes each run has."""
KILLED_IN = ("prune_heads", "prune_ffn")
SPLIT = "heldout"
LAUNCH = ("--multi_gpu", "--num_machines=1", "--mixed_precision=no", "--dynamo_backend=no", "--main_process_port=0")
"""The first has nothing to do with GPUs: without it ``accelerate launch`` starts one process on a CPU."""


def work_recipe(options: argparse.Namespace, kind: str, seed: int) -> Recipe:
    """Return the recipe of a run; as many rows make an optimizer step in each."""
    document = sst2_recipe(options.data, options.model)
    training = {**document["training"], "mixed_precision": "no", "progress": False, "save_seconds": 1}
    training |= {"save_share": 0.2, "batch_size": options.batch_size // RUNS[kind]}
    task = {**document["task"], "train_rows": options.rows, "validation": [SPLIT]}
    document |= {"name": f"{kind}-s{seed}", "seed": seed, "task": task, "training": training}
    return load_recipe(document, stages=STAGES, overrides=options.overrides)


def notes_of(options: argparse.Namespace, recipe: Recipe, rank: int) -> Path:
    """Return where process ``rank`` writes what it sees."""
    path: Path = options.runs_dir / f"{recipe.name}-rank{rank}.jsonl"
    return path


def be_run(options: argparse.Namespace) -> None:
    """Be one of the processes of a run."""
    recipe = work_recipe(options, options.child, options.seeds[0])
    with witnessed(notes_of(options, recipe, int(os.environ.get("RANK", "0"))), dies_in=options.dies_in):
        run(recipe, runs_dir=options.runs_dir)


def bring_to_its_end(options: argparse.Namespace, kind: str, seed: int) -> Run:
    """Bring a run up to date, with whatever kills are still to come, and return it."""
    recipe = work_recipe(options, kind, seed)
    path: Path = options.runs_dir / recipe.name
    if plan(recipe, runs_dir=options.runs_dir).is_fresh:
        return Run.open(path)
    options.runs_dir.mkdir(parents=True, exist_ok=True)
    for stage in KILLED_IN if kind == "killed" else ():
        if not _deaths(read_notes(notes_of(options, recipe, 0)), stage):
            print(f"{recipe.name}: runs until it is killed in {stage}", flush=True)
            _launch(options, kind, seed, "--dies-in", stage)
            if not _deaths(read_notes(notes_of(options, recipe, 0)), stage):
                raise SystemExit(f"{recipe.name}: ended, but not killed in {stage}: see {path}.log")
    print(f"{recipe.name}: runs to its end", flush=True)
    if _launch(options, kind, seed):
        raise SystemExit(f"{recipe.name}: failed: see {path}.log")
    return Run.open(path)


def _deaths(notes: Sequence[Note], stage: str) -> list[Note]:
    return [note for note in notes if "died" in note and note["stage"] == stage]


def _launch(options: argparse.Namespace, kind: str, seed: int, *more: str) -> int:
    """Start the processes of a run and return their exit status; what they say is added to the run's log."""
    count, cores = RUNS[kind], len(os.sched_getaffinity(0))
    launcher = ["-m", "accelerate.commands.launch", *LAUNCH, f"--num_processes={count}"] if count > 1 else []
    own = ["--data", options.data, "--model", options.model, "--rows", options.rows, "--runs-dir", options.runs_dir]
    own += ["--batch-size", options.batch_size, "--seeds", seed, "--child", kind, *more]
    own += [argument for override in options.overrides for argument in ("--set", override)]
    threads = os.environ.get("OMP_NUM_THREADS", str(max(1, cores // count)))
    environment = {**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": threads}
    with (options.runs_dir / f"{kind}-s{seed}.log").open("a", encoding="utf-8") as log:
        command = [sys.executable, *launcher, __file__, *map(str, own)]
        return subprocess.run(command, env=environment, stdout=log, stderr=log, check=False).returncode


def accuracy_table(runs: Mapping[str, Run], num_rows: int) -> str:
    """Return each stage's accuracy in one process and in two, and the standard error of their difference."""
    rows = []
    for stage in runs["one"].stages:
        scores = [_score(run, stage) for run in runs.values()]
        cells = [f"{100 * score:.2f}" for score in scores]
        error = standard_error(scores[:2], num_rows)
        rows.append((stage, *cells, f"{100 * (scores[1] - scores[0]):+.2f}", f"{100 * error:.2f}"))
    return markdown_table([f"{SPLIT} accuracy", *runs, "two - one", "standard error of that"], rows)


def standard_error(scores: Sequence[float], num_rows: int) -> float:
    """Return that of a difference of two shares of ``num_rows``, as if each had rows of its own: rather too large."""
    return math.sqrt(sum(score * (1 - score) / num_rows for score in scores))


def _score(run: Run, stage: str) -> float:
    return run[stage].metrics[f"{SPLIT}/accuracy"]


def is_as_accurate(runs: Mapping[str, Run], num_rows: int) -> tuple[str, bool, str]:
    """Return whether the last model of two processes is as accurate as that of one, within two standard errors."""
    last = runs["one"].stages[-1]
    one, two = (_score(runs[kind], last) for kind in ("one", "two"))
    errors = abs(two - one) / max(standard_error((one, two), num_rows), 1 / num_rows)
    return "two: as accurate in the end as one, within 2 standard errors", errors <= 2, f"{errors:.2f} of them apart"


def checks(options: argparse.Namespace, runs: Mapping[str, Run], seed: int) -> list[tuple[str, bool, str]]:
    """Return what must hold of two processes, whether it does, and what was found."""
    recipes = {kind: work_recipe(options, kind, seed) for kind in RUNS}
    notes = {kind: [read_notes(notes_of(options, recipes[kind], rank)) for rank in (0, 1)] for kind in RUNS}
    found: list[tuple[str, bool, str]] = []
    for kind in ("two", "killed"):
        for what, where in (("masks", "after every step of a pruning stage"), ("weights", "at the end of every stage")):
            same, differing = agreement(notes[kind], what)
            told = f"differ at {differing[0]}" if differing else f"{same} times equal"
            found.append((f"{kind}: {what} equal in both processes, {where}", same > 0 and not differing, told))
        whole, told = _loads(recipes[kind], runs[kind])
        found.append((f"{kind}: the artifacts are complete, and the last one loads", whole, told))
    resumed = [_resumed(notes["killed"][0], stage) for stage in KILLED_IN]
    found.append(("killed: went on from a save", all(ok for ok, _ in resumed), "; ".join(told for _, told in resumed)))
    ends = [{name: each[name].content_digest() for name in each.stages} for each in (runs["two"], runs["killed"])]
    same_ends = sum(ends[0][name] == ends[1].get(name) for name in ends[0])
    told = f"{same_ends} of {len(ends[0])} stages' models are bit for bit equal"
    return [*found, ("killed: the same end as undisturbed", same_ends == len(ends[0]), told)]


def _loads(recipe: Recipe, finished: Run) -> tuple[bool, str]:
    from transformers import AutoModelForSequenceClassification

    from pipeline import register_models

    for name in finished.stages:
        finished[name].verify()
    last = finished[recipe.stages[-1].name]
    register_models()
    model = AutoModelForSequenceClassification.from_pretrained(last.model_dir)
    count = sum(parameter.numel() for parameter in model.parameters())
    is_whole = len(finished.stages) == len(recipe.stages) and count == last.metrics["parameters"]
    return is_whole, f"{len(finished.stages)} artifacts with all files as committed; {count:,} parameters load"


def _resumed(notes: Sequence[Note], stage: str) -> tuple[bool, str]:
    """Say from where a stage went on after its kill: from a save if not from its beginning."""
    began = [note["began"] for note in notes if note["stage"] == stage and "began" in note][-1]
    (death,) = _deaths(notes, stage)
    return 0 < began <= death["died"], f"{stage}: killed at step {death['died']} of {death['of']}, resumed at {began}"


def seed_sections(options: argparse.Namespace, seed: int) -> tuple[list[str], bool]:
    """Return the tables of a seed, all its runs being brought to their end, and whether all that must hold does."""
    runs = {kind: bring_to_its_end(options, kind, seed) for kind in RUNS}
    num_rows = sum(1 for line in (options.data / FILES[SPLIT]).read_bytes().splitlines() if line.strip())
    num_rows = min(num_rows, work_recipe(options, "one", seed).task.validation_rows or num_rows)
    found = [is_as_accurate(runs, num_rows), *checks(options, runs, seed)]
    rows = [(what, "yes" if ok else "**no**", told) for what, ok, told in found]
    tables = [accuracy_table(runs, num_rows), markdown_table(["asked", "holds", "found"], rows)]
    return [f"Seed {seed}, {num_rows} rows of {SPLIT}:", *tables], all(ok for _, ok, _ in found)


def arguments(given: Sequence[str] | None) -> argparse.Namespace:
    """Return what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_work_arguments(parser)
    parser.add_argument("--rows", type=int, default=2000, help="only the first rows of the training split")
    parser.add_argument("--seeds", type=int, nargs="+", default=(42,))
    parser.add_argument("--batch-size", type=int, default=32, help="rows of an optimizer step, of both processes")
    parser.add_argument("--runs-dir", type=Path, help="default: runs/two-processes, with the number of --rows")
    parser.add_argument("--child", choices=RUNS, help=argparse.SUPPRESS)
    parser.add_argument("--dies-in", help=argparse.SUPPRESS)
    options = parser.parse_args(given)
    if options.batch_size % 2:
        parser.error(f"--batch-size: must be even, for two processes share it, got {options.batch_size}")
    options.runs_dir = options.runs_dir or Path("runs") / f"two-processes-{options.rows}"
    return options


def main(given: Sequence[str] | None = None) -> None:
    """Run what is missing, print what holds, and record it if asked."""
    options = arguments(given)
    if options.child:
        be_run(options)
        return
    parts: list[str] = []
    holds = True
    for seed in options.seeds:
        told, ok = seed_sections(options, seed)
        parts, holds = [*parts, *told], holds and ok
    facts = machine_facts(seed=options.seeds[0]) | {"seed": ", ".join(map(str, options.seeds))}
    title = f"Two processes, SST-2 with {options.rows} rows, {options.model.name}"
    result = section(title, facts, [f"{options.batch_size} rows an optimizer step, in all.", *parts])
    print("", result, sep="\n")
    if options.record:
        record(result)
    if not holds:
        raise SystemExit("not all of it holds")


if __name__ == "__main__":
    main()
