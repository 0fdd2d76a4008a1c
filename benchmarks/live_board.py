"""What does the live board cost a training? Trainings with and without it in turn, in one Jupyter kernel, as a page asks for them.

    python benchmarks/live_board.py

Two figures: the seconds spent in whatever an observer brings with it (reading clock and loss, drawing, sending) as a share of the
training's; and the clips/s with the board against those without. The first is the steady one: two trainings of one kind
differ by more than the board costs. The first training, which warms everything up, does not count.
"""

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

from jupyter_client.manager import start_new_kernel

CELL = "import json, sys; sys.path.insert(0, {folder!r}); from live_board import measure; print('found', json.dumps(measure({data!r}, {rounds}, {epochs})))"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="each a training without and one with the board")
    parser.add_argument("--epochs", type=int, default=4)
    arguments = parser.parse_args()
    # Imported here: the processes that `prepare` starts import this file, and need none of it.
    from dn3dlib.train.shipped import shipped_data

    data = shipped_data().path
    printed = on_a_page(CELL.format(folder=str(Path(__file__).parent), data=str(data), rounds=arguments.rounds, epochs=arguments.epochs))
    rows = json.loads(printed.split("found ", 1)[1])
    for row in rows:
        print(f"without {row['without']:.1f} clips/s, with {row['with']:.1f}; in the board {row['inside']:.3f} of {row['seconds']:.1f} s, {row['drawn']} drawings")
    share = sum(row["inside"] for row in rows) / sum(row["seconds"] for row in rows)
    rate = statistics.median(row["with"] / row["without"] for row in rows)
    print(f"share of the time spent for the board: {share:.2%}; below 1 %: {'yes' if share < 0.01 else 'no'}")
    print(f"clips/s with the board against without, median: {rate:.3f}")


def on_a_page(source: str) -> str:
    """Run the source in a new kernel as JupyterLab runs a cell, and give what it prints."""
    manager, client = start_new_kernel(kernel_name="python3")
    try:
        content = {"code": source, "silent": False, "store_history": False, "user_expressions": {}, "allow_stdin": False}
        request = client.session.msg("execute_request", content, metadata={"cellId": "benchmark"})
        client.shell_channel.send(request)
        printed = ""
        while True:
            answer = client.get_iopub_msg(timeout=600)
            if answer["msg_type"] == "error":
                raise SystemExit("\n".join(answer["content"]["traceback"]))
            if answer["msg_type"] == "stream":
                printed += answer["content"]["text"]
            if answer["msg_type"] == "status" and answer["parent_header"].get("msg_id") == request["header"]["msg_id"] and answer["content"]["execution_state"] == "idle":
                return printed
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def measure(data: str, rounds: int, epochs: int) -> list[dict]:
    """Train without and with the board in turn; what the rows hold is printed by `main`."""
    from dn3dlib.show.live import LiveBoard
    from dn3dlib.train import loop
    from dn3dlib.train.shipped import shipped_run

    inside = {"seconds": 0.0, "drawn": 0}
    for name in ("step", "update", "epoch"):
        setattr(loop.Report, name, timed(getattr(loop.Report, name), inside))
    LiveBoard._bundle = counted(LiveBoard._bundle, inside)
    earlier, rows = shipped_run().history(), []
    with tempfile.TemporaryDirectory() as folder:
        go(data, Path(folder) / "warm", 1, ())
        for number in range(rounds):
            seconds, without = go(data, Path(folder) / f"{number} without", epochs, ())
            inside |= {"seconds": 0.0, "drawn": 0}
            seconds, shown = go(data, Path(folder) / f"{number} with", epochs, (LiveBoard(earlier, "the shipped network"),))
            rows.append({"without": without, "with": shown, "inside": inside["seconds"], "seconds": seconds, "drawn": inside["drawn"]})
    return rows


def timed(call, inside: dict):
    """The same method, whose seconds are added up."""

    def run(*arguments):
        started = time.perf_counter()
        call(*arguments)
        inside["seconds"] += time.perf_counter() - started

    return run


def counted(call, inside: dict):
    """The same method, whose calls are counted."""

    def run(board):
        inside["drawn"] += 1
        return call(board)

    return run


def go(data: str, run_dir: Path, epochs: int, observers: tuple) -> tuple[float, float]:
    """A training with the preset quick: its seconds, and clips/s without the first epoch, in which steps are compiled."""
    from dataclasses import replace

    from dn3dlib.presets import find_preset
    from dn3dlib.train.loop import train

    preset = find_preset("quick")
    history = train(data, run_dir, preset.clip, preset.model, replace(preset.train, epochs=epochs), device="cpu", observers=observers, show_progress=False)
    return sum(row["seconds"] for row in history), statistics.mean(row["clips_per_second"] for row in history[1:] or history)


if __name__ == "__main__":
    main()
