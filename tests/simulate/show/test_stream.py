"""The stream of the show: what a viewer of a real training sees is there, and all numbers agree with each other."""

from __future__ import annotations

import math
import re
from itertools import pairwise

import pytest

from seedbed.events import Comm, Message, Node, Phase
from seedbed.simulate import catalog
from seedbed.simulate.loss import BESIROGLU
from seedbed.simulate.show import items
from seedbed.simulate.show.cast import facts, real_models
from seedbed.simulate.show.opening import ring, tree
from seedbed.simulate.show.playlist import Options
from seedbed.simulate.show.stream import played
from shown_runs import Played, first_run, play

SEEDS = range(200)


@pytest.fixture(scope="module")
def shown() -> Played:
    """A run with a failure."""
    return next(run for run in map(first_run, SEEDS) if run.one(items.RunEnds).interruptions)


# The beginning of a run ----------------------------------------------------------------------------------------------


def test_the_model_is_shown_with_its_parameters_and_architecture(shown: Played) -> None:
    model, shape = shown.one(items.ModelBuilt), shown.take.shape
    assert (model.name, model.layers, model.hidden, model.vocab) == (
        shape.name,
        shape.layers,
        shape.hidden,
        shape.vocab,
    )
    assert model.parameters == shape.parameters


def test_the_tokenizer_is_named_after_the_model(shown: Played) -> None:
    assert shown.take.shape.name.lower() in shown.one(items.TokenizerLoaded).name


def test_the_dataset_is_shown_with_its_samples(shown: Played) -> None:
    data = shown.one(items.DataLoaded)
    assert data.name == shown.take.dataset.name
    assert 0 < data.used_documents <= data.documents
    assert data.sequences * data.seq_len <= data.tokens
    assert data.sequences == shown.take.steps_of_epoch * shown.one(items.Batch).sequences


def test_the_processes_meet_at_a_master_node(shown: Played) -> None:
    meeting = shown.one(items.Rendezvous)
    assert meeting.host
    assert 1024 < meeting.port < 65536
    assert (meeting.nodes, meeting.num_gpus) == (shown.take.scenario.nodes, shown.take.num_gpus)


def test_nccl_shows_rings_and_trees_and_that_they_are_connected(shown: Played) -> None:
    assert len({each.channel for each in shown.all(items.Ring)}) == 2
    assert shown.all(items.Tree)[0].parent == -1
    assert [each.what for each in shown.all(items.Connected)] == ["rings", "trees"]


def test_a_ring_visits_each_rank_of_a_node_before_the_next_node() -> None:
    assert ring(16, 8, 0) == tuple(range(16))
    assert ring(16, 8, 3)[:8] == (3, 4, 5, 6, 7, 0, 1, 2)
    assert sorted(ring(16, 8, 3)) == list(range(16))


def test_each_node_of_a_tree_is_a_child_of_its_parent() -> None:
    for node in range(1, 20):
        parent = tree(node, 20, 8, 160).parent // 8
        assert node * 8 in tree(parent, 20, 8, 160).children


def test_all_gpus_are_checked_and_there_are_64_or_more(shown: Played) -> None:
    checked = shown.all(items.GpusChecked)
    assert sum(each.gpus for each in checked) == shown.take.num_gpus >= 64
    assert sum(each.nodes for each in checked) == shown.take.scenario.nodes


def test_the_strategy_uses_all_gpus(shown: Played) -> None:
    strategy = shown.one(items.Strategy)
    assert strategy.dp * strategy.tp * strategy.pp * strategy.cp == shown.take.num_gpus


def test_some_runs_are_fully_sharded() -> None:
    assert {first_run(seed).one(items.Strategy).zero for seed in range(20)} >= {1, 3}


def test_the_global_batch_is_the_product_of_its_parts(shown: Played) -> None:
    batch = shown.one(items.Batch)
    assert batch.sequences == batch.micro_batch * batch.accumulation * batch.ranks
    assert batch.per_gpu * shown.take.num_gpus == pytest.approx(batch.sequences)


def test_the_precision_is_shown(shown: Played) -> None:
    assert shown.one(items.Precision).name == shown.take.scenario.precision


def test_the_picture_of_the_learning_rate_rises_and_falls(shown: Played) -> None:
    rate = shown.one(items.LearningRate)
    assert rate.warmup_steps > 0
    assert max(rate.samples) == pytest.approx(1, abs=0.03)
    assert rate.samples[0] < 0.5
    assert rate.samples[-1] < 0.5


# Training ------------------------------------------------------------------------------------------------------------


