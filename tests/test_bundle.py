"""A run as one file: what comes out is what went in, and a crafted file is refused before anything is written."""

import hashlib
import io
import json
import resource
import shutil
import stat
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest

from dn3dlib.deploy.bundle import open_bundle, write_bundle
from dn3dlib.deploy.unpack import CONTENTS, WEIGHTS
from dn3dlib.errors import ConfigError, Dn3dError, RunError
from dn3dlib.evaluate.report import evaluate
from dn3dlib.evaluate.threshold import keep_threshold, kept_threshold
from dn3dlib.evaluate.uses import read_uses
from dn3dlib.train.best import load_best
from dn3dlib.train.loop import train
from dn3dlib.train.runs import Run

TRAINED = Path(__file__).resolve().parents[1] / "data" / "trained"


@pytest.fixture(scope="module")
def evaluated(trained, tmp_path_factory) -> Path:
    """A copy of the finished run, evaluated once."""
    run = Path(shutil.copytree(trained, tmp_path_factory.mktemp("evaluated") / "walkers"))
    evaluate(run, device="cpu", show_progress=False)
    return run


@pytest.fixture(scope="module")
def bundle(evaluated, tmp_path_factory) -> Path:
    """That run as one file."""
    file = tmp_path_factory.mktemp("bundle") / "walkers.dn3d"
    write_bundle(evaluated, file)
    return file


@pytest.fixture
def members(bundle) -> dict[str, bytes]:
    """What the bundle holds, to craft another of."""
    with zipfile.ZipFile(bundle) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def pack(file: Path, members: dict[str, bytes], listed: bool = True) -> Path:
    """A bundle of some members, whose list of contents is right unless it is not to be `listed` anew."""
    if listed:
        files = {n: {"bytes": len(d), "sha256": hashlib.sha256(d).hexdigest()} for n, d in members.items() if n != CONTENTS}
        members = members | {CONTENTS: json.dumps(json.loads(members[CONTENTS]) | {"files": files}).encode()}
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED)
    return file


def refused(file: Path, sentence: str) -> None:
    """A bundle is refused in a sentence, and nothing was written."""
    out = file.parent / "run"
    before = sorted(file.parent.rglob("*"))
    with pytest.raises(RunError, match=sentence) as caught:
        open_bundle(file, out)
    assert "\n" not in str(caught.value)
    assert sorted(file.parent.rglob("*")) == before


# --- there and back --------------------------------------------------------------------------------------------------


