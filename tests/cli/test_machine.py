"""`paramrag models` and `paramrag doctor`."""

from __future__ import annotations

from pathlib import Path

from .conftest import Run


def test_models_ls_says_what_is_here(run: Run) -> None:
    listed = run("models", "ls", "--json").json["models"]
    assert "smollm2-135m-instruct" in [entry["name"] for entry in listed]
    assert not any(entry["cached"] for entry in listed)  # the cache of a test is empty
    assert "smollm2-135m-instruct" in run("models", "ls").out


def test_models_pull_of_an_unknown_name_names_the_nearest(run: Run) -> None:
    ran = run("models", "pull", "smollm2-135m-instuct")
    assert ran.code == 2
    assert "did you mean 'smollm2-135m-instruct'" in ran.err


def test_doctor_runs_a_model(run: Run, tiny_model_folder: Path) -> None:
    ran = run("doctor", "--model", tiny_model_folder, "--json")
    assert ran.code == 0
    assert ran.json["gflops"] > 0
    assert ran.json["model"]["ok"] is True
    assert ran.json["model"]["tokens_per_second"] > 0
    assert ran.json["threads"] >= 1


def test_doctor_does_not_fetch_a_model(run: Run) -> None:
    ran = run("doctor")
    assert ran.code == 0
    assert "paramrag models pull smollm2-135m-instruct" in " ".join(ran.out.split())


def test_doctor_reports_a_model_that_does_not_load(run: Run, tmp_path: Path) -> None:
    ran = run("doctor", "--model", tmp_path)
    assert ran.code == 1
    assert "FAILS" in ran.out


def test_doctor_refuses_a_device_that_is_not_there(run: Run) -> None:
    for device in ("cuda:77", "abacus"):
        ran = run("doctor", "--device", device)
        assert ran.code == 2
        assert f"device '{device}' cannot be used" in ran.err
