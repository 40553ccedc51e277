"""Near duplicates end to end: seconds, recall and memory of ours against datatrove's four MinHash stages.

The corpus is made of pieces of 40 lines of Python files (the standard library, then site-packages), and of planted copies of
some, with words replaced, removed or inserted, whose exact Jaccard similarity (word 5-grams, by a regular expression) is
computed. Both programs read it from JSONL and write what they keep as JSONL. datatrove runs with its own defaults (14 x 8,
64-bit hashes, spaCy's word tokenizer) in its LocalPipelineExecutor. Each case runs in a fresh process; the times are those of
the work, without imports. On a machine with other work, compare the seconds of processor time (`cpu_s`).

    pip install datatrove[io,processing]==0.10.1 spacy      # into an environment of its own: it needs xxhash<4
    python benchmarks/near_duplicates.py --peer /path/to/that/bin/python [--repeat 3]
"""

from __future__ import annotations

import argparse
import json
import random
import re
import resource
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

LINES, PLANTED, FILES = 40, 2000, 4
WORD = re.compile(r"[A-Za-z0-9_]+")


def pieces() -> Iterator[str]:
    """Pieces of 40 lines of Python files."""
    for folder in ("stdlib", "purelib"):
        for path in sorted(Path(sysconfig.get_paths()[folder]).rglob("*.py")):
            if folder == "stdlib" and "site-packages" in path.parts:
                continue
            lines = path.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True)
            for begin in range(0, len(lines), LINES):
                piece = "".join(lines[begin : begin + LINES])
                if len(WORD.findall(piece)) >= 30:
                    yield piece


def edited(text: str, share: float, chosen: random.Random) -> str:
    """The text with a share of its words replaced, removed or followed by another."""

    def change(match: re.Match[str]) -> str:
        if chosen.random() >= share:
            return match[0]
        other = f"planted{chosen.randrange(10**6)}"
        return chosen.choice([other, "", f"{match[0]} {other}"])

    return WORD.sub(change, text)


def runs(text: str) -> set[tuple[str, ...]]:
    words = WORD.findall(text.lower())
    return {tuple(words[place : place + 5]) for place in range(len(words) - 4)}


def make_corpus(folder: Path, count: int) -> dict[str, Any]:
    """Write the corpus in both forms; returns its size and the planted pairs with their exact similarity."""
    from seedbed.curation.record import Provenance, Record, content_id, encode

    chosen = random.Random(0)
    texts = []
    for piece in pieces():
        texts.append(piece)
        if len(texts) == count:
            break
    pairs = []
    for original in chosen.sample(range(len(texts)), min(PLANTED, len(texts))):
        copy = edited(texts[original], chosen.uniform(0.001, 0.06), chosen)
        one, other = runs(texts[original]), runs(copy)
        pairs.append((original, len(texts), len(one & other) / len(one | other)))
        texts.append(copy)
    order = chosen.sample(range(len(texts)), len(texts))
    handles = [(folder / f"{form}-{n}.jsonl").open("wb") for n in range(FILES) for form in ("records", "documents")]
    for place, number in enumerate(order):
        where = Provenance(source="git", repository="corpus", path=f"{number}.py")
        record = Record(kind="text", text=texts[number], provenance=where)
        record.id = content_id(record)
        document = {"text": texts[number], "id": str(number)}
        handles[place % FILES * 2].write(encode(record) + b"\n")
        handles[place % FILES * 2 + 1].write(json.dumps(document).encode() + b"\n")
    for handle in handles:
        handle.close()
    return {"texts": len(texts), "bytes": sum(len(text.encode()) for text in texts), "pairs": pairs}