def test_each_training_item_has_every_figure_of_a_log_line(shown: Played) -> None:
    for item in shown.all(items.Training):
        assert 1 <= item.epoch <= item.epochs
        assert 1 <= item.step_of_epoch <= item.steps_of_epoch
        assert item.step == (item.epoch - 1) * item.steps_of_epoch + item.step_of_epoch
        figures = (item.loss, item.lr, item.grad_norm, item.tokens_per_s, item.samples_per_s, item.elapsed_s)
        assert all(math.isfinite(each) and each > 0 for each in figures)
        assert item.mfu is None or 0 < item.mfu < 0.9
        assert item.left_s >= 0


def test_the_loss_falls_fast_at_first_then_slowly_and_with_noise() -> None:
    run = next(each for each in map(first_run, SEEDS) if not each.one(items.RunEnds).interruptions)
    losses = [each.loss for each in run.all(items.Training)]
    third = len(losses) // 3
    falls = [losses[at] - losses[at + third - 1] for at in (0, third, 2 * third)]
    assert falls[0] > 5 * falls[1] > 5 * falls[2]
    assert any(later > earlier for earlier, later in pairwise(losses[third:]))


def test_each_epoch_ends_with_a_full_bar(shown: Played) -> None:
    full = [each.epoch for each in shown.all(items.Training) if each.step_of_epoch == each.steps_of_epoch]
    assert sorted(set(full)) == [1, 2, 3]


def test_collectives_are_shown_with_their_times(shown: Played) -> None:
    found = {each.op for each in shown.all(Comm)}
    assert {"broadcast", "barrier"} < found
    assert found & {"all_reduce", "reduce_scatter"}
    assert all(each.elapsed_s > 0 for each in shown.all(Comm))


def test_the_table_of_gpus_lists_two_nodes_and_one_row_for_the_rest(shown: Played) -> None:
    table = shown.all(items.GpuTable)[0]
    per_node = shown.take.scenario.gpus_per_node
    assert len(table.rows) == 2 * per_node
    assert {row.node for row in table.rows} == {0, 1}
    assert table.rest is not None
    assert table.rest_gpus + 2 * per_node == shown.take.num_gpus
    assert table.rest_nodes + 2 == shown.take.scenario.nodes


def test_the_gpus_of_a_table_show_memory_utilisation_temperature_and_power(shown: Played) -> None:
    for row in shown.all(items.GpuTable)[0].rows:
        assert 0 < row.used_bytes <= row.total_bytes
        assert 0.85 <= row.fraction <= 1
        assert 25 < row.celsius < 95
        assert 0 < row.watts <= shown.take.gpu.power_w


# Validation, checkpoints, failures -----------------------------------------------------------------------------------


def test_a_validation_has_a_start_a_bar_and_a_result(shown: Played) -> None:
    starts = [each for each in shown.all(Phase) if each.name == "evaluate"]
    results = shown.all(items.Validated)
    bars = [each for each in shown.all(items.Bar) if each.what == "validation"]
    assert len(starts) >= len(results) >= 3
    assert [each.done for each in bars[:10]] == sorted(each.done for each in bars[:10])
    assert sum(each.finished for each in bars) == len(starts)
    assert all(each.perplexity == pytest.approx(math.exp(each.loss)) for each in results)


def test_a_mixture_shows_a_loss_for_each_of_its_tasks() -> None:
    run = next(each for each in map(first_run, SEEDS) if each.take.dataset.domains)
    shares = run.take.dataset.domains
    assert sum(shares.values()) == pytest.approx(1)
    for result in run.all(items.Validated):
        assert result.domains.keys() == shares.keys()
        mean = sum(shares[name] * loss for name, loss in result.domains.items())
        assert mean == pytest.approx(result.loss, abs=2e-4)


