"""Starting: how fast, with what imported, and what a person sees who types something wrong."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

import paramrag

from .conftest import Run

HEAVY = ("torch", "transformers", "lancedb", "lance", "pyarrow", "numpy", "rich", "pydantic")
VERBS = (
    "demo",
    "add",
    "encode",
    "ask",
    "serve",
    "eval",
    "compare",
    "report",
    "study",
    "analyze",
    "dynamic",
    "collection",
    "export",
    "import",
    "models",
    "doctor",
)


def _python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


def test_the_command_line_imports_nothing_heavy() -> None:
    code = f"import sys, paramrag, paramrag.cli; print([name for name in {HEAVY} if name in sys.modules])"
    assert _python(code).stdout.strip() == "[]"


def test_help_takes_little_processor_time() -> None:
    before = os.times()
    ran = subprocess.run([sys.executable, "-m", "paramrag", "--help"], capture_output=True, text=True, check=True)
    after = os.times()
    spent = (after.children_user - before.children_user) + (after.children_system - before.children_system)
    assert all(f"\n  {verb} " in ran.stdout for verb in VERBS)
    assert spent < 0.6  # 0.15 s on an idle core; processor time, not wall time, but still slower under load


def test_every_verb_has_help_of_one_line_in_the_list(run: Run) -> None:
    shown = run("--help")
    assert shown.code == 0
    listed = shown.out[shown.out.index("Commands:") :].splitlines()[1:]
    assert sorted(line.split()[0] for line in listed) == sorted(VERBS)
    assert not [line for line in listed if line.endswith("...")]
    for verb in VERBS:
        assert run(verb, "--help").code == 0


def test_version(run: Run) -> None:
    ran = run("--version")
    assert (ran.code, ran.out) == (0, f"paramrag {paramrag.__version__}\n")


def test_an_unknown_verb_is_refused_with_the_nearest_one(run: Run) -> None:
    ran = run("encod", "x")
    assert ran.code == 2
    assert "'encode'" in ran.err
    assert ran.out == ""


def test_an_unknown_option_is_refused_with_the_nearest_one(run: Run) -> None:
    ran = run("encode", "x", "--dryrun")
    assert ran.code == 2
    assert "--dry-run" in ran.err


def test_no_arguments_show_the_help(run: Run) -> None:
    ran = run()
    assert "Usage: paramrag" in ran.out + ran.err


def test_an_error_is_one_message_without_a_traceback(tmp_path: object) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "paramrag", "collection", "ls", f"{tmp_path}/none"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 2
    assert ran.stderr.startswith("error: there is no collection at")
    assert "Traceback" not in ran.stderr
    assert "\x1b" not in ran.stderr
    assert ran.stdout == ""


def test_debug_shows_the_traceback(tmp_path: object) -> None:
    command = [sys.executable, "-m", "paramrag", "collection", "ls", f"{tmp_path}/none"]
    for arguments, extra in (([*command[:3], "--debug", *command[3:]], {}), (command, {"PARAMRAG_DEBUG": "1"})):
        ran = subprocess.run(arguments, capture_output=True, text=True, check=False, env=os.environ | extra)
        assert ran.returncode == 1
        assert "Traceback" in ran.stderr
        assert "NotFoundError" in ran.stderr


def test_ctrl_c_ends_with_130_and_says_that_nothing_is_lost(tmp_path: object) -> None:
    corpus = f"{tmp_path}/corpus.jsonl"  # seconds of work, so that there is something to interrupt
    with open(corpus, "w", encoding="utf-8") as file:
        file.writelines(f'{{"id": "{n}", "contents": "Title {n}\\n{"word " * 90}"}}\n' for n in range(400_000))
    process = subprocess.Popen(
        [sys.executable, "-m", "paramrag", "add", f"{tmp_path}/collection", corpus],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # a run in the background of a shell ignores interrupts, and so would its children
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    deadline = time.monotonic() + 60
    while not os.path.exists(f"{tmp_path}/collection/unfinished.json") and time.monotonic() < deadline:
        time.sleep(0.01)
    for _ in range(3):  # one that arrives inside a call of a library may be lost there: as a user would, again
        process.send_signal(signal.SIGINT)
        try:
            out, err = process.communicate(timeout=30)
            break
        except subprocess.TimeoutExpired:
            continue
    else:
        process.kill()
        pytest.fail("three interrupts did not end it")
    assert process.returncode == 130, err
    assert "Nothing is lost" in err
    assert "Traceback" not in err
    assert out == ""