def cpu_s() -> float:
    """Seconds of processor time of this process and of those that it has waited for."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def ours(folder: Path, workers: int, maker: str) -> dict[str, Any]:
    """Seconds, clusters by the number of a document, and peak memory above the imports."""
    from seedbed.curation.drops import Drops
    from seedbed.curation.duplicates.clusters import find_clusters
    from seedbed.curation.duplicates.deduplicate import deduplicate, read_records
    from seedbed.curation.duplicates.options import DuplicateOptions
    from seedbed.curation.duplicates.signature_files import write_signatures
    from seedbed.curation.record import encode

    imports, before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, cpu_s()
    begun = time.perf_counter()
    paths = sorted(folder.glob("records-*.jsonl"))
    options = DuplicateOptions(workers=workers, signatures=maker)
    made = deduplicate(paths, options, folder)
    found_s = time.perf_counter() - begun
    with (folder / "kept.jsonl").open("wb") as handle:
        for record in made.records(Drops()):
            handle.write(encode(record) + b"\n")
    took, used = time.perf_counter() - begun, cpu_s() - before
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    child = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    signatures = [path.with_suffix(".signatures") for path in paths]
    places = []
    for path, out in zip(paths, signatures, strict=True):
        places += [(each.provenance.path or "")[:-3] for each in read_records(path)]
        write_signatures(read_records(path), out, maker)
    found = find_clusters(signatures).of_record.tolist()
    clusters = {place: str(each) if each >= 0 else None for place, each in zip(places, found, strict=True)}
    return {
        "seconds": took,
        "cpu_s": used,
        "found_s": found_s,
        "kept": made.summary.records - made.summary.exact - made.summary.near,
        "extra_kib": peak - imports,
        "child_kib": child,
        "clusters": clusters,
    }


def datatrove(folder: Path, workers: int) -> dict[str, Any]:
    """The same of datatrove's four stages."""
    from datatrove.executor import LocalPipelineExecutor
    from datatrove.pipeline.dedup import MinhashDedupCluster, MinhashDedupFilter, MinhashDedupSignature
    from datatrove.pipeline.dedup.minhash import MinhashConfig, MinhashDedupBuckets
    from datatrove.pipeline.readers import JsonlReader
    from datatrove.pipeline.writers import JsonlWriter
    from datatrove.utils.typeshelper import Languages

    config = MinhashConfig()
    work = Path(tempfile.mkdtemp(dir=folder))

    def execute(name: str, steps: list[Any], tasks: int) -> float:
        begun = time.perf_counter()
        LocalPipelineExecutor(
            pipeline=steps,
            tasks=tasks,
            workers=min(workers, tasks),
            logging_dir=str(work / f"logs-{name}"),
            start_method="fork",  # not its default, so that the processor time of the workers is counted
        ).run()
        return time.perf_counter() - begun

    def read() -> Any:
        return JsonlReader(str(folder), glob_pattern="documents-*.jsonl")

    def stages(marks: bool) -> dict[str, float]:
        out = work / ("marked" if marks else "kept")
        sign = MinhashDedupSignature(output_folder=str(work / "signatures"), config=config, language=Languages.english)
        buckets = MinhashDedupBuckets(
            input_folder=str(work / "signatures"), output_folder=str(work / "buckets"), config=config
        )
        cluster = MinhashDedupCluster(
            input_folder=str(work / "buckets"),
            output_folder=str(work / f"remove-{marks}"),
            config=config,
            save_cluster_id=marks,
        )
        keep = MinhashDedupFilter(input_folder=str(work / f"remove-{marks}"), load_cluster_ids=marks)
        write = JsonlWriter(str(out), compression=None)
        if marks:
            excluded = JsonlWriter(str(work / "excluded"), compression=None)
            keep = MinhashDedupFilter(
                input_folder=str(work / f"remove-{marks}"), load_cluster_ids=True, exclusion_writer=excluded
            )
            return {"cluster": execute("c2", [cluster], 1), "filter": execute("f2", [read(), keep, write], FILES)}
        return {
            "signatures": execute("1", [read(), sign], FILES),
            "buckets": execute("2", [buckets], config.num_buckets),
            "cluster": execute("3", [cluster], 1),
            "filter": execute("4", [read(), keep, write], FILES),
        }

    before = cpu_s()
    seconds = stages(marks=False)
    used = cpu_s() - before
    kept = sum(1 for path in (work / "kept").glob("*.jsonl") for _ in path.open())
    stages(marks=True)
    clusters: dict[str, str | None] = {}
    for path in [*(work / "marked").glob("*.jsonl"), *(work / "excluded").glob("*.jsonl")]:
        for line in path.open():
            row = json.loads(line)
            cluster = row["metadata"].get("minhash_cluster_id")
            clusters[row["id"]] = None if cluster in (None, -1) else str(cluster)
    return {
        "seconds": sum(seconds.values()),
        "cpu_s": used,
        "stages": seconds,
        "kept": kept,
        "child_kib": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss,
        "clusters": clusters,
    }