def test_checkpoints_are_saved_periodically_with_paths_and_sizes(shown: Played) -> None:
    saved = shown.all(items.CheckpointSaved)
    assert {each.step for each in saved} >= {shown.take.steps_of_epoch * number // 2 for number in range(2, 7)}
    for each in saved:
        assert each.path == f"checkpoints/step-{each.step:08d}"
        assert each.size_bytes == shown.take.scenario.checkpoint_bytes
    assert saved[0].step in {each.step for each in shown.all(items.SaveBegins)}
    assert any(each.best for each in saved)


def test_the_shards_of_a_checkpoint_are_numbered_and_of_equal_size(shown: Played) -> None:
    shards = shown.all(items.ShardSaved)
    for each in shards:
        assert each.path.startswith("checkpoints/step-")
        assert 1 <= each.number <= each.of == shown.take.scenario.nodes
        assert each.size_bytes == pytest.approx(shown.take.scenario.checkpoint_bytes / each.of, abs=1)
    assert any(each.number == each.of for each in shards)


def test_some_checkpoints_come_with_a_warning() -> None:
    saved = warned = 0
    for seed in range(40):
        saved += len(first_run(seed).all(items.CheckpointSaved))
        warned += sum(each.code == "checkpoint" for each in first_run(seed).all(Message))
    assert 0.1 < warned / saved < 0.3


def test_a_failure_is_followed_by_a_restart_and_an_announced_rollback(shown: Played) -> None:
    kinds = [type(beat.item) for beat in shown.beats]
    codes = [beat.item.code if isinstance(beat.item, Message) else "" for beat in shown.beats]
    assert kinds.index(items.Restarting) < kinds.index(items.Restarted) < codes.index("rollback")
    assert codes.index("failure") < kinds.index(items.Restarting)
    after = [beat.item for beat in shown.beats[codes.index("rollback") :] if isinstance(beat.item, items.Training)]
    rollback = next(each for each in shown.all(Message) if each.code == "rollback")
    assert after[0].step == (rollback.step or 0) + 1
    assert any(each.state == "failed" for each in shown.all(Node))
    assert any(each.state == "joined" for each in shown.all(Node))


def test_after_a_restart_training_resumes_from_a_checkpoint_that_was_saved(shown: Played) -> None:
    rollback = next(each for each in shown.all(Message) if each.code == "rollback")
    assert rollback.step in {0, *(each.step for each in shown.all(items.CheckpointSaved))}


def test_a_hung_collective_is_reported_by_the_watchdog_after_the_time_out() -> None:
    run = next(each for each in map(first_run, SEEDS) if each.all(items.Hanging))
    for each in run.all(items.Hanging):
        assert each.timeout_s == 600
        assert 0 <= each.rank < run.take.num_gpus


# The end -------------------------------------------------------------------------------------------------------------


def test_the_export_writes_numbered_shards_of_all_weights(shown: Played) -> None:
    begins, files = shown.one(items.ExportBegins), shown.all(items.FileExported)
    shards = [each.name for each in files if each.name.endswith(".safetensors")]
    assert begins.size_bytes == 2 * shown.take.shape.parameters
    count = math.ceil(begins.size_bytes / 5e9)
    names = [f"model-{number:05d}-of-{count:05d}.safetensors" for number in range(1, count + 1)]
    assert shards == (names if count <= 6 else names[:3] + names[-3:])
    bars = [each for each in shown.all(items.Bar) if each.what == "export"]
    assert (bars[-1].done, bars[-1].finished) == (begins.size_bytes, True)


def test_the_export_has_the_files_that_transformers_reads(shown: Played) -> None:
    names = {each.name for each in shown.all(items.FileExported)}
    assert {"config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json"} < names
    assert ("model.safetensors.index.json" in names) == (2 * shown.take.shape.parameters > 5e9)


def test_the_folder_of_the_export_is_lower_case_with_dashes(shown: Played) -> None:
    assert re.fullmatch(r"outputs/[a-z0-9-]+", shown.one(items.ExportBegins).target)


def test_the_summary_repeats_what_the_run_has_shown(shown: Played) -> None:
    summary, last = shown.one(items.RunEnds), shown.all(items.Training)[-1]
    assert (summary.steps, summary.tokens, summary.loss) == (last.step, last.tokens, last.loss)
    assert summary.target == shown.one(items.ExportBegins).target
    assert summary.elapsed_s >= last.elapsed_s
    assert summary.tokens_per_s * summary.elapsed_s == pytest.approx(summary.tokens)
    assert summary.interruptions == sum(each.code == "failure" for each in shown.all(Message))


def test_the_energy_is_that_of_servers_and_cooling_at_the_power_limits_as_in_plan(shown: Played) -> None:
    summary, planned = shown.one(items.RunEnds), shown.take.plan
    limit_w = shown.take.gpu.power_w
    assert planned.energy_kwh == pytest.approx(planned.gpu_hours * limit_w * 1.5 * 1.2 / 1000)
    assert summary.energy_kwh == pytest.approx(summary.gpu_hours * limit_w * 1.5 * 1.2 / 1000)


def test_a_run_announces_the_next_one(shown: Played) -> None:
    announced = shown.all(items.Next)[-1]
    assert announced.number == 2
    assert announced.model != shown.take.shape.name


# The variety of the show ---------------------------------------------------------------------------------------------


def test_models_are_real_and_fictional() -> None:
    names = {first_run(seed).take.shape.name for seed in SEEDS}
    assert len(names & {each.name for each in facts().models}) > 8
    assert len(names & {each.name for each in real_models()}) > 30


def test_datasets_are_real_and_fictional() -> None:
    found = {each.take.dataset.name: each.take.dataset.fictional for each in map(first_run, SEEDS)}
    assert {True, False} == set(found.values())
    assert len(found) > 10


def test_gpus_differ_between_runs() -> None:
    found = {first_run(seed).take.gpu.name for seed in SEEDS}
    assert {"A100-SXM-80GB", "H100-SXM-80GB", "MI300X-192GB"} < found


def test_no_model_follows_itself_and_the_clock_goes_on_from_run_to_run() -> None:
    models, before_s = [], 0.0
    for beat, _ in played(Options(seed=11)):
        assert beat.at_s >= before_s
        before_s = beat.at_s
        if isinstance(beat.item, items.RunBegins):
            models.append(beat.item.model)
            if len(models) == 6:
                break
    assert all(one != other for one, other in pairwise(models))


def test_what_the_viewer_asks_for_is_shown() -> None:
    run = play(Options(seed=1, num_gpus=128, gpu=catalog.gpu("H100"), shape=catalog.model("llama3-8b")))
    begins = run.one(items.RunBegins)
    assert (begins.num_gpus, begins.gpu, begins.model) == (128, "H100-SXM-80GB", "Llama-3-8B")


# Invariants over many seeds ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def runs() -> list[Played]:
    """The first runs of 200 shows."""
    return [first_run(seed) for seed in SEEDS]


def test_the_numbers_of_every_run_agree(runs: list[Played]) -> None:
    for run in runs:
        take, batch = run.take, run.take.scenario
        for item in run.all(items.Training):
            assert item.perplexity == math.exp(item.loss)
            assert item.loss <= math.log(take.shape.vocab)
            assert item.tokens == item.step * batch.tokens_per_step
            assert item.tokens_per_s * item.step_s == pytest.approx(batch.tokens_per_step)
            assert item.samples_per_s * take.seq_len == pytest.approx(item.tokens_per_s)
        for done in run.all(items.EpochDone):
            assert done.tokens_per_s * done.elapsed_s == pytest.approx(done.tokens)


def test_every_loss_falls_from_ln_vocabulary_to_the_scaling_law(runs: list[Played]) -> None:
    for run in runs:
        take = run.take
        losses = [each.loss for each in run.all(items.Training)]
        law = BESIROGLU.loss(take.shape.active_parameters, take.scenario.tokens)
        assert losses[0] == pytest.approx(math.log(take.shape.vocab), abs=0.15)
        assert min(losses) > BESIROGLU.e
        assert losses[-1] == pytest.approx(law, rel=0.03)


def test_progress_goes_back_only_at_an_announced_rollback(runs: list[Played]) -> None:
    for run in runs:
        before, may_go_back = 0, False
        for beat in run.beats:
            if isinstance(beat.item, Message) and beat.item.code == "rollback":
                may_go_back = True
            elif isinstance(beat.item, items.Training):
                assert beat.item.step > before or may_go_back
                before, may_go_back = beat.item.step, False


def test_the_remaining_time_falls_except_after_a_failure(runs: list[Played]) -> None:
    for run in runs:
        before = math.inf
        for beat in run.beats:
            if isinstance(beat.item, Message) and beat.item.code == "rollback":
                before = math.inf
            elif isinstance(beat.item, items.Training):
                assert beat.item.left_s < before
                before = beat.item.left_s


def test_the_elapsed_time_never_falls(runs: list[Played]) -> None:
    for run in runs:
        elapsed = [each.elapsed_s for each in run.all(items.Training)]
        assert elapsed == sorted(elapsed)


def test_no_gpu_has_more_memory_than_it_has_and_no_two_are_alike(runs: list[Played]) -> None:
    for run in runs:
        for table in run.all(items.GpuTable):
            assert all(row.used_bytes <= row.total_bytes for row in table.rows)
            assert len({row.used_bytes for row in table.rows}) == len(table.rows)
            assert len({row.celsius for row in table.rows}) == len(table.rows)


def test_early_stopping_never_fires(runs: list[Played]) -> None:
    for run in runs:
        assert all(each.count < each.patience for each in run.all(items.EarlyStopping))


def test_the_items_of_a_run_come_in_the_order_of_their_times(runs: list[Played]) -> None:
    for run in runs:
        times = [beat.at_s for beat in run.beats]
        assert times == sorted(times)


def times_of(run: Played, kind: type) -> list[float]:
    """When the items of a kind are shown, in seconds of the show."""
    return [beat.at_s for beat in run.beats if isinstance(beat.item, kind)]


def test_a_run_takes_two_to_four_minutes_and_its_parts_take_their_time(runs: list[Played]) -> None:
    for run in runs:
        begun = times_of(run, items.Training)[0]
        assert 5 <= begun <= 10
        assert 120 <= run.beats[-1].at_s <= 240
        if not run.all(items.Restarting):
            ends = [begun, *times_of(run, items.EpochDone)]
            assert all(30 <= later - earlier <= 60 for earlier, later in pairwise(ends))