def test_what_comes_out_is_what_went_in(evaluated, bundle, tmp_path):
    run = open_bundle(bundle, tmp_path / "run")
    before = Run.open(evaluated)
    assert (run.storage, run.clip, run.model, run.train, run.classes) == (before.storage, before.clip, before.model, before.train, before.classes)
    for one, other in zip(load_best(before).get_weights(), load_best(run).get_weights(), strict=True):
        assert np.array_equal(one, other)
    assert run.history() == before.history() and len(run.history()) == 2
    assert json.loads((run.path / "evaluation.json").read_text()) == json.loads((evaluated / "evaluation.json").read_text())
    assert len(read_uses(run.path)) == 1, "the look at the test part goes along"
    assert (run.path / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert not list(tmp_path.glob("*.partial*"))


def test_the_run_can_be_used_as_any_other(bundle, prepared, tiny, tmp_path):
    run = open_bundle(bundle, tmp_path / "run")
    known = json.loads((run.path / "evaluation.json").read_text())["test"]
    again = evaluate(run.path, prepared, device="cpu", show_progress=False)
    assert again["confusion"] == known["confusion"] and again["test_uses"] == 2
    history = train(prepared, tmp_path / "next", tiny.clip, tiny.model, tiny.train, init_from=run.path, device="cpu", show_progress=False)
    assert len(history) == 2
    write_bundle(tmp_path / "next", tmp_path / "next.dn3d")
    with zipfile.ZipFile(tmp_path / "next.dn3d") as archive:
        told = {name: archive.read(name) for name in archive.namelist()}
    assert json.loads(told["environment.json"])["start"].startswith("The run began with the weights of run")
    assert not [name for name, data in told.items() if str(tmp_path).encode() in data], "nor where the run lay that it started from"


def test_the_threshold_of_none_of_these_goes_along(evaluated, tmp_path):
    """It is noted with the network that it was chosen for, which is another file after the journey."""
    run = Path(shutil.copytree(evaluated, tmp_path / "run"))
    keep_threshold(run, {"threshold": 0.42, "kept": 0.95, "windows": 36})
    assert "0.42" in write_and_read_card(run, tmp_path / "x.dn3d")
    taken = open_bundle(tmp_path / "x.dn3d", tmp_path / "taken")
    assert kept_threshold(taken) == {"threshold": 0.42, "kept": 0.95, "windows": 36}
    shutil.copy(TRAINED / "honest" / "best.keras", taken.path)
    assert kept_threshold(taken) == {}, "that of another network"


def write_and_read_card(run: Path, file: Path) -> str:
    write_bundle(run, file)
    with zipfile.ZipFile(file) as archive:
        return archive.read("card.md").decode()


def test_no_folder_of_this_machine_goes_along(evaluated, members, prepared):
    for name, data in members.items():
        assert str(prepared).encode() not in data and str(evaluated.parent).encode() not in data, name
    assert json.loads(members["config.json"])["data"]["path"] == prepared.name


def test_equal_runs_give_equal_files(evaluated, bundle, tmp_path):
    write_bundle(evaluated, tmp_path / "again.dn3d")
    assert (tmp_path / "again.dn3d").read_bytes() == bundle.read_bytes()


def test_the_card_says_what_it_is_and_what_it_is_not_for(evaluated, members):
    card, report = members["card.md"].decode(), json.loads((evaluated / "evaluation.json").read_text())["test"]
    run = Run.open(evaluated)
    assert card.startswith("# walkers\n")
    for told in (*run.classes, *run.data["train_subjects"], run.data["protocol"], f"{report['sequence_accuracy']:.3f}", "none: fewer than two subjects"):
        assert told in card, told
    for told in ("std_frame", "4 frames", "32 × 32 pixels", "grey", "tensorflow 2", "looks at the test part with this run: 1", "## What it is not for"):
        assert told in card, told
    assert "(curves.png)" in card and "(confusion.png)" in card


def test_the_card_of_a_shipped_network_has_its_interval(tmp_path):
    card = write_and_read_card(TRAINED / "honest", tmp_path / "honest.dn3d")
    assert "| test | 0.958 | 0.917 to 1.000 | 0.965 | 72 | 3 |" in card


def test_a_leaking_network_says_so_on_its_card(tmp_path):
    assert "**warning**" in write_and_read_card(TRAINED / "leaking", tmp_path / "leaking.dn3d")


def test_a_run_that_was_never_evaluated_says_so(trained, tmp_path):
    write_bundle(trained, tmp_path / "run.dn3d")
    with zipfile.ZipFile(tmp_path / "run.dn3d") as archive:
        assert "It was not evaluated" in archive.read("card.md").decode()
        assert not {"evaluation.json", "confusion.png", "uses.json"} & set(archive.namelist())
    assert open_bundle(tmp_path / "run.dn3d", tmp_path / "run").classes == Run.open(trained).classes


# --- what is refused -------------------------------------------------------------------------------------------------


def test_a_wrong_checksum(members, tmp_path):
    members["history.csv"] += b"3,0.1,0.1,1.0,,,,1.0,1.0\n"
    refused(pack(tmp_path / "x.dn3d", members, listed=False), "'history.csv' in it is not as it must be: its checksum")


@pytest.mark.parametrize("name", ["../x", "/tmp/x", "..\\x", "C:\\x", "sub/x", "..", "best.keras/"])
def test_a_path_outside(name, members, tmp_path):
    refused(pack(tmp_path / "x.dn3d", members | {name: b"x"}), "would lie outside the run's folder, or in a folder in it")


def test_a_network_with_a_lambda_layer(members, tmp_path):
    clips = keras.Input((4, 32, 32, 1))
    network = keras.Model(clips, keras.layers.Lambda(lambda x: x)(clips))
    network.save(tmp_path / "best.keras")
    data = (tmp_path / "best.keras").read_bytes()
    (tmp_path / "best.keras").unlink()
    refused(pack(tmp_path / "x.dn3d", members | {"best.keras": data}), "'best.keras' in it is not as it must be: a bundle holds no such file")
    config = json.loads(members["config.json"])
    config["model"]["layers"] = [{"class_name": "Lambda", "config": {"function": "os.system"}}]
    refused(pack(tmp_path / "x.dn3d", members | {"config.json": json.dumps(config).encode()}), "no parameter model.layers")


def test_pickled_weights(members, tmp_path):
    """What is not exactly the numbers of the network is not read as anything else."""
    packed = io.BytesIO()
    np.save(packed, np.array([object], dtype=object), allow_pickle=True)
    refused(pack(tmp_path / "x.dn3d", members | {WEIGHTS: packed.getvalue()}), r"bytes, but the network of config.json has [\d,]+ weights")


def test_weights_that_are_no_numbers(members, tmp_path):
    weights = np.frombuffer(members[WEIGHTS], "<f4").copy()
    weights[3] = np.nan
    refused(pack(tmp_path / "x.dn3d", members | {WEIGHTS: weights.tobytes()}), "weights that are no numbers")


@pytest.mark.parametrize("share", [0.3, 0.9, 0.999])
def test_a_truncated_file(share, bundle, tmp_path):
    data = bundle.read_bytes()
    (tmp_path / "x.dn3d").write_bytes(data[: int(len(data) * share)])
    refused(tmp_path / "x.dn3d", "is no bundle, or is damaged")


def test_a_flipped_byte(bundle, tmp_path):
    data = bytearray(bundle.read_bytes())
    data[len(data) // 2] ^= 1  # in the weights
    (tmp_path / "x.dn3d").write_bytes(data)
    refused(tmp_path / "x.dn3d", "damaged")


def test_a_zip_bomb(members, tmp_path):
    bomb = pack(tmp_path / "x.dn3d", members | {"card.md": bytes(300_000_000)})
    assert bomb.stat().st_size < 1_000_000
    refused(bomb, "'card.md' in it is not as it must be: unpacked it has more than 1,000,000 bytes")
    refused(pack(tmp_path / "x.dn3d", members | {WEIGHTS: bytes(300_000_000)}), "it has 300,000,000 bytes, but the network")


def test_a_configuration_of_a_giant_builds_nothing(members, tmp_path):
    config = json.loads(members["config.json"])
    config["model"] |= {"growth_rate": 1024, "depth": 1000, "blocks": 16}
    refused(pack(tmp_path / "x.dn3d", members | {"config.json": json.dumps(config).encode()}), WEIGHTS)


def test_what_is_no_bundle(tmp_path):
    file = tmp_path / "x.dn3d"
    refused(file, "There is no bundle at")
    file.write_text("hello")
    refused(file, "is no bundle, or is damaged")
    refused(pack(file, {"hello.txt": b"hello"}, listed=False), "is no bundle of dn3d")


def test_a_newer_format(members, tmp_path):
    contents = json.loads(members[CONTENTS]) | {"format": 2, "made_with": "dn3d 9.0"}
    newer = members | {CONTENTS: json.dumps(contents).encode(), "sound.wav": b"x"}
    refused(pack(tmp_path / "x.dn3d", newer), "has format 2, but this version of dn3d reads 1: read it with the version that made it .'dn3d 9.0'.")


def test_a_link(members, tmp_path):
    with zipfile.ZipFile(pack(tmp_path / "x.dn3d", members), "a") as archive:
        info = zipfile.ZipInfo("uses.json.link")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, "/etc/passwd")
    refused(tmp_path / "x.dn3d", "it is a link")


def test_a_member_that_is_there_twice(members, tmp_path):
    with zipfile.ZipFile(pack(tmp_path / "x.dn3d", members), "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("card.md", "another")
    refused(tmp_path / "x.dn3d", "'card.md' in it is not as it must be: it is there twice")


@pytest.mark.parametrize(
    ("name", "data", "sentence"),
    [
        ("config.json", b"[]", "it holds no JSON object"),
        ("config.json", b"{" * 100, "it is no JSON"),
        ("evaluation.json", b'{"elsewhere": {}}', "it holds something else than a report for each split"),
        ("evaluation.json", b'{"test": {"split": "test"}}', "it holds something else than a report for each split"),
        ("environment.json", b'{"packages": 5}', "its packages are no list of versions by name"),
        ("threshold.json", b'{"threshold": NaN}', "it holds no certainty from 0 to 1"),
        ("history.csv", b"a,b\n1,2\n", "it is damaged"),
        ("uses.json", b'{"uses": 3}', "it is damaged"),
        ("card.md", b"\xff\xfe", "it is no text in UTF-8"),
        ("curves.png", b"<svg onload='alert(1)'>", "it is no PNG picture"),
    ],
)
def test_a_member_of_another_kind(name, data, sentence, members, tmp_path):
    refused(pack(tmp_path / "x.dn3d", members | {name: data}), f"'{name}' in it is not as it must be: {sentence}")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("classes", ["a", 3]), ("classes", ["a", "a"]), ("path", "../elsewhere"), ("path", ".."), ("train_subjects", ["\x1b[2J"]), ("protocol", "\x1b[2J"),
        ("fps", -5.0), ("fps", 1e300), ("fps", float("nan")),
    ],
)  # fmt: skip
def test_a_configuration_that_leads_astray(key, value, members, tmp_path):
    config = json.loads(members["config.json"])
    config["data"][key] = value
    refused(pack(tmp_path / "x.dn3d", members | {"config.json": json.dumps(config).encode()}), "'config.json' in it is not as it must be")