def recall(clusters: dict[str, str | None], pairs: list[tuple[int, int, float]]) -> dict[str, float | int]:
    """The share of planted pairs that are in one cluster, by their exact similarity."""
    found = {}
    for name, low, high in (
        ("J>=.8", 0.8, 2),
        ("J>=.7", 0.7, 2),
        (".8-.85", 0.8, 0.85),
        (".85-.9", 0.85, 0.9),
        (".9-1", 0.9, 2),
        ("<.6", 0, 0.6),
    ):
        inside = [pair for pair in pairs if low <= pair[2] < high]
        hits = sum(
            1
            for one, other, _ in inside
            if clusters.get(str(one)) is not None and clusters.get(str(one)) == clusters.get(str(other))
        )
        found[name] = round(hits / len(inside), 4) if inside else -1
        found[f"{name} pairs"] = len(inside)
    return found


def run_case(python: str, case: str, folder: Path, workers: int) -> dict[str, Any]:
    command = [python, __file__, "--measure", case, "--folder", str(folder), "--workers", str(workers)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{case} failed:\n{done.stderr[-3000:]}")
    return json.loads((folder / f"{case}.json").read_text())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", help="the python of an environment with datatrove; without it, only ours is measured")
    parser.add_argument("--pieces", type=int, default=20_000)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--measure", choices=["rensa", "numpy", "datatrove"], help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        if options.measure == "datatrove":
            result = datatrove(options.folder, options.workers)
        else:
            result = ours(options.folder, options.workers, options.measure)
        (options.folder / f"{options.measure}.json").write_text(json.dumps(result))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        corpus = make_corpus(folder, options.pieces)
        megabytes = corpus["bytes"] / 1e6
        print(f"{corpus['texts']:,} texts, {megabytes:.1f} MB, {len(corpus['pairs']):,} planted")
        cases = [("rensa", 1), ("rensa", options.workers), ("numpy", options.workers)]
        if options.peer:
            cases.append(("datatrove", options.workers))
        times: dict[tuple[str, int], list[float]] = {case: [] for case in cases}
        processor: dict[tuple[str, int], list[float]] = {case: [] for case in cases}
        for _ in range(options.repeat):
            for case, workers in cases:
                python = options.peer if case == "datatrove" else sys.executable
                result = run_case(python, case, folder, workers)
                times[case, workers].append(result["seconds"])
                processor[case, workers].append(result["cpu_s"])
                clusters = result.pop("clusters")
                print(case, f"{workers} processes", {**result, "recall": recall(clusters, corpus["pairs"])})
        medians = {case: statistics.median(each) for case, each in times.items()}
        used = {case: statistics.median(each) for case, each in processor.items()}
        for case, seconds in medians.items():
            speed = f"{seconds:.2f} s, {megabytes / seconds:.1f} MB/s (median), processor time {used[case]:.2f} s"
            print(f"{case[0]}, {case[1]} processes: {speed}")
        two, peer = ("rensa", options.workers), ("datatrove", options.workers)
        print(f"scaling 1 -> {options.workers}: {medians['rensa', 1] / medians[two] / options.workers:.0%}")
        if options.peer:
            print(
                f"ratio to datatrove: {medians[peer] / medians[two]:.1f}, of processor time {used[peer] / used[two]:.1f}"
            )


if __name__ == "__main__":
    main()