def test_a_member_that_is_missing(members, tmp_path):
    del members["card.md"]
    refused(pack(tmp_path / "x.dn3d", members), "'card.md' in it is not as it must be: it is missing")


# --- what cannot be shared, and the shell ----------------------------------------------------------------------------


def test_a_run_without_weights_is_refused(trained, tmp_path):
    run = Path(shutil.copytree(trained, tmp_path / "run"))
    (run / "best.keras").unlink()
    with pytest.raises(RunError, match="has no best.keras yet"):
        write_bundle(run, tmp_path / "x.dn3d")
    shutil.copy(TRAINED / "honest" / "best.keras", run)
    with pytest.raises(RunError, match="is not the one that its config.json describes"):
        write_bundle(run, tmp_path / "x.dn3d")
    assert not (tmp_path / "x.dn3d").exists()


def test_a_run_whose_network_holds_code_is_refused(trained, tmp_path):
    run = Path(shutil.copytree(trained, tmp_path / "run"))
    clips = keras.Input((4, 32, 32, 1))
    keras.Model(clips, keras.layers.Lambda(lambda x: x)(clips)).save(run / "best.keras")
    with pytest.raises(RunError, match="best.keras is damaged"):
        write_bundle(run, tmp_path / "x.dn3d")


def test_a_full_disk_leaves_a_sentence_and_nothing_else(evaluated, bundle, tmp_path):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3000, before[1]))
    try:
        with pytest.raises(Dn3dError, match="The disk is full"):
            write_bundle(evaluated, tmp_path / "x.dn3d")
        with pytest.raises(Dn3dError, match="The disk is full"):
            open_bundle(bundle, tmp_path / "run")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not list(tmp_path.iterdir())


def test_what_is_there_stays(trained, bundle, tmp_path):
    (tmp_path / "there").write_text("mine")
    with pytest.raises(ConfigError, match="already exists"):
        write_bundle(trained, tmp_path / "there")
    with pytest.raises(ConfigError, match="already exists"):
        open_bundle(bundle, tmp_path / "there")
    assert (tmp_path / "there").read_text() == "mine"


def test_the_shell_shares_and_takes(evaluated, tmp_path, shell):
    status, out, _ = shell("export", "--run", evaluated, "--bundle", tmp_path / "w.dn3d", "--json")
    found = json.loads(out)
    assert status == 0 and found["bytes"] == (tmp_path / "w.dn3d").stat().st_size and WEIGHTS in found["files"]
    status, out, _ = shell("import", tmp_path / "w.dn3d", "--out", tmp_path / "run")
    assert status == 0 and str(tmp_path / "run" / "card.md") in out
    status, _, err = shell("import", tmp_path / "w.dn3d", "--out", tmp_path / "run")
    assert status == 2 and "already exists" in err
